//! Weights of backends: by annotations of Pods, and of endpoint slices for all their endpoints.

use std::collections::HashMap;

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::Objects;
use crate::source::kinds::{EndpointSlice, Metadata, WEIGHT};

/// Rings have at least a hundred slots per backend, so finer shares would be lost.
const MOST: u16 = 1_000;

/// The weights that Pods ask for, by namespace and name; the word of a Pod is stronger than that of a slice.
#[derive(Debug, Default)]
pub(super) struct Weights(HashMap<(String, String), u16>);

impl Weights {
    /// Reads the annotations of all Pods.
    pub(super) fn of_pods(objects: &Objects, problems: &mut Vec<Problem>) -> Self {
        let mut weights = HashMap::new();
        for pod in objects.pods() {
            let Metadata { namespace, name, .. } = &pod.metadata;
            if let Some(weight) = written(&pod.metadata, "Pod", problems) {
                weights.insert((namespace.clone(), name.clone()), weight);
            }
        }
        Self(weights)
    }

    /// That of a Pod, `namespace/name`.
    pub(super) fn of_pod(&self, pod: &str) -> Option<u16> {
        let (namespace, name) = pod.split_once('/')?;
        self.0.get(&(namespace.to_owned(), name.to_owned())).copied()
    }
}

/// That of all endpoints of a slice.
pub(super) fn of_slice(slice: &EndpointSlice, problems: &mut Vec<Problem>) -> Option<u16> {
    written(&slice.metadata, "EndpointSlice", problems)
}

fn written(metadata: &Metadata, kind: &str, problems: &mut Vec<Problem>) -> Option<u16> {
    let text = metadata.annotations.get(WEIGHT)?;
    match text.trim().parse::<u16>().ok().filter(|weight| *weight <= MOST) {
        Some(weight) => Some(weight),
        None => {
            let owner = ObjectRef::new(kind, &metadata.namespace, &metadata.name);
            let problem = Problem::error(code::WEIGHT_INVALID, &owner, "this is not a weight; 1 is taken");
            let problem = problem.at(format!("metadata.annotations[{WEIGHT}]"), text);
            let problem = problem.expected(format!("0-{MOST}; 0 takes no new flows"));
            if !problems.contains(&problem) {
                problems.push(problem);
            }
            None
        }
    }
}
