//! Which Ingresses have to do with each other. Those that name a host share its routes and its entry in TLS; an object that
//! an Ingress names decides about what it asks for. So what a change reaches is found without looking at all Ingresses.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{aliases, annotations};
use crate::source::kinds::Ingress;
use crate::source::{ObjectKey, Objects};

/// As in [`RouteKey`](crate::model::RouteKey): `None` is any host.
pub(in crate::translate) type Host = Option<String>;

/// Changes that reach more Ingresses than this are not worth following.
const MOST: usize = 1024;

/// The Ingresses by what they name. Two names may share a key, which only makes a neighbourhood larger.
#[derive(Debug, Default)]
pub(in crate::translate) struct Ties(HashMap<u64, Vec<Arc<ObjectKey>>>);

/// Ingresses that share no host with any other, and all of their hosts.
#[derive(Debug, Default)]
pub(in crate::translate) struct Neighbourhood {
    pub(in crate::translate) ingresses: BTreeSet<Arc<ObjectKey>>,
    pub(in crate::translate) hosts: BTreeSet<Host>,
}

impl Ties {
    /// Those of all Ingresses.
    pub(in crate::translate) fn of(objects: &Objects) -> Self {
        let mut ties = Ties::default();
        for (key, ingress) in objects.iter().filter_map(|(key, object)| Some((key, object.as_ingress()?))) {
            ties.replace(key, None, Some(ingress));
        }
        ties
    }

    /// An Ingress has changed, come or gone.
    pub(in crate::translate) fn replace(&mut self, key: &ObjectKey, before: Option<&Ingress>, now: Option<&Ingress>) {
        for tie in before.iter().flat_map(|ingress| all(ingress)) {
            let Some(holders) = self.0.get_mut(&tie) else { continue };
            holders.retain(|holder| **holder != *key);
            if holders.is_empty() {
                self.0.remove(&tie);
            }
        }
        let key = Arc::new(key.clone());
        for tie in now.iter().flat_map(|ingress| all(ingress)) {
            self.0.entry(tie).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(&key));
        }
    }

    /// The Ingresses that name a Secret or a ConfigMap.
    pub(in crate::translate) fn naming(&self, object: &ObjectKey) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.0.get(&of_object(&object.namespace, &object.name)).into_iter().flatten()
    }

    /// Adds to some Ingresses and hosts all that share a host with them; `None` if that is too much.
    pub(in crate::translate) fn complete(&self, objects: &Objects, mut found: Neighbourhood) -> Option<Neighbourhood> {
        let mut ingresses: Vec<_> = found.ingresses.iter().cloned().collect();
        let mut hosts: Vec<_> = found.hosts.iter().cloned().collect();
        while found.ingresses.len() <= MOST {
            if let Some(key) = ingresses.pop() {
                let named = objects.ingress(&key.namespace, &key.name).map(|ingress| self::hosts(ingress));
                hosts.extend(named.into_iter().flatten().filter(|host| found.hosts.insert(host.clone())));
            } else if let Some(host) = hosts.pop() {
                let sharing = self.0.get(&of_host(&host)).into_iter().flatten();
                ingresses.extend(sharing.filter(|key| found.ingresses.insert(Arc::clone(key))).cloned());
            } else {
                return Some(found);
            }
        }
        None
    }
}

/// All hosts that an Ingress names or could get, in the way of routes: whichever it is, what becomes of it depends on the others that name it.
pub(in crate::translate) fn hosts(ingress: &Ingress) -> BTreeSet<Host> {
    let rules = &ingress.spec.rules;
    let of_rules = rules.iter().map(|rule| rule.host.clone().unwrap_or_default());
    let of_nothing = rules.is_empty().then(String::new);
    let of_tls = ingress.spec.tls.iter().flat_map(|tls| tls.hosts.iter().cloned());
    let named = of_rules.chain(of_nothing).chain(of_tls).chain(aliases::possible(ingress));
    named.map(|host| Some(host.to_ascii_lowercase()).filter(|host| !host.is_empty() && host != "*")).collect()
}

fn all(ingress: &Ingress) -> BTreeSet<u64> {
    let namespace = &ingress.metadata.namespace;
    let secrets = ingress.spec.tls.iter().filter_map(|tls| tls.secret_name.as_deref());
    // No annotation lists several objects, and what a value means does not matter: one that names nothing ties to nothing.
    let named = secrets.chain(annotations::values(ingress)).map(|name| {
        let (namespace, name) = name.trim().split_once('/').unwrap_or((namespace, name.trim()));
        of_object(namespace, name)
    });
    hosts(ingress).iter().map(of_host).chain(named).collect()
}

fn of_host(host: &Host) -> u64 {
    key(&(0_u8, host))
}

fn of_object(namespace: &str, name: &str) -> u64 {
    key(&(1_u8, namespace, name))
}

fn key(named: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    named.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ingress: &str) -> Vec<Host> {
        let object = crate::source::parse::parse(&std::path::Path::new("f.yaml").into(), ingress.as_bytes());
        hosts(object.objects[0].as_ingress().expect("an Ingress")).into_iter().collect()
    }

    #[test]
    fn all_hosts_that_an_ingress_may_get() {
        let ingress =
            |rest: &str| format!("{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: a{rest}}}");
        assert_eq!(names(&ingress("}, spec: {}")), [None]);
        let annotations = "nginx.ingress.kubernetes.io/server-alias: 'b.example, C.example', \
                           nginx.ingress.kubernetes.io/from-to-www-redirect: 'true'";
        let spec = "{rules: [{host: A.example}, {}], tls: [{hosts: [d.example]}]}";
        let host = |name: &str| Some(format!("{name}.example"));
        assert_eq!(
            names(&ingress(&format!(", annotations: {{{annotations}}}}}, spec: {spec}"))),
            [None, host("a"), host("b"), host("c"), host("d"), host("www.a")],
        );
    }
}
