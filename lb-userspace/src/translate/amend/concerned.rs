//! What a few changes concern, where that can be told without looking at everything.

use std::collections::BTreeSet;

use super::{Fixed, service_of};
use crate::source::kinds::Ingress;
use crate::source::{Kind, Object, ObjectKey};

/// Namespace and name of a Service.
pub(in crate::translate) type Name<'a> = (&'a str, &'a str);

/// What changes concern.
#[derive(Debug, Default)]
pub(in crate::translate) struct Concerned<'a> {
    /// Services with other slices.
    pub(in crate::translate) services: BTreeSet<Name<'a>>,
    /// Ingresses that ask for something else, each before and now.
    pub(super) ingresses: Vec<(&'a ObjectKey, Option<&'a Ingress>, Option<&'a Ingress>)>,
    /// Secrets and ConfigMaps, which Ingresses may name.
    pub(super) named: Vec<&'a ObjectKey>,
    /// A ConfigMap that may say something of the front.
    pub(in crate::translate) settings: bool,
}

impl<'a> Concerned<'a> {
    /// `None` if there are changes of other kinds, or of what has a say in all of layer 7.
    pub(in crate::translate) fn by(fixed: Fixed<'a>) -> Option<Self> {
        if fixed.changes.is_everything() {
            return None;
        }
        let mut concerned = Concerned::default();
        for (key, before) in fixed.changes.iter() {
            let now = fixed.objects.get(key);
            match key.kind {
                Kind::EndpointSlice => {
                    concerned.services.extend([before, now].into_iter().flatten().filter_map(service_of));
                }
                Kind::Ingress => {
                    let (before, now) = (before.and_then(Object::as_ingress), now.and_then(Object::as_ingress));
                    if !asks_the_same(before, now) {
                        concerned.ingresses.push((key, before, now));
                    }
                }
                Kind::Secret if !is(key, &fixed.settings.default_ssl_certificate) => concerned.named.push(key),
                Kind::ConfigMap if !has_ports(key, fixed) => {
                    concerned.named.push(key);
                    concerned.settings = true;
                }
                _ => return None,
            }
        }
        Some(concerned)
    }
}

fn is(key: &ObjectKey, named: &Option<(String, String)>) -> bool {
    named.as_ref().is_some_and(|(namespace, name)| (namespace, name) == (&key.namespace, &key.name))
}

/// Ports beside those of Services are frontends.
fn has_ports(key: &ObjectKey, fixed: Fixed<'_>) -> bool {
    let settings = fixed.settings;
    is(key, &settings.tcp_services_configmap) || is(key, &settings.udp_services_configmap)
}

/// An Ingress differs in its status alone, which is what we write there: nothing is made of that.
fn asks_the_same(before: Option<&Ingress>, now: Option<&Ingress>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => {
            let Ingress { metadata, spec, beta, status: _ } = before;
            (metadata, spec, beta) == (&now.metadata, &now.spec, &now.beta)
        }
        _ => before.is_none() && now.is_none(),
    }
}
