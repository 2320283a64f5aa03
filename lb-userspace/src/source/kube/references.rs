//! Which single objects the Ingresses, Announcements, and ConfigMaps that flags name, refer to: only these are read. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::kinds::{Announcement, ConfigMap, Ingress};
use crate::source::{Body, Kind, ObjectKey, SourceEvent};

/// Annotations whose value names a Secret, as `NAME` or `NAMESPACE/NAME`.
const SECRETS: [&str; 3] = [
    "nginx.ingress.kubernetes.io/auth-secret",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "nginx.ingress.kubernetes.io/proxy-ssl-secret",
];
/// Annotations whose value names a ConfigMap.
const CONFIG_MAPS: [&str; 2] =
    ["nginx.ingress.kubernetes.io/custom-headers", "nginx.ingress.kubernetes.io/auth-proxy-set-headers"];

/// Keys of the front's ConfigMap whose value names another one, as `NAMESPACE/NAME`.
const OF_CONFIG_MAP: [&str; 2] = ["add-headers", "proxy-set-headers"];

/// What is referred to, and how often.
#[derive(Debug, Default)]
pub(super) struct References {
    by_holder: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    counts: BTreeMap<ObjectKey, usize>,
    more: BTreeSet<ObjectKey>,
    less: BTreeSet<ObjectKey>,
}

impl References {
    /// Looks at a change.
    pub(super) fn follow(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Apply(object) => match &object.body {
                Body::Ingress(ingress) => self.replace(object.key(), of_ingress(ingress)),
                Body::ConfigMap(map) => self.replace(object.key(), of_config_map(map)),
                Body::Announcement(announcement) => self.replace(object.key(), of_announcement(announcement)),
                _ => {}
            },
            SourceEvent::Delete(key) if matches!(key.kind, Kind::Ingress | Kind::ConfigMap | Kind::Announcement) => {
                self.replace(key.clone(), BTreeSet::new());
            }
            _ => {}
        }
    }

    /// Objects that are referred to now and were not, and those that were and are no longer.
    pub(super) fn take_changes(&mut self) -> (BTreeSet<ObjectKey>, BTreeSet<ObjectKey>) {
        (std::mem::take(&mut self.more), std::mem::take(&mut self.less))
    }

    fn replace(&mut self, holder: ObjectKey, now: BTreeSet<ObjectKey>) {
        let before = self.by_holder.remove(&holder).unwrap_or_default();
        for key in now.difference(&before) {
            let count = self.counts.entry(key.clone()).or_default();
            *count += 1;
            if *count == 1 && !self.less.remove(key) {
                self.more.insert(key.clone());
            }
        }
        for key in before.difference(&now) {
            let Some(count) = self.counts.get_mut(key) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(key);
                if !self.more.remove(key) {
                    self.less.insert(key.clone());
                }
            }
        }
        if !now.is_empty() {
            self.by_holder.insert(holder, now);
        }
    }
}

/// Everything that an Ingress refers to in its own namespace: objects of others are never read for it.
fn of_ingress(ingress: &Ingress) -> BTreeSet<ObjectKey> {
    let annotations = &ingress.metadata.annotations;
    let named = |names: &'static [&'static str], kind| {
        let values = names.iter().filter_map(|name| annotations.get(*name));
        values.filter_map(move |value| object(kind, value.trim(), &ingress.metadata.namespace))
    };
    let tls = ingress.spec.tls.iter().filter_map(|tls| tls.secret_name.as_deref());
    let tls = tls.filter_map(|name| object(Kind::Secret, name, &ingress.metadata.namespace));
    tls.chain(named(&SECRETS, Kind::Secret)).chain(named(&CONFIG_MAPS, Kind::ConfigMap)).collect()
}

/// The passwords of routers. Whoever may write an Announcement speaks for the whole cluster, so any namespace is theirs.
fn of_announcement(announcement: &Announcement) -> BTreeSet<ObjectKey> {
    let peers = announcement.spec.bgp.iter().flat_map(|bgp| &bgp.peers);
    let secrets = peers.filter_map(|peer| peer.password_secret.as_ref());
    secrets.filter_map(|secret| object(Kind::Secret, &secret.name, &secret.namespace)).collect()
}

fn of_config_map(map: &ConfigMap) -> BTreeSet<ObjectKey> {
    let values = OF_CONFIG_MAP.iter().filter_map(|key| map.data.get(*key)?.trim().split_once('/'));
    let key = |(namespace, name): (&str, &str)| object(Kind::ConfigMap, name, namespace);
    values.filter_map(key).collect()
}

fn object(kind: Kind, value: &str, own: &str) -> Option<ObjectKey> {
    let (namespace, name) = value.split_once('/').unwrap_or((own, value));
    let is_own = namespace == own && crate::model::name::is_subdomain(name);
    is_own.then(|| ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::Object;
    use crate::source::kinds::{BgpAnnouncement, BgpPeer, IngressTls, Metadata, SecretReference};

    fn apply(name: &str, secrets: &[&str], annotations: &[(&str, &str)]) -> SourceEvent {
        let own = |text: &&str| (*text).to_owned();
        let metadata = Metadata {
            name: name.to_owned(),
            namespace: "a".to_owned(),
            annotations: annotations.iter().map(|(key, value)| (own(key), own(value))).collect(),
            ..Metadata::default()
        };
        let mut ingress = Ingress { metadata, ..Ingress::default() };
        let tls = |name: &&str| IngressTls { secret_name: Some(own(name)), ..IngressTls::default() };
        ingress.spec.tls = secrets.iter().map(tls).collect();
        SourceEvent::Apply(Object { body: Body::Ingress(Arc::new(ingress)), origin: None })
    }

    fn changes(references: &mut References) -> (Vec<String>, Vec<String>) {
        let names = |keys: BTreeSet<ObjectKey>| keys.iter().map(|key| key.reference().to_string()).collect();
        let (more, less) = references.take_changes();
        (names(more), names(less))
    }

    fn secret(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("Secret a/{name}")).collect()
    }

    #[test]
    fn an_object_is_wanted_from_the_first_reference_to_the_last() {
        let mut references = References::default();
        references.follow(&apply("x", &["s", "t"], &[]));
        assert_eq!(changes(&mut references), (secret(&["s", "t"]), vec![]));
        references.follow(&apply("y", &["s"], &[]));
        references.follow(&apply("x", &["t"], &[]));
        assert_eq!(changes(&mut references), (vec![], vec![]));
        let key = |name: &str| ObjectKey { kind: Kind::Ingress, namespace: "a".into(), name: name.into() };
        references.follow(&SourceEvent::Delete(key("y")));
        assert_eq!(changes(&mut references), (vec![], secret(&["s"])));
        references.follow(&SourceEvent::Delete(key("x")));
        references.follow(&apply("z", &["t"], &[]));
        assert_eq!(changes(&mut references), (vec![], vec![]), "given back within one step");
    }

    #[test]
    fn an_announcement_wants_the_passwords_of_its_routers() {
        let mut announcement = Announcement::default();
        "routers".clone_into(&mut announcement.metadata.name);
        let reference = SecretReference { namespace: "b".to_owned(), name: "tor".to_owned(), key: None };
        let peer = BgpPeer { password_secret: Some(reference), ..BgpPeer::default() };
        announcement.spec.bgp = Some(BgpAnnouncement { peers: vec![peer], ..BgpAnnouncement::default() });
        let mut references = References::default();
        let object = Object { body: Body::Announcement(Arc::new(announcement)), origin: None };
        let key = object.key();
        references.follow(&SourceEvent::Apply(object));
        assert_eq!(changes(&mut references), (vec!["Secret b/tor".to_owned()], vec![]));
        references.follow(&SourceEvent::Delete(key));
        assert_eq!(changes(&mut references), (vec![], vec!["Secret b/tor".to_owned()]));
    }

    #[test]
    fn annotations_refer_too_but_never_to_another_namespace() {
        let mut references = References::default();
        let annotations = [(SECRETS[0], "a/basic"), (SECRETS[1], "b/other"), (CONFIG_MAPS[0], "headers")];
        references.follow(&apply("x", &["../etc", ""], &annotations));
        let expected = vec!["Secret a/basic".to_owned(), "ConfigMap a/headers".to_owned()];
        assert_eq!(changes(&mut references), (expected, vec![]));
    }
}
