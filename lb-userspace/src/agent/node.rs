//! Where NodePorts and the front answer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Manifests;
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
    /// Addresses on which the front would hide them from clients of HTTP.
    pub(super) http: BTreeSet<IpAddr>,
    /// The same for HTTPS.
    pub(super) https: BTreeSet<IpAddr>,
    /// Says so, and who it is.
    pub(super) problems: Vec<Problem>,
}

/// Looks who listens on the ports of the front.
pub(super) fn taken(manifests: &Manifests, addresses: &BTreeSet<IpAddr>) -> Taken {
    let (http, problem) = taken_of("--http-port", manifests.http_port, addresses);
    let (https, other) = taken_of("--https-port", manifests.https_port, addresses);
    Taken { http, https, problems: problem.into_iter().chain(other).collect() }
}

fn taken_of(flag: &str, port: u16, addresses: &BTreeSet<IpAddr>) -> (BTreeSet<IpAddr>, Option<Problem>) {
    if port == 0 {
        return Default::default();
    }
    match sockets::listening_on(port) {
        Ok(listening) => {
            let addresses = answered(&listening, addresses);
            let holder = || sockets::holder(&listening);
            let problem = (!addresses.is_empty()).then(|| port_taken(flag, port, &addresses, holder()));
            (addresses, problem)
        }
        Err(error) => {
            tracing::warn!(%error, port, "cannot see who listens on the front's port");
            Default::default()
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
        let taken = |port, at: &[&str]| taken_of("--http-port", port, &addresses(at));
        let (found, problem) = taken(port, &["127.0.0.1", "192.0.2.1"]);
        assert_eq!(found, addresses(&["127.0.0.1"]));
        let message = problem.unwrap().message;
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(message.contains("127.0.0.1") && !message.contains("192.0.2.1"), "{message}");
        assert_eq!(taken(port, &["192.0.2.1"]), Default::default());
        assert_eq!(taken(0, &["127.0.0.1"]), Default::default());
    }
}
