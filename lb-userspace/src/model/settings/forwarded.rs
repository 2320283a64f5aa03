//! Proxies in front of this one.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What is believed of proxies in front of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ForwardedSettings {
    /// The client's address is what a proxy says.
    pub address: bool,
    /// `X-Forwarded-Host`, `-Proto` and `-Port` are what it says, too.
    pub request: bool,
    /// Where proxies are that are believed; empty: everywhere.
    pub proxies: Vec<IpNet>,
    /// The header with addresses, in lower case.
    pub header: String,
    /// `X-Forwarded-For` for backends keeps what came, and the peer's address is added.
    pub append: bool,
    /// Connections begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// How long its header may take, in milliseconds.
    pub proxy_protocol_timeout: u64,
    /// The header that tells backends of whom the PROXY protocol told, in lower case.
    pub proxy_protocol_header: String,
    /// Backends get `Forwarded`.
    pub rfc7239: bool,
    /// Backends get `X-Original-URI`.
    pub original_uri: bool,
}

impl Default for ForwardedSettings {
    fn default() -> Self {
        ForwardedSettings {
            address: false,
            request: false,
            proxies: Vec::new(),
            header: "x-forwarded-for".to_owned(),
            append: false,
            proxy_protocol: false,
            proxy_protocol_timeout: 5000,
            proxy_protocol_header: "x-forwarded-for-proxy-protocol".to_owned(),
            rfc7239: false,
            original_uri: false,
        }
    }
}

impl ForwardedSettings {
    /// A proxy at this address is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.is_empty() || self.proxies.iter().any(|network| network.contains(&peer))
    }

    /// The client's address in a list of them, of which each proxy has added one at the end: the last one that is no
    /// proxy's (RFC 7239 section 5.2 has the same order), or the first if all are. An element that is no address is `None`,
    /// and so is the client who stands behind it: to take the proxy after it for the client would give whoever sends
    /// nonsense the rights of a proxy.
    pub fn client_in(&self, list: impl DoubleEndedIterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut found = None;
        for address in list.rev() {
            found = Some(address?);
            if self.proxies.is_empty() || !address.is_some_and(|address| self.trusts(address)) {
                break;
            }
        }
        found
    }
}

/// An address, perhaps with a port.
pub fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    text.parse::<std::net::SocketAddr>().map(|at| at.ip()).ok().or_else(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_who_is_no_proxy() {
        let of = |networks: &str| ForwardedSettings {
            proxies: networks.split_whitespace().map(|one| one.parse().expect(one)).collect(),
            ..ForwardedSettings::default()
        };
        for (proxies, list, client) in [
            ("10.0.0.0/8", "192.0.2.9, 192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("10.0.0.0/8", "10.0.0.3,10.0.0.2", Some("10.0.0.3")),
            ("10.0.0.0/8", "evil, 192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("10.0.0.0/8", "evil, 10.0.0.2", None),
            ("10.0.0.0/8", "evil", None),
            ("10.0.0.0/8", "", None),
            ("", "192.0.2.9, evil", None),
            ("", "192.0.2.9, 192.0.2.1", Some("192.0.2.1")),
            ("10.0.0.0/8 2001:db8::/32", "[2001:db9::1]:443, 2001:db8::2", Some("2001:db9::1")),
            ("10.0.0.0/8", "192.0.2.1:4711", Some("192.0.2.1")),
        ] {
            let found = of(proxies).client_in(list.split(',').map(address));
            assert_eq!(found, client.map(|text| text.parse().expect(text)), "{list}");
        }
        assert!(of("").trusts([192, 0, 2, 1].into()) && !of("10.0.0.0/8").trusts([192, 0, 2, 1].into()));
        assert!(of("10.0.0.0/8").trusts("::ffff:10.0.0.1".parse().expect("an address")));
    }
}
