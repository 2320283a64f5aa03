//! `loadBalancerSourceRanges`: the clients that a Service is for.

use ipnet::IpNet;

use crate::model::problem::code;
use crate::model::{FrontendKind, IpFamily, ObjectRef, Problem, ServiceType};
use crate::source::kinds::Service;

use super::frontends::Vip;

const FIELD: &str = "spec.loadBalancerSourceRanges";

/// The networks as far as they are some; `None` if the Service is for everybody. One of which none is a network is for nobody:
/// who wrote them wanted to keep clients out.
pub(super) fn of(
    object: &Service,
    service_type: ServiceType,
    vips: &[Vip],
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Option<Vec<IpNet>> {
    let written = &object.spec.load_balancer_source_ranges;
    if written.is_empty() || service_type != ServiceType::LoadBalancer {
        return None;
    }
    let mut ranges = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match text.trim().parse::<IpNet>() {
            Ok(network) => ranges.push(network.trunc()),
            Err(_) => {
                let what = "this is not a network, so it lets nobody in";
                let problem = Problem::error(code::SOURCE_RANGE_INVALID, owner, what);
                problems
                    .push(problem.at(format!("{FIELD}[{index}]"), text).expected("a network, such as 192.0.2.0/24"));
            }
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    problems.extend(closed(vips, &ranges, owner));
    Some(ranges)
}

/// Families in which the Service has an address that nobody may come to.
fn closed(vips: &[Vip], ranges: &[IpNet], owner: &ObjectRef) -> Vec<Problem> {
    let balanced = |family| {
        let of_family = |vip: &&Vip| vip.kind() == FrontendKind::LoadBalancer && IpFamily::of(vip.address()) == family;
        vips.iter().find(of_family)
    };
    let lone = |family| {
        let vip = balanced(family).filter(|_| ranges.iter().all(|range| IpFamily::of(range.addr()) != family))?;
        let what = format!("no network of {} is named, so nobody reaches {}", family.name(), vip.address());
        let problem = Problem::warning(code::SOURCE_RANGES_CLOSED, owner, what).at_field(FIELD);
        Some(problem.expected("a network of each family in which the Service has an address"))
    };
    [IpFamily::V4, IpFamily::V6].into_iter().filter_map(lone).collect()
}
