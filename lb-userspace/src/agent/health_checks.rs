//! Answers to outer load balancers that ask which nodes have backends of a Service (`healthCheckNodePort`), as kube-proxy
//! gives them.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::problem::code;
use crate::model::{BackendState, DesiredState, ObjectRef, Problem, Service, Target};
use server::Server;

/// What is told about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    namespace: String,
    name: String,
    /// Endpoints on this node that are ready; several ports of one count once, and so do its addresses of two families.
    local: usize,
}

/// Whether this node forwards as it should, whatever the Service.
pub(super) type Healthy = Arc<dyn Fn() -> bool + Send + Sync>;

/// The servers, one for each port.
pub(super) struct HealthChecks {
    servers: BTreeMap<u16, Server>,
    healthy: Healthy,
    /// Networks of the addresses on which they answer; empty: on all.
    only: Arc<[IpNet]>,
}

impl HealthChecks {
    /// No server yet.
    pub(super) fn new(healthy: Healthy, only: &[IpNet]) -> Self {
        Self { servers: BTreeMap::new(), healthy, only: only.into() }
    }

    /// Starts, changes and ends servers. One that cannot listen is a Problem, and is tried again the next time.
    pub(super) fn follow(&mut self, wanted: BTreeMap<u16, Check>) -> Vec<Problem> {
        self.servers.retain(|port, _| wanted.contains_key(port));
        let mut problems = Vec::new();
        for (port, check) in wanted {
            if let Some(server) = self.servers.get(&port) {
                server.tell(check);
                continue;
            }
            let owner = ObjectRef::new("Service", &check.namespace, &check.name);
            match Server::start(port, check, Arc::clone(&self.healthy), Arc::clone(&self.only)) {
                Ok(server) => drop(self.servers.insert(port, server)),
                Err(error) => problems.push(unheard(&owner, port, &error)),
            }
        }
        problems
    }
}

fn unheard(owner: &ObjectRef, port: u16, error: &std::io::Error) -> Problem {
    let what = format!("nobody can ask for its health on this node: {error}");
    let problem = Problem::error(code::HEALTH_CHECK_UNHEARD, owner, what);
    problem.at("spec.healthCheckNodePort", port).expected("a port on which no other process of the node listens")
}

/// What should be told at which port. `front` says whether the node's own front listens, which is the backend of some
/// Services.
pub(super) fn wanted(desired: &DesiredState, front: bool) -> BTreeMap<u16, Check> {
    let mut local: BTreeMap<u16, (&Service, BTreeSet<std::net::IpAddr>)> = BTreeMap::new();
    for service in desired.services.values() {
        let Some(port) = service.policy.health_check else { continue };
        let (_, addresses) = local.entry(port).or_insert_with(|| (service, BTreeSet::new()));
        match &service.target {
            Target::Backends(backends) => {
                let ready = backends.iter().filter(|backend| backend.local && backend.state == BackendState::Active);
                addresses.extend(ready.map(|backend| backend.address));
            }
            Target::Front(_) => addresses.extend(front.then_some(std::net::IpAddr::from([127, 0, 0, 1]))),
        }
    }
    let check = |(port, (service, addresses)): (u16, (&Service, BTreeSet<std::net::IpAddr>))| {
        let (namespace, name) = (service.key.namespace.clone(), service.key.name.clone());
        let sixes = addresses.iter().filter(|address| address.is_ipv6()).count();
        (port, Check { namespace, name, local: sixes.max(addresses.len() - sixes) })
    };
    local.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests;
