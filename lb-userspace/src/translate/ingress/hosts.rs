//! Which namespaces may claim which hosts. Off unless the front's ConfigMap asks for it (`host-policy`).

use std::collections::BTreeMap;

use super::reference;
use crate::model::Problem;
use crate::model::problem::code;
use crate::source::Objects;
use crate::source::kinds::Ingress;
use crate::translate::ingress::dialect::value::list;

/// On a Namespace: the hosts that its Ingresses may claim, between commas.
const GRANTS: &str = "weir.io/hosts";
/// How any host is written there, and in Problems.
const ANY: &str = "*";

/// Who may claim a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) enum HostPolicy {
    /// Everybody; of two Ingresses that want the same path the older one has it.
    #[default]
    Off,
    /// The namespace of the oldest Ingress that names it.
    First,
    /// Namespaces to which it is granted.
    Granted,
}

/// The policy with what it needs to know.
pub(super) enum Hosts {
    Open,
    /// Which namespace has each host.
    First(BTreeMap<String, String>),
    /// Which hosts each namespace has.
    Granted(BTreeMap<String, Vec<String>>),
}

impl Hosts {
    /// `ours`: the Ingresses that are served, the oldest first.
    pub(super) fn new(policy: HostPolicy, objects: &Objects, ours: &[&std::sync::Arc<Ingress>]) -> Self {
        match policy {
            HostPolicy::Off => Hosts::Open,
            HostPolicy::First => Hosts::First(claims(ours)),
            HostPolicy::Granted => Hosts::Granted(grants(objects)),
        }
    }

    /// Whether an Ingress may have a host, `None`: all of them; if not, a Problem says whose the host is.
    pub(super) fn admit(
        &self,
        host: Option<&str>,
        ingress: &Ingress,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> bool {
        let host = host.unwrap_or(ANY);
        let namespace = &ingress.metadata.namespace;
        let (what, expected) = match self {
            Hosts::Open => return true,
            Hosts::First(holders) => match holders.get(host) {
                Some(holder) if holder != namespace => {
                    (format!("host {host} belongs to namespace {holder}"), "another host".to_owned())
                }
                _ => return true,
            },
            Hosts::Granted(grants) => {
                if grants.get(namespace).is_some_and(|hosts| hosts.iter().any(|grant| covers(grant, host))) {
                    return true;
                }
                let what = format!("host {host} is not granted to namespace {namespace}");
                (what, format!("{GRANTS} of the Namespace with {host} in it"))
            }
        };
        let problem = Problem::error(
            code::HOST_DENIED,
            &reference(ingress),
            format!("{what}; what it asks for there is left out"),
        );
        problems.push(problem.at(field, host).expected(expected));
        false
    }
}

/// The namespace of the first Ingress that names each host.
fn claims(ours: &[&std::sync::Arc<Ingress>]) -> BTreeMap<String, String> {
    let mut holders = BTreeMap::new();
    for ingress in ours {
        let mut hosts: Vec<_> = ingress.spec.rules.iter().filter_map(|rule| rule.host.clone()).collect();
        if hosts.len() < ingress.spec.rules.len() || ingress.spec.rules.is_empty() {
            hosts.push(ANY.to_owned());
        }
        for host in hosts {
            let host = if host.is_empty() { ANY.to_owned() } else { host.to_ascii_lowercase() };
            holders.entry(host).or_insert_with(|| ingress.metadata.namespace.clone());
        }
    }
    holders
}

fn grants(objects: &Objects) -> BTreeMap<String, Vec<String>> {
    let grants = objects.namespaces().filter_map(|namespace| {
        let hosts = namespace.metadata.annotations.get(GRANTS)?;
        Some((namespace.metadata.name.clone(), list(hosts).map(str::to_ascii_lowercase).collect()))
    });
    grants.collect()
}

/// `*` is every host, `*.example.com` all names below example.com, and itself.
fn covers(grant: &str, host: &str) -> bool {
    let below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
    grant == ANY || grant == host || grant.strip_prefix("*.").is_some_and(below)
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn grants_cover_names_below() {
        for (grant, host, covered) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", true),
            ("*.example", "*.b.example", true),
            ("*.example", "*.example", true),
            ("*.example", "example", false),
            ("*.example", "aexample", false),
            ("*", "*", true),
            ("*.example", "*", false),
        ] {
            assert_eq!(covers(grant, host), covered, "{grant} {host}");
        }
    }
}
