//! Which addresses can be a VIP or a backend.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a good address is, for messages.
pub(super) const EXPECTED: &str = "an IPv4 or IPv6 address that other machines can reach";

/// Reads an address that packets can arrive at or be sent to; else says what is wrong with it.
pub(super) fn routable(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "this is not an IP address")?;
    let fault = match address {
        IpAddr::V4(address) => fault_v4(address),
        IpAddr::V6(address) => fault_v6(address),
    };
    fault.map_or(Ok(address), Err)
}

fn fault_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        _ if address.octets()[0] == 0 => Some("0.0.0.0/8 means no address"),
        _ if address.is_loopback() => Some("a loopback address never leaves the node"),
        _ if address.is_link_local() => Some("a link-local address is not routed"),
        _ if address.is_multicast() => Some("a multicast address is not balanced"),
        _ if address.is_broadcast() => Some("the broadcast address is not balanced"),
        _ => None,
    }
}

fn fault_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address means no address"),
        _ if address.is_loopback() => Some("a loopback address never leaves the node"),
        _ if address.is_unicast_link_local() => Some("a link-local address is not routed"),
        _ if address.is_multicast() => Some("a multicast address is not balanced"),
        _ if address.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address never stands in a packet"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_routes() {
        for good in ["10.0.0.1", "192.0.2.255", "2001:db8::1", "fd00::1"] {
            assert!(routable(good).is_ok(), "{good}");
        }
        let bad = ["", "10.0.0", "010.0.0.1", "0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"];
        for bad in bad.into_iter().chain(["::", "::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "10.0.0.1/32"]) {
            assert!(routable(bad).is_err(), "{bad}");
        }
    }
}
