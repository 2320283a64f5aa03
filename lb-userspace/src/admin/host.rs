//! Under which names requests are answered. A web page whose own name leads to this address by now (DNS rebinding) runs in
//! somebody's browser on this machine, and may read what its name answers; its requests carry that name as their Host.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;

use super::Agent;

/// The Host is an address, `localhost`, or a name of this node; requests without one are not from browsers.
pub(super) fn is_own<B>(agent: &dyn Agent, request: &Request<B>) -> bool {
    let in_uri = request.uri().authority().map(|authority| authority.as_str());
    let mut hosts = request.headers().get_all(HOST).iter().map(|host| host.to_str().ok()).chain(in_uri.map(Some));
    hosts.all(|host| host.is_some_and(|host| names_us(host, |name| is_node(agent, name))))
}

fn is_node(agent: &dyn Agent, name: &str) -> bool {
    let system = rustix::system::uname();
    let same = |own: &str| own.eq_ignore_ascii_case(name);
    agent.node().is_some_and(|node| same(&node)) || system.nodename().to_str().is_ok_and(same)
}

/// `HOST` or `HOST:PORT` (RFC 9110, section 7.2).
fn names_us(host: &str, is_node: impl Fn(&str) -> bool) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || is_node(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names() {
        let own = |host| names_us(host, |name| name == "node-1");
        for host in
            ["127.0.0.1:10254", "[::1]:10254", "10.0.0.1", "localhost", "LOCALHOST:1", "node-1:10254", "node-1."]
        {
            assert!(own(host), "{host}");
        }
        for host in
            ["evil.example:10254", "127.0.0.1.evil.example", "node-1.evil.example", "", "[::1", "localhost.evil"]
        {
            assert!(!own(host), "{host}");
        }
    }
}
