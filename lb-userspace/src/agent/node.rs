//! Where NodePorts and the front answer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::sockets::{self, Listening};

/// Addresses of the node on which NodePorts answer: all of them, or those that the networks hold. Not those that only the
/// node itself or its own link can reach.
pub(super) fn reachable(all: impl IntoIterator<Item = IpAddr>, only: &[IpNet]) -> BTreeSet<IpAddr> {
    let wanted = |address: &IpAddr| only.is_empty() || only.iter().any(|network| network.contains(address));
    all.into_iter().filter(|address| by_others(*address) && wanted(address)).collect()
}

/// NodePorts answer the node's own processes on loopback, unless they are asked for elsewhere only.
pub(super) fn on_loopback(only: &[IpNet]) -> bool {
    let loopback = |network: &IpNet| network.addr().is_loopback();
    only.is_empty() || only.iter().any(loopback)
}

fn by_others(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

/// Where other sockets of the host keep the front from answering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Addresses on which the front would hide them.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Says so, and who it is.
    pub(super) problem: Option<Problem>,
}

/// Looks who listens on a port of the front.
pub(super) fn taken(flag: &str, port: u16, addresses: &BTreeSet<IpAddr>) -> Taken {
    if port == 0 {
        return Taken::default();
    }
    match sockets::listening_on(port) {
        Ok(listening) => {
            let addresses = answered(&listening, addresses);
            let holder = || sockets::holder(&listening);
            let problem = (!addresses.is_empty()).then(|| port_taken(flag, port, &addresses, holder()));
            Taken { addresses, problem }
        }
        Err(error) => {
            tracing::warn!(%error, port, "cannot see who listens on the front's port");
            Taken::default()
        }
    }
}

fn answered(listening: &[Listening], addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let answers = |address: &&IpAddr| listening.iter().any(|socket| socket.answers(**address));
    addresses.iter().filter(answers).copied().collect()
}

fn port_taken(flag: &str, port: u16, addresses: &BTreeSet<IpAddr>, holder: Option<String>) -> Problem {
    let holder = holder.unwrap_or_else(|| "another process".to_owned());
    let places: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let what = format!("{holder} listens on port {port} of {}: the front does not answer there", places.join(", "));
    Problem::warning(code::FRONT_PORT_TAKEN, &ObjectRef::default(), what)
        .at(flag, port)
        .expected("a port that nobody else listens on, or 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &[&str]) -> BTreeSet<IpAddr> {
        text.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn node_ports_answer_on_what_others_can_reach() {
        let all = addresses(&["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "10.0.0.1", "192.0.2.1", "2001:db8::1"]);
        let networks = |text: &[&str]| text.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let found = |only: &[&str]| reachable(all.clone(), &networks(only));
        assert_eq!(found(&[]), addresses(&["10.0.0.1", "192.0.2.1", "2001:db8::1"]));
        assert_eq!(found(&["10.0.0.0/8"]), addresses(&["10.0.0.1"]));
        assert_eq!(found(&["192.0.2.0/24", "2001:db8::/32"]), addresses(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(found(&["127.0.0.0/8"]), addresses(&[]));
    }

    #[test]
    fn a_taken_port_names_holder_and_addresses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = taken("--http-port", port, &addresses(&["127.0.0.1", "192.0.2.1"]));
        assert_eq!(found.addresses, addresses(&["127.0.0.1"]));
        let message = found.problem.unwrap().message;
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(message.contains("127.0.0.1") && !message.contains("192.0.2.1"), "{message}");
        assert_eq!(taken("--http-port", port, &addresses(&["192.0.2.1"])), Taken::default());
        assert_eq!(taken("--http-port", 0, &addresses(&["127.0.0.1"])), Taken::default());
    }
}
