//! ConfigMaps of the front: settings, and TCP and UDP ports that lead to Services.

use super::ingress::backend::Lookup;
use super::port;
use super::{Services, Settings};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, name};
use crate::source::Objects;
use crate::source::kinds::{ConfigMap, IntOrString};

mod keys;
mod settings;

pub(in crate::translate) use keys::Own;
pub(in crate::translate) use settings::Read;

/// Names under which people keep the settings of ingress-nginx.
const WELL_KNOWN_SETTINGS: [&str; 2] = ["nginx-configuration", "ingress-nginx-controller"];
const WELL_KNOWN_STREAMS: [&str; 2] = ["tcp-services", "udp-services"];

/// Reads the settings in the ConfigMap that a flag names; those that hold without one if there is none.
pub(super) fn settings(objects: &Objects, settings: &Settings, problems: &mut Vec<Problem>) -> Read {
    match find(objects, &settings.configmap, "--configmap", problems) {
        Some(found) => settings::read(found, objects, problems),
        None => Read::default(),
    }
}

/// Checks the ConfigMaps of ports that flags name.
pub(super) fn check_named(objects: &Objects, settings: &Settings, services: &Services, problems: &mut Vec<Problem>) {
    let lookup = Lookup { objects, services };
    for (flag, named) in [
        ("--tcp-services-configmap", &settings.tcp_services_configmap),
        ("--udp-services-configmap", &settings.udp_services_configmap),
    ] {
        if let Some(found) = find(objects, named, flag, problems) {
            check_streams(found, &lookup, problems);
        }
    }
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
            check_streams(found, &lookup, &mut problems);
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

/// Ports: `"9000": namespace/service:port`, and behind that `:PROXY` for the PROXY protocol.
fn check_streams(found: &ConfigMap, lookup: &Lookup<'_>, problems: &mut Vec<Problem>) {
    let owner = reference(found);
    for (key, text) in &found.data {
        let field = format!("data[{key}]");
        if key.parse().ok().and_then(port::number).is_none() {
            let problem = Problem::error(code::CONFIGMAP_INVALID, &owner, format!("{key} is not a port"));
            problems.push(problem.at(field, text).expected("a port, 1-65535, as key"));
            continue;
        }
        let Some((namespace, service, port)) = stream_target(text) else {
            let problem = Problem::error(code::CONFIGMAP_INVALID, &owner, "this names no Service and port");
            problems.push(problem.at(field, text).expected("namespace/service:port"));
            continue;
        };
        if let Err(missing) = lookup.exists(namespace, service, &port) {
            problems.push(Problem::warning(missing.code, &owner, missing.what).at(field, text));
        }
    }
    if !found.data.is_empty() {
        let ports = found.data.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        problems
            .push(Problem::info(code::NOT_YET, &owner, "the front does not serve these ports yet").at("data", ports));
    }
}

fn stream_target(text: &str) -> Option<(&str, &str, IntOrString)> {
    let (service, rest) = text.split_once(':')?;
    let (namespace, name) = name::split_qualified(service)?;
    let mut parts = rest.split(':');
    let port = parts.next().map(IntOrString::from)?;
    let valid = match &port {
        IntOrString::Int(number) => port::number(*number).is_some(),
        IntOrString::Name(name) => name::is_port_name(name),
    };
    let options_known = parts.all(|option| matches!(option, "" | "PROXY"));
    (valid && options_known).then_some((namespace, name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_targets() {
        assert_eq!(stream_target("a/b:80"), Some(("a", "b", IntOrString::Int(80))));
        assert_eq!(stream_target("a/b:web:PROXY"), Some(("a", "b", IntOrString::Name("web".to_owned()))));
        assert_eq!(stream_target("a/b:80::PROXY"), Some(("a", "b", IntOrString::Int(80))));
        for bad in ["", "a", "a/b", "b:80", "a/b:0", "a/b:70000", "a/b:80:TLS", "a/b/c:80", "a/b:"] {
            assert_eq!(stream_target(bad), None, "{bad}");
        }
    }
}
