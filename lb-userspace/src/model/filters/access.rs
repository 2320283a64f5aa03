//! Which clients are served.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Networks of clients; an empty list of those allowed allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Access {
    /// Only these, if there are any.
    pub allow: Vec<IpNet>,
    /// None of these.
    pub deny: Vec<IpNet>,
    /// Whoever is allowed by address need not authenticate, and whoever authenticates need not be allowed by address.
    pub or_authenticated: bool,
}

impl Access {
    /// The client is served.
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        !is_in(&self.deny, client) && (self.allow.is_empty() || is_in(&self.allow, client))
    }

    /// The client is among those that are named as allowed.
    pub fn names(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        !is_in(&self.deny, client) && is_in(&self.allow, client)
    }
}

fn is_in(networks: &[IpNet], client: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_is_stronger_than_allowed() {
        let networks = |text: &str| text.split_whitespace().map(|one| one.parse().expect(one)).collect();
        let access =
            Access { allow: networks("10.0.0.0/8 2001:db8::/32"), deny: networks("10.1.0.0/16"), ..Access::default() };
        for (client, admitted) in [
            ("10.0.0.1", true),
            ("10.1.0.1", false),
            ("192.0.2.1", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(access.admits(client.parse().expect(client)), admitted, "{client}");
        }
        let all_but = Access { allow: Vec::new(), ..access };
        assert!(all_but.admits(IpAddr::from([192, 0, 2, 1])) && !all_but.admits(IpAddr::from([10, 1, 2, 3])));
    }
}
