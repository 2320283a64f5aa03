//! Where a request goes: the upstream of its route or that of its canary, and the endpoints behind it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use hyper::http::request::Parts;

use super::balance::Cookie;
use super::canary;
use super::cookies;
use super::forward::Ends;
use super::names::NameError;
use super::proxy_protocol::Told;
use super::router::Upstream;
use super::rules::Rule;
use super::secure::Transport;
use super::table::External;
use super::worker::{View, Worker};
use crate::model::filters::{Affinity, Balance, Canary, TlsUse};

/// The upstream of a request, and how its endpoints are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The upstream.
    pub upstream: &'a Upstream,
    /// Whose turn it is.
    pub turn: usize,
    /// What the route, or the canary, says.
    pub balance: Option<&'a Balance>,
    /// The cookie that keeps clients.
    pub affinity: Option<&'a Affinity>,
}

/// Decides; `None`: there is no upstream, or nobody behind it. `chance` decides about a canary where the request leaves it
/// open.
pub fn of<'a>(
    rule: &'a Rule,
    view: &'a View,
    head: &Parts,
    chance: impl FnOnce(&Canary) -> bool,
) -> Option<Destination<'a>> {
    let filters = &rule.entry.filters;
    let balance = filters.balance.as_deref();
    let affinity = balance.and_then(|balance| balance.affinity.as_deref());
    if let Some(to) = to_canary(rule, view, head, chance, affinity) {
        return Some(to);
    }
    let (upstream, turn) = rule.upstream.and_then(|index| view.upstream(index)).filter(|found| !found.0.is_empty())?;
    Some(Destination { upstream, turn, balance, affinity })
}

fn to_canary<'a>(
    rule: &'a Rule,
    view: &'a View,
    head: &Parts,
    chance: impl FnOnce(&Canary) -> bool,
    affinity: Option<&'a Affinity>,
) -> Option<Destination<'a>> {
    let (canary, prepared) = (rule.entry.filters.canary.as_deref()?, rule.canary.as_ref()?);
    let upstream = view.router.upstreams.get(prepared.upstream).filter(|upstream| !upstream.is_empty())?;
    let affinity = affinity.filter(|_| canary.sticky);
    let kept = affinity.and_then(|affinity| {
        let cookie = cookies::find(&head.headers, &affinity.name).and_then(Cookie::parse);
        canary::kept(affinity, cookie, rule.entry.upstream.as_deref().unwrap_or_default(), &upstream.name)
    });
    if !kept.or_else(|| prepared.takes(canary, head)).unwrap_or_else(|| chance(canary)) {
        return None;
    }
    let (upstream, turn) = view.upstream(prepared.upstream)?;
    let balance = canary.balance.as_deref();
    let affinity = affinity.or_else(|| balance?.affinity.as_deref());
    Some(Destination { upstream, turn, balance, affinity })
}

/// The default backend of the Ingress in the place of a backend without endpoints, if it has one that is served.
pub fn stand_in<'a>(rule: &Rule, view: &'a View) -> Option<Destination<'a>> {
    let service = rule.entry.filters.errors.as_ref()?.service.as_ref()?;
    let (upstream, turn) = view.router.upstream_of(service).and_then(|index| view.upstream(index))?;
    (!upstream.endpoints.is_empty()).then_some(Destination { upstream, turn, balance: None, affinity: None })
}

/// What is spoken to the endpoints.
pub fn transport(rule: &Rule, upstream: &Upstream, ends: &Ends) -> Transport {
    transport_for(rule, upstream, ends.is_secured(), Told { client: ends.client, front: ends.front })
}

/// The same for a client who speaks TLS or does not, and what endpoints are told of its connection, if they are.
pub fn transport_for(rule: &Rule, upstream: &Upstream, secured: bool, told: Told) -> Transport {
    let Some(backend) = rule.entry.filters.backend.as_deref() else { return Transport::PLAIN };
    let secured = match backend.secure {
        TlsUse::Never => false,
        TlsUse::Always => true,
        TlsUse::Alike => secured,
    };
    let tls = secured.then(|| {
        let name = match (&backend.tls.name, &upstream.external) {
            (Some(name), _) => name.as_str().into(),
            (None, Some(External { host, .. })) => host.as_str().into(),
            (None, None) => {
                let (namespace, name) = rule.entry.service.split_once('/').unwrap_or(("", &rule.entry.service));
                format!("{name}.{namespace}.svc").into()
            }
        };
        (Arc::clone(&backend.tls), name)
    });
    Transport { http2: backend.http2, tls, proxied: backend.proxy_protocol.map(|version| (version, told)) }
}

/// The endpoints of an upstream that stands for a name.
pub async fn resolve(worker: &Rc<Worker>, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
    let found = find(worker, host, port).await;
    worker.note_name(host, found.as_ref().err().copied());
    found
}

/// The addresses behind a name.
pub async fn find(worker: &Rc<Worker>, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
    worker.names.find(host).await.and_then(|addresses| {
        let mut endpoints: Vec<_> = addresses
            .iter()
            .filter(|address| worker.limits.local_names || !is_of_node(**address))
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        if endpoints.is_empty() { Err(NameError::NoAddress) } else { Ok(endpoints) }
    })
}

/// Addresses that mean something else on each node. Whoever may write a Service must not reach what listens there for the
/// node's own processes only.
fn is_of_node(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_into_the_node() {
        for (address, of_node) in [
            ("127.0.0.1", true),
            ("169.254.169.254", true),
            ("0.0.0.0", true),
            ("::1", true),
            ("fe80::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_of_node(address.parse().expect(address)), of_node, "{address}");
        }
    }
}
