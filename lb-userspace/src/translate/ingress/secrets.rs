//! What of Secrets is kept: what a route or a host refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Route, RouteKey, Tls, Users};

/// Takes away users, certificates and authorities that nothing refers to, if there are such.
pub(in crate::translate) fn keep_used(
    routes: &BTreeMap<RouteKey, Route>,
    users: &mut BTreeMap<String, Arc<Users>>,
    tls: &mut Tls,
) {
    if !users.is_empty() {
        let asking = routes.values().filter_map(|route| route.filters.basic.as_ref());
        let used: BTreeSet<_> = asking.map(|basic| basic.users.as_str()).collect();
        users.retain(|secret, _| used.contains(secret.as_str()));
    }
    if !tls.certificates.is_empty() {
        let of_hosts = tls.hosts.values().filter_map(|host| host.certificate.as_deref());
        let used: BTreeSet<_> = of_hosts.chain(tls.default.as_deref()).collect();
        tls.certificates.retain(|secret, _| used.contains(secret.as_str()));
    }
    if !tls.authorities.is_empty() {
        let asked = tls.hosts.values().filter_map(|host| host.client.as_ref());
        let used: BTreeSet<_> = asked.map(|ask| ask.authorities.as_str()).collect();
        tls.authorities.retain(|secret, _| used.contains(secret.as_str()));
    }
}
