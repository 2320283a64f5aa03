//! ConfigMaps of the front: settings, and TCP and UDP ports that lead to Services.

use super::ingress::backend::Lookup;
use super::{Services, Settings};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, Protocol, StreamPort};
use crate::source::Objects;
use crate::source::kinds::ConfigMap;

mod keys;
mod settings;
mod streams;

pub(in crate::translate) use keys::Own;
pub(in crate::translate) use settings::Read;

/// Names under which people keep the settings of ingress-nginx.
const WELL_KNOWN_SETTINGS: [&str; 2] = ["nginx-configuration", "ingress-nginx-controller"];
const UDP_SERVICES: &str = "udp-services";
const WELL_KNOWN_STREAMS: [&str; 2] = ["tcp-services", UDP_SERVICES];

/// Reads the settings in the ConfigMap that a flag names; those that hold without one if there is none.
pub(super) fn settings(objects: &Objects, settings: &Settings, problems: &mut Vec<Problem>) -> Read {
    match find(objects, &settings.configmap, "--configmap", problems) {
        Some(found) => settings::read(found, objects, problems),
        None => Read::default(),
    }
}

/// The ports in the ConfigMaps that flags name, sorted.
pub(super) fn streams(
    objects: &Objects,
    settings: &Settings,
    services: &Services,
    problems: &mut Vec<Problem>,
) -> Vec<StreamPort> {
    let lookup = Lookup { objects, services };
    let mut ports = Vec::new();
    for (flag, named, protocol) in [
        ("--tcp-services-configmap", &settings.tcp_services_configmap, Protocol::Tcp),
        ("--udp-services-configmap", &settings.udp_services_configmap, Protocol::Udp),
    ] {
        if let Some(found) = find(objects, named, flag, problems) {
            ports.extend(streams::read(found, protocol, settings, &lookup, problems));
        }
    }
    ports.sort();
    ports
}

/// Checks ConfigMaps with the customary names, for `weir check`, which gets no flags.
pub fn check_well_known(objects: &Objects, settings: &Settings, services: &Services) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lookup = Lookup { objects, services };
    for found in objects.config_maps() {
        let own_name = (found.metadata.namespace.clone(), found.metadata.name.clone());
        let named = [&settings.configmap, &settings.tcp_services_configmap, &settings.udp_services_configmap];
        if named.into_iter().flatten().any(|name| *name == own_name) {
            continue;
        }
        if WELL_KNOWN_SETTINGS.contains(&&*own_name.1) {
            settings::read(found, objects, &mut problems);
        } else if WELL_KNOWN_STREAMS.contains(&&*own_name.1) {
            let protocol = if own_name.1 == UDP_SERVICES { Protocol::Udp } else { Protocol::Tcp };
            streams::read(found, protocol, settings, &lookup, &mut problems);
        }
    }
    problems
}

fn find<'a>(
    objects: &'a Objects,
    named: &Option<(String, String)>,
    flag: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'a ConfigMap> {
    let (namespace, name) = named.as_ref()?;
    let found = objects.config_map(namespace, name);
    if found.is_none() {
        let what = format!("{flag} names it, but it does not exist");
        problems.push(Problem::warning(code::CONFIGMAP_MISSING, &ObjectRef::new("ConfigMap", namespace, name), what));
    }
    found.map(|found| &**found)
}

pub(in crate::translate) fn reference(found: &ConfigMap) -> ObjectRef {
    ObjectRef::new("ConfigMap", &found.metadata.namespace, &found.metadata.name)
}
