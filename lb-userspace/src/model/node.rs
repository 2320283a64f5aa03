//! Nodes of the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::Backend;

/// Where a node is reached by the others: the addresses that its object calls internal, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// It is this node.
    pub own: bool,
}

impl NodeAddresses {
    /// The first address of the same family as another one.
    pub fn like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == other.is_ipv4())
    }
}

impl fmt::Display for NodeAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        write!(f, "{}{}", addresses.join(" "), if self.own { " own" } else { "" })
    }
}

/// The address of the node that a backend runs on, in the backend's own family: a tunnel carries a family in itself.
pub fn node_of(backend: &Backend, nodes: &BTreeMap<String, NodeAddresses>) -> Option<IpAddr> {
    match &backend.node {
        Some(name) => nodes.get(name)?.like(backend.address),
        // one with the address of a node runs there
        None => nodes.values().any(|node| node.addresses.contains(&backend.address)).then_some(backend.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackendState;

    fn node(addresses: &[&str]) -> NodeAddresses {
        NodeAddresses { addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(), own: false }
    }

    fn backend(address: &str, node: Option<&str>) -> Backend {
        Backend {
            address: address.parse().unwrap(),
            port: 80,
            weight: 1,
            state: BackendState::Active,
            node: node.map(str::to_owned),
            local: false,
            far: false,
            pod: None,
        }
    }

    #[test]
    fn the_node_of_a_backend_is_named_in_its_own_family() {
        let nodes = [
            ("both".to_owned(), node(&["2001:db8::1", "10.0.0.1", "10.0.0.2"])),
            ("old".to_owned(), node(&["10.0.0.3"])),
        ];
        let nodes = nodes.into();
        let of = |address, name| node_of(&backend(address, name), &nodes).map(|address| address.to_string());
        assert_eq!(of("10.244.1.1", Some("both")).as_deref(), Some("10.0.0.1"));
        assert_eq!(of("fd00::1", Some("both")).as_deref(), Some("2001:db8::1"));
        assert_eq!(of("fd00::1", Some("old")), None);
        assert_eq!(of("10.244.1.1", Some("gone")), None);
        assert_eq!(of("10.244.1.1", None), None);
        assert_eq!(of("10.0.0.3", None).as_deref(), Some("10.0.0.3"), "a pod in the node's own network");
    }
}
