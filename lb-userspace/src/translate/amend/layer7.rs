//! What changes of Ingresses, and of Secrets and ConfigMaps that they name, mean for a translation that was made before: the
//! Ingresses that share hosts with them are translated anew, and take the place of what these hosts had.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Fixed;
use super::concerned::Concerned;
use crate::model::{Changed, DesiredState, ObjectRef, Problem, RouteKey};
use crate::source::{ObjectKey, Objects};
use crate::translate::configmap::Read;
use crate::translate::ingress::backend::Lookup;
use crate::translate::ingress::ties::{Host, Neighbourhood, Ties, hosts};
use crate::translate::ingress::{Layer7, Told, secrets, translate_all};

/// What is remembered of the Ingresses beside what they came to.
#[derive(Debug, Default)]
pub(in crate::translate) struct Memory {
    ties: Ties,
    told: Told,
}

impl Memory {
    /// Of all Ingresses, with the Problems that they gave rise to.
    pub(in crate::translate) fn new(objects: &Objects, told: Told) -> Self {
        Memory { ties: Ties::of(objects), told }
    }

    /// Finds whom changes reach; `None` if these are so many that it is better to translate all.
    pub(in crate::translate) fn reached(
        &mut self,
        concerned: &Concerned<'_>,
        objects: &Objects,
    ) -> Option<Neighbourhood> {
        let mut found = Neighbourhood::default();
        for (key, before, now) in &concerned.ingresses {
            self.ties.replace(key, *before, *now);
            found.ingresses.insert(Arc::new((*key).clone()));
            found.hosts.extend(before.iter().chain(now).flat_map(|ingress| hosts(ingress)));
        }
        let naming = concerned.named.iter().flat_map(|key| self.ties.naming(key));
        found.ingresses.extend(naming.cloned());
        self.ties.complete(objects, found)
    }

    /// Translates them anew. Problems of each before and now are added to `problems`.
    pub(in crate::translate) fn renew(
        &mut self,
        reached: Neighbourhood,
        desired: &mut Arc<DesiredState>,
        usual: &Read,
        fixed: Fixed<'_>,
        problems: &mut Vec<(Vec<Problem>, Vec<Problem>)>,
    ) -> Changed {
        if reached.ingresses.is_empty() {
            return Changed::default();
        }
        let of_key = |key: &Arc<ObjectKey>| fixed.objects.ingress(&key.namespace, &key.name);
        let ingresses = reached.ingresses.iter().filter_map(of_key);
        let lookup = Lookup { objects: fixed.objects, services: &desired.services };
        let mut now = translate_all(ingresses, &lookup, fixed.settings, usual);
        let owners: BTreeSet<_> = reached.ingresses.iter().map(|key| key.reference()).collect();
        problems.extend(owners.iter().map(|owner| self.tell(owner, &mut now.told)));
        let secrets = put(Arc::make_mut(desired), now, &reached);
        Changed { hosts: reached.hosts, secrets, ..Changed::default() }
    }

    /// The Problems that an Ingress gave rise to, and those that it does now.
    fn tell(&mut self, owner: &ObjectRef, now: &mut Told) -> (Vec<Problem>, Vec<Problem>) {
        let now = now.0.remove(owner).unwrap_or_default();
        let before = match now.is_empty() {
            true => self.told.0.remove(owner),
            false => self.told.0.insert(owner.clone(), now.clone()),
        };
        (before.unwrap_or_default(), now)
    }
}

/// Puts what hosts have now in the place of what they had, and tells which Secrets that concerns.
fn put(desired: &mut DesiredState, now: Layer7, reached: &Neighbourhood) -> BTreeSet<String> {
    let before = take(desired, &reached.hosts);
    let of_them = |(key, _): &(RouteKey, _)| reached.hosts.contains(&key.host);
    desired.routes.extend(now.routes.into_iter().filter(of_them));
    let (users, tls) = (now.users, now.tls);
    let gone = before.users.iter().any(|secret| !users.contains_key(secret))
        || before.certificates.iter().any(|secret| !tls.certificates.contains_key(secret))
        || before.authorities.iter().any(|secret| !tls.authorities.contains_key(secret));
    let named = users.keys().chain(tls.certificates.keys()).chain(tls.authorities.keys());
    let mut secrets: BTreeSet<_> = named.cloned().collect();
    secrets.extend([before.users, before.certificates, before.authorities].into_iter().flatten());
    desired.users.extend(users);
    desired.tls.hosts.extend(tls.hosts);
    desired.tls.certificates.extend(tls.certificates);
    desired.tls.authorities.extend(tls.authorities);
    if gone {
        // Others may name them too.
        secrets::keep_used(&desired.routes, &mut desired.users, &mut desired.tls);
    }
    secrets
}

/// Secrets that hosts used, by what for.
#[derive(Default)]
struct Used {
    users: Vec<String>,
    certificates: Vec<String>,
    authorities: Vec<String>,
}

/// Takes away all that hosts have.
fn take(desired: &mut DesiredState, hosts: &BTreeSet<Host>) -> Used {
    let mut used = Used::default();
    for host in hosts {
        let of_host = desired.routes.range(RouteKey::first_of(host.clone())..).take_while(|(key, _)| key.host == *host);
        let keys: Vec<_> = of_host.map(|(key, _)| key.clone()).collect();
        for route in keys.iter().filter_map(|key| desired.routes.remove(key)) {
            used.users.extend(route.filters.basic.as_ref().map(|basic| basic.users.clone()));
        }
        if let Some(entry) = desired.tls.hosts.remove(host.as_deref().unwrap_or("*")) {
            used.certificates.extend(entry.certificate);
            used.authorities.extend(entry.client.map(|ask| ask.authorities));
        }
    }
    used
}
