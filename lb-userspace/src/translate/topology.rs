//! Topology: where all endpoints of a Service carry hints, clients of this node are led to those that are meant for the node,
//! or for its zone. The rule is that of kube-proxy (`topologyModeFromHints`, Kubernetes 1.34): a hint is of use only if every
//! endpoint that takes new flows has one, and one of them means us; hints for nodes come before hints for zones.

use crate::model::problem::code;
use crate::model::{Backend, BackendState, Forwarding, IpFamily, ObjectRef, Problem};
use crate::source::kinds::{EndpointHints, HintFor, Node, Service, ZONE};

/// Where this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: String,
    pub(super) zone: Option<String>,
}

impl Place {
    /// That of the node with this name and object.
    pub(super) fn of(name: &str, node: Option<&Node>) -> Self {
        let zone = node.and_then(|node| node.metadata.labels.get(ZONE)).filter(|zone| !zone.is_empty());
        Self { node: name.to_owned(), zone: zone.cloned() }
    }

    fn is_meant(&self, hints: &[HintFor], by: By) -> bool {
        let own = match by {
            By::Node => Some(&self.node),
            By::Zone => self.zone.as_ref(),
        };
        hints.iter().any(|hint| Some(&hint.name) == own)
    }
}

#[derive(Clone, Copy)]
enum By {
    Node,
    Zone,
}

fn hints(hints: &EndpointHints, by: By) -> &[HintFor] {
    match by {
        By::Node => &hints.for_nodes,
        By::Zone => &hints.for_zones,
    }
}

/// Marks the backends that clients of this node are not led to while nearer ones take new flows; each family by itself.
pub(super) fn lead(backends: &mut [(Backend, &EndpointHints)], place: &Place) {
    for family in [IpFamily::V4, IpFamily::V6] {
        let takes =
            |backend: &Backend| backend.state == BackendState::Active && IpFamily::of(backend.address) == family;
        let taking = || backends.iter().filter(|(backend, _)| takes(backend)).map(|(_, hints)| *hints);
        let is_of_use = |by: &By| {
            taking().all(|all| !hints(all, *by).is_empty()) && taking().any(|all| place.is_meant(hints(all, *by), *by))
        };
        let Some(by) = [By::Node, By::Zone].into_iter().find(is_of_use) else { continue };
        for (backend, all) in backends.iter_mut().filter(|(backend, _)| takes(backend)) {
            backend.far = !place.is_meant(hints(all, by), by);
        }
    }
}

/// Whether hints count: not with DSR, where all nodes have to choose alike.
pub(super) fn counts(object: &Service, forwarding: Forwarding, owner: &ObjectRef, problems: &mut Vec<Problem>) -> bool {
    const FIELD: &str = "spec.trafficDistribution";
    match object.spec.traffic_distribution.as_deref().filter(|word| !word.is_empty()) {
        Some(word) if !matches!(word, "PreferClose" | "PreferSameZone" | "PreferSameNode") => {
            let problem =
                Problem::warning(code::FIELD_INVALID, owner, "there is no such distribution; it is not followed");
            problems.push(problem.at(FIELD, word).expected("PreferSameZone, PreferSameNode or PreferClose"));
        }
        Some(word) if forwarding == Forwarding::Dsr => {
            let what = "with DSR every node has to choose alike, so nearer backends are not preferred";
            let problem = Problem::info(code::TOPOLOGY_UNSUITABLE, owner, what).at(FIELD, word);
            problems.push(problem.expected("weir.io/forwarding: snat"));
        }
        _ => {}
    }
    forwarding == Forwarding::Snat
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes and zones that an endpoint is for.
    fn endpoint(nodes: &[&str], zones: &[&str]) -> EndpointHints {
        let named = |names: &[&str]| names.iter().map(|name| HintFor { name: (*name).to_owned() }).collect();
        EndpointHints { for_nodes: named(nodes), for_zones: named(zones) }
    }

    /// Which backends this node, `n1` in zone `a`, is led to.
    fn near(endpoints: &[(EndpointHints, BackendState)]) -> Vec<usize> {
        let place = Place { node: "n1".to_owned(), zone: Some("a".to_owned()) };
        let backend = |(at, (hints, state)): (usize, &'static (EndpointHints, BackendState))| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + at as u32).into();
            let backend = Backend {
                address,
                port: 80,
                weight: 1,
                state: *state,
                node: None,
                local: false,
                far: false,
                pod: None,
            };
            (backend, hints)
        };
        let endpoints: &'static [_] = endpoints.to_vec().leak();
        let mut backends: Vec<_> = endpoints.iter().enumerate().map(backend).collect();
        lead(&mut backends, &place);
        let near = backends.iter().enumerate().filter(|(_, (backend, _))| !backend.far);
        near.map(|(at, _)| at).collect()
    }

    #[test]
    fn hints_count_where_all_have_one_and_one_is_ours() {
        use BackendState::{Active, Terminating};
        let zone = |zone| (endpoint(&[], &[zone]), Active);
        assert_eq!(near(&[zone("a"), zone("b"), zone("a")]), [0, 2]);
        assert_eq!(near(&[zone("b"), zone("c")]), [0, 1], "none is for us");
        assert_eq!(near(&[zone("a"), (endpoint(&[], &[]), Active)]), [0, 1], "one says nothing");
        assert_eq!(near(&[zone("a"), zone("b"), (endpoint(&[], &[]), Terminating)]), [0, 2], "who ends is not asked");
        let both = |node, zone| (endpoint(&[node], &[zone]), Active);
        assert_eq!(near(&[both("n1", "a"), both("n2", "a"), both("n3", "b")]), [0], "nodes come first");
        assert_eq!(near(&[both("n4", "a"), both("n2", "a"), both("n3", "b")]), [0, 1], "then zones");
        assert_eq!(near(&[(endpoint(&[], &["b", "a"]), Active), zone("b")]), [0], "one for several zones");
    }
}
