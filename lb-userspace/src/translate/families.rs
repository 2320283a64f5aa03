//! In which address families a Service is balanced.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::problem::code;
use crate::model::{Backend, BackendState, Frontend, IpFamily, ObjectRef, Problem};
use crate::source::kinds::{EndpointSlice, Service};

/// The families of a Service, the preferred one first: `ipFamilies`, else those of its cluster IPs; with a policy that
/// asks for two stacks the other one as well. Where nothing of that is said, what it has been given tells: its
/// addresses and its slices; else IPv4.
pub(super) fn of(
    object: &Service,
    slices: &[&Arc<EndpointSlice>],
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Vec<IpFamily> {
    let mut families = named(object, owner, problems);
    if families.is_empty() {
        families = unique(object.cluster_addresses().filter_map(family_of_text));
    }
    if wants_two_stacks(object, owner, problems) {
        families = unique(families.into_iter().chain(IpFamily::ALL));
    }
    if families.is_empty() {
        families = given(object, slices);
    }
    families
}

/// Some address of a Service has a family that the Service is not balanced in: kube-proxy leaves those out as well.
pub(super) fn is_other(
    address: IpAddr,
    families: &[IpFamily],
    owner: &ObjectRef,
    field: &str,
    problems: &mut Vec<Problem>,
) -> bool {
    let family = IpFamily::of(address);
    if families.contains(&family) {
        return false;
    }
    let names: Vec<_> = families.iter().map(|family| family.name()).collect();
    let what = format!("the Service is balanced in {} only: nobody answers at this address", names.join(" and "));
    let problem = Problem::warning(code::ADDRESS_OF_OTHER_FAMILY, owner, what).at(field, address);
    problems.push(problem.expected(format!("{} among spec.ipFamilies", family.name())));
    true
}

/// Clients of one family would find nobody, while those of the other find backends.
pub(super) fn without_backends(
    families: &[IpFamily],
    frontends: &[Frontend],
    takes_node_port: bool,
    backends: &[Backend],
    owner: &ObjectRef,
) -> Option<Problem> {
    let serves = |family: &IpFamily| {
        let of_family = backends.iter().filter(|backend| IpFamily::of(backend.address) == *family);
        of_family.into_iter().any(|backend| backend.state != BackendState::Unhealthy)
    };
    let empty = families.iter().find(|family| !serves(family)).filter(|_| families.iter().any(serves))?;
    let is_reached = |frontend: &Frontend| frontend.address.is_some_and(|address| IpFamily::of(address) == *empty);
    if !takes_node_port && !frontends.iter().any(is_reached) {
        return None;
    }
    let what = format!("the Service has clients of {0}, but no backend of {0}", empty.name());
    let problem = Problem::warning(code::FAMILY_WITHOUT_BACKENDS, owner, what).at_field("spec.ipFamilies");
    Some(problem.expected(format!("endpoints with addresses of {0}, or a Service without {0}", empty.name())))
}

/// `spec.ipFamilies`.
fn named(object: &Service, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Vec<IpFamily> {
    let mut families = Vec::new();
    for (index, name) in object.spec.ip_families.iter().enumerate() {
        match IpFamily::ALL.into_iter().find(|family| family.name() == name) {
            Some(family) => families.push(family),
            None => {
                let problem = Problem::warning(code::FIELD_INVALID, owner, "there is no such family; it is left out");
                problems.push(problem.at(format!("spec.ipFamilies[{index}]"), name).expected("IPv4 or IPv6"));
            }
        }
    }
    unique(families)
}

/// An API server that had no second stack to give has left the cluster IPs at one; what people write has none.
fn wants_two_stacks(object: &Service, owner: &ObjectRef, problems: &mut Vec<Problem>) -> bool {
    match object.spec.ip_family_policy.as_deref() {
        Some("RequireDualStack") => true,
        Some("PreferDualStack") => object.cluster_addresses().next().is_none(),
        None | Some("SingleStack" | "") => false,
        Some(other) => {
            let problem = Problem::warning(code::FIELD_INVALID, owner, "there is no such policy; it is left out");
            let problem = problem.at("spec.ipFamilyPolicy", other);
            problems.push(problem.expected("SingleStack, PreferDualStack or RequireDualStack"));
            false
        }
    }
}

fn given(object: &Service, slices: &[&Arc<EndpointSlice>]) -> Vec<IpFamily> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints).filter_map(|endpoint| endpoint.addresses.first());
    let texts = object.outer_addresses().chain(endpoints.map(String::as_str));
    let mut families = unique(texts.filter_map(family_of_text));
    families.sort_unstable();
    if families.is_empty() { vec![IpFamily::V4] } else { families }
}

fn family_of_text(text: &str) -> Option<IpFamily> {
    text.parse().ok().map(IpFamily::of)
}

fn unique(families: impl IntoIterator<Item = IpFamily>) -> Vec<IpFamily> {
    let mut result = Vec::new();
    for family in families {
        if !result.contains(&family) {
            result.push(family);
        }
    }
    result
}
