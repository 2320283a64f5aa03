//! Which endpoints a request tries, in which order: pure.

use std::net::SocketAddr;

/// Endpoints in round-robin order from a starting point; those to avoid come last.
pub fn order<'a>(
    endpoints: &'a [SocketAddr],
    start: usize,
    avoid: impl Fn(SocketAddr) -> bool + Copy + 'a,
) -> impl Iterator<Item = SocketAddr> + 'a {
    let rotated = move || (0..endpoints.len()).map(move |step| endpoints[start.wrapping_add(step) % endpoints.len()]);
    rotated().filter(move |&endpoint| !avoid(endpoint)).chain(rotated().filter(move |&endpoint| avoid(endpoint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|&port| ([127, 0, 0, 1], port).into()).collect()
    }

    fn ports(endpoints: &[SocketAddr], start: usize, avoid: &[u16]) -> Vec<u16> {
        order(endpoints, start, |endpoint| avoid.contains(&endpoint.port())).map(|endpoint| endpoint.port()).collect()
    }

    #[test]
    fn every_endpoint_once_from_the_start() {
        let all = endpoints(&[1, 2, 3]);
        assert_eq!(ports(&all, 0, &[]), [1, 2, 3]);
        assert_eq!(ports(&all, 4, &[]), [2, 3, 1]);
        assert_eq!(ports(&all, 1, &[2]), [3, 1, 2]);
        assert_eq!(ports(&all, 1, &[1, 2, 3]), [2, 3, 1]);
        assert!(ports(&[], usize::MAX, &[]).is_empty());
        assert_eq!(ports(&all, usize::MAX, &[]).len(), 3);
    }
}
