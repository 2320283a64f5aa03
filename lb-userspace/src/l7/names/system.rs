//! The system's configuration: resolv.conf(5) and hosts(5).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Whom to ask, and how names are completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct System {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// Names with at least so many dots are asked for as they are first.
    pub(super) dots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
}

impl System {
    pub(super) fn parse(text: &str) -> Self {
        let mut system =
            System { servers: Vec::new(), search: Vec::new(), dots: 1, timeout: Duration::from_secs(2), attempts: 2 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                // glibc takes three (MAXNS in resolv.h).
                Some("nameserver") if system.servers.len() < 3 => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    system.servers.extend(server.map(|server| SocketAddr::new(server, 53)));
                }
                Some("search" | "domain") => {
                    system.search = words.map(|word| word.trim_matches('.').to_owned()).collect();
                }
                Some("options") => words.for_each(|word| system.option(word)),
                _ => {}
            }
        }
        if system.servers.is_empty() {
            system.servers.push(([127, 0, 0, 1], 53).into());
        }
        system
    }

    fn option(&mut self, word: &str) {
        let number = |name: &str| word.strip_prefix(name)?.strip_prefix(':')?.parse::<usize>().ok();
        if let Some(dots) = number("ndots") {
            self.dots = dots.min(15);
        }
        if let Some(seconds) = number("timeout") {
            self.timeout = Duration::from_secs(seconds.clamp(1, 30) as u64);
        }
        if let Some(attempts) = number("attempts") {
            self.attempts = attempts.clamp(1, 5);
        }
    }

    /// The full names that a name may stand for, in the order in which they are asked for.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        let full = name.trim_end_matches('.').to_owned();
        if name.ends_with('.') {
            return vec![full];
        }
        let completed = self.search.iter().map(|domain| format!("{full}.{domain}"));
        let first = full.matches('.').count() >= self.dots;
        let mut candidates: Vec<_> = completed.collect();
        candidates.insert(if first { 0 } else { candidates.len() }, full);
        candidates
    }
}

/// The addresses of a name in a hosts file.
pub(super) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf() {
        let text = "# a comment\nnameserver 10.96.0.10\nnameserver fd00::a\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5 timeout:1 edns0\n";
        let system = System::parse(text);
        assert_eq!(system.servers, [SocketAddr::from(([10, 96, 0, 10], 53)), "[fd00::a]:53".parse().expect("one")]);
        assert_eq!((system.dots, system.timeout, system.attempts), (5, Duration::from_secs(1), 2));
        assert_eq!(
            system.candidates("www.example.com"),
            ["www.example.com.shop.svc.cluster.local", "www.example.com.svc.cluster.local", "www.example.com"]
        );
        assert_eq!(system.candidates("www.example.com."), ["www.example.com"]);
        assert_eq!(System::parse("search x").candidates("a.b"), ["a.b", "a.b.x"]);
        assert_eq!(System::parse("").servers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
    }

    #[test]
    fn hosts() {
        let text = "127.0.0.1 localhost\n192.0.2.1 a.example A # b\n2001:db8::1 a.example\nx a.example\n";
        let expected: [IpAddr; 2] = ["192.0.2.1".parse().expect("one"), "2001:db8::1".parse().expect("one")];
        assert_eq!(in_hosts(text, "a.Example"), expected);
        assert!(in_hosts(text, "b").is_empty());
    }
}
