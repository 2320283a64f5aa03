//! Our own kinds, checked as the API server would: by their rules, and for what rules cannot say.

use crate::announce::bgp::session::{Common, Session, router_id};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::pools::range::Range;
use crate::source::kinds::{
    AddressPool, AddressPoolSpec, Announcement, AnnouncementSpec, HostPolicy, HostPolicySpec, LabelSelector,
};
use crate::source::{Objects, rules};

/// What is wrong with each of them.
pub(super) fn check(objects: &Objects, problems: &mut Vec<Problem>) {
    objects.address_pools().for_each(|pool| address_pool(pool, problems));
    objects.announcements().for_each(|announcement| check_announcement(announcement, objects, problems));
    objects.host_policies().for_each(|policy| host_policy(policy, problems));
}

fn address_pool(pool: &AddressPool, problems: &mut Vec<Problem>) {
    let (spec, owner) = (&pool.spec, ObjectRef::new("AddressPool", "", &pool.metadata.name));
    problems.extend(rules::check(AddressPoolSpec::RULES, spec, &owner));
    ranges("spec.addresses", &spec.addresses, &owner, problems);
    ranges("spec.avoid", &spec.avoid, &owner, problems);
    selectors("spec.namespaceSelectors", &spec.namespace_selectors, &owner, problems);
    selectors("spec.serviceSelectors", &spec.service_selectors, &owner, problems);
}

fn ranges(field: &str, texts: &[String], owner: &ObjectRef, problems: &mut Vec<Problem>) {
    for (index, text) in texts.iter().enumerate() {
        if let Err(error) = text.parse::<Range>() {
            let problem = Problem::error(code::ADDRESS_INVALID, owner, error).at(format!("{field}[{index}]"), text);
            problems.push(problem.expected("an address, a network or a range, such as 192.0.2.1-192.0.2.9"));
        }
    }
}

fn selectors(field: &str, selectors: &[LabelSelector], owner: &ObjectRef, problems: &mut Vec<Problem>) {
    for (index, selector) in selectors.iter().enumerate() {
        if let Some(at) = selector.fault() {
            let what = "this condition can never hold, or is none";
            let field = format!("{field}[{index}].matchExpressions[{at}].operator");
            let problem = Problem::error(code::FIELD_INVALID, owner, what);
            let problem = problem.at(field, &selector.match_expressions[at].operator);
            problems.push(problem.expected("In or NotIn with values, Exists or DoesNotExist without"));
        }
    }
}

fn check_announcement(announcement: &Announcement, objects: &Objects, problems: &mut Vec<Problem>) {
    let (spec, owner) = (&announcement.spec, ObjectRef::new("Announcement", "", &announcement.metadata.name));
    problems.extend(rules::check(AnnouncementSpec::RULES, spec, &owner));
    selectors("spec.poolSelectors", &spec.pool_selectors, &owner, problems);
    selectors("spec.serviceSelectors", &spec.service_selectors, &owner, problems);
    selectors("spec.nodeSelectors", &spec.node_selectors, &owner, problems);
    for (index, name) in spec.pools.iter().enumerate().filter(|(_, name)| objects.address_pool("", name).is_none()) {
        let problem = Problem::warning(code::POOL_MISSING, &owner, "there is no such pool");
        problems.push(problem.at(format!("spec.pools[{index}]"), name).expected("the name of an AddressPool"));
    }
    let Some(bgp) = &spec.bgp else { return };
    if let Some(id) = bgp.router_id.as_ref().filter(|id| router_id(id).is_none()) {
        let problem = Problem::error(code::ADDRESS_INVALID, &owner, "this is not the number of a router");
        problems.push(problem.at("spec.bgp.routerID", id).expected("something written as an IPv4 address"));
    }
    Common::read(bgp, &owner, problems);
    for (index, peer) in bgp.peers.iter().enumerate() {
        selectors(&format!("spec.bgp.peers[{index}].nodeSelectors"), &peer.node_selectors, &owner, problems);
        Session::read(bgp, index, &owner, problems);
    }
}

fn host_policy(policy: &HostPolicy, problems: &mut Vec<Problem>) {
    let owner = ObjectRef::new("HostPolicy", "", &policy.metadata.name);
    problems.extend(rules::check(HostPolicySpec::RULES, &policy.spec, &owner));
    selectors("spec.namespaceSelectors", &policy.spec.namespace_selectors, &owner, problems);
}

#[cfg(test)]
mod tests;
