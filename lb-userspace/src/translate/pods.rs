//! What pods ask for themselves.

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::Objects;
use crate::source::kinds::Pod;

/// Notes host ports, which are not served yet.
pub(super) fn check(objects: &Objects, problems: &mut Vec<Problem>) {
    problems.extend(objects.pods().filter_map(|pod| host_port(pod)));
}

fn host_port(pod: &Pod) -> Option<Problem> {
    let mut containers = pod.spec.containers.iter().enumerate();
    let (field, number) = containers.find_map(|(i, container)| {
        let mut ports = container.ports.iter().enumerate();
        ports.find_map(|(j, port)| {
            let number = port.host_port.filter(|number| *number != 0)?;
            Some((format!("spec.containers[{i}].ports[{j}].hostPort"), number))
        })
    })?;
    let owner = ObjectRef::new("Pod", &pod.metadata.namespace, &pod.metadata.name);
    Some(Problem::info(code::NOT_YET, &owner, "host ports are not served yet").at(field, number))
}
