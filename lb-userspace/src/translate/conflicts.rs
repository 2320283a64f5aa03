//! Frontends that two Services want: the older Service keeps it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::service::Draft;
use crate::model::problem::code;
use crate::model::{Frontend, FrontendKind, Problem, Protocol, ServiceKey};

/// Takes away frontends that an older Service has. (Node ports are settled where they are assigned.)
pub(super) fn between_frontends(drafts: &mut [Draft], problems: &mut Vec<Problem>) {
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    order.sort_by(|a, b| drafts[*a].rank().cmp(&drafts[*b].rank()));
    let mut holders: HashMap<(IpAddr, u16, Protocol), ServiceKey> = HashMap::new();
    for index in order {
        let draft = &mut drafts[index];
        let key = draft.service.key.clone();
        let mut lost = Vec::new();
        draft.service.frontends.retain(|frontend| {
            let Some(address) = frontend.address else { return true };
            let holder = holders.entry((address, frontend.port, key.protocol)).or_insert_with(|| key.clone());
            let keeps = *holder == key;
            if !keeps {
                lost.push((frontend.clone(), holder.clone()));
            }
            keeps
        });
        problems.extend(lost.into_iter().map(|(frontend, holder)| lost_to(draft, &frontend, &holder)));
    }
}

fn lost_to(draft: &Draft, frontend: &Frontend, holder: &ServiceKey) -> Problem {
    let what = format!("address, port and protocol belong to {holder} already");
    let problem = Problem::error(code::FRONTEND_CONFLICT, &draft.reference(), what);
    let field = match frontend.kind {
        FrontendKind::ExternalIP => "spec.externalIPs",
        FrontendKind::LoadBalancer => "status.loadBalancer.ingress",
        _ => "spec.clusterIP",
    };
    let address = frontend.address.map(|address| address.to_string()).unwrap_or_default();
    let value = format!("{address} port {}/{}", frontend.port, draft.service.key.protocol);
    problem.at(field, value).expected("an address or port of its own")
}
