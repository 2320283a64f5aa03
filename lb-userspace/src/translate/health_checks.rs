//! Ports for the health checks of Services whose clients are led to local backends only: an outer load balancer asks there
//! which nodes have any. They are TCP ports of the node like any node port, one for each Service.

use std::collections::{HashMap, HashSet};

use super::node_ports::{Key, candidates};
use super::service::{Draft, NodePort};
use crate::model::problem::code;
use crate::model::{Problem, Protocol};

/// The giving out of ports for health checks, in between that of node ports.
pub(super) struct HealthChecks {
    /// The first port of each Service that asks for one, older Services first.
    asking: Vec<usize>,
    given: HashMap<(String, String), u16>,
}

impl HealthChecks {
    /// Those that are asked for, in the order of seniority.
    pub(super) fn new(drafts: &[Draft], order: &[usize]) -> Self {
        let mut seen = HashSet::new();
        let asking = order.iter().copied().filter(|index| {
            let draft = &drafts[*index];
            draft.health_check != NodePort::No && seen.insert(service(draft))
        });
        Self { asking: asking.collect(), given: HashMap::new() }
    }

    /// Those that are asked for by number.
    pub(super) fn reserve(&mut self, drafts: &[Draft], taken: &mut HashMap<Key, String>, problems: &mut Vec<Problem>) {
        for draft in self.asking.iter().map(|index| &drafts[*index]) {
            let NodePort::Fixed(number) = draft.health_check else { continue };
            if let Some(holder) = taken.get(&(Protocol::Tcp, number)) {
                let what = format!("the port of the health check belongs to {holder}");
                let problem = Problem::error(code::NODE_PORT_CONFLICT, &draft.reference(), what);
                let problem = problem.at("spec.healthCheckNodePort", number);
                problems.push(problem.expected("a free port in 30000-32767, or none to get one"));
                continue;
            }
            taken.insert((Protocol::Tcp, number), name(draft));
            self.given.insert(service(draft), number);
        }
    }

    /// Those for which any port will do.
    pub(super) fn allocate(&mut self, drafts: &[Draft], taken: &mut HashMap<Key, String>, problems: &mut Vec<Problem>) {
        for draft in self.asking.iter().map(|index| &drafts[*index]) {
            if draft.health_check != NodePort::Any {
                continue;
            }
            let free = candidates(&name(draft)).find(|number| !taken.contains_key(&(Protocol::Tcp, *number)));
            let Some(number) = free else {
                let problem = Problem::error(code::NODE_PORTS_EXHAUSTED, &draft.reference(), "no node port is free");
                problems.push(problem.at_field("spec.healthCheckNodePort"));
                continue;
            };
            taken.insert((Protocol::Tcp, number), name(draft));
            self.given.insert(service(draft), number);
        }
    }

    /// Tells every port of a Service.
    pub(super) fn write(&self, drafts: &mut [Draft]) {
        for draft in drafts.iter_mut().filter(|draft| draft.health_check != NodePort::No) {
            draft.service.policy.health_check = self.given.get(&service(draft)).copied();
        }
    }
}

fn service(draft: &Draft) -> (String, String) {
    (draft.service.key.namespace.clone(), draft.service.key.name.clone())
}

/// Who holds the port, for messages; it also names the order in which ports are tried.
fn name(draft: &Draft) -> String {
    format!("the health check of {}/{}", draft.service.key.namespace, draft.service.key.name)
}
