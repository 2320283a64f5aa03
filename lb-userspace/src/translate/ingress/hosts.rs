//! Which namespaces may claim which hosts: as HostPolicies say, and for hosts that none is about as the front's ConfigMap says
//! (`host-policy`), which is off unless it asks.

use std::collections::{BTreeMap, BTreeSet};

use super::reference;
use crate::model::Problem;
use crate::model::problem::code;
use crate::source::Objects;
use crate::source::kinds::{self, Ingress};
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

/// Who may claim what.
pub(super) struct Hosts {
    policies: Vec<Policy>,
    others: Others,
}

/// A HostPolicy, with the namespaces that its selectors choose.
struct Policy {
    name: String,
    hosts: Vec<String>,
    namespaces: BTreeSet<String>,
}

/// Hosts that no HostPolicy is about.
enum Others {
    Open,
    /// Which namespace has each host.
    First(BTreeMap<String, String>),
    /// Which hosts each namespace has.
    Granted(BTreeMap<String, Vec<String>>),
}

impl Hosts {
    /// `ours`: the Ingresses that are served, the oldest first.
    pub(super) fn new(policy: HostPolicy, objects: &Objects, ours: &[&std::sync::Arc<Ingress>]) -> Self {
        let others = match policy {
            HostPolicy::Off => Others::Open,
            HostPolicy::First => Others::First(claims(ours)),
            HostPolicy::Granted => Others::Granted(grants(objects)),
        };
        Hosts { policies: objects.host_policies().map(|policy| Policy::new(policy, objects, ours)).collect(), others }
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
        let (what, expected) = match &self.others {
            _ if let Some((names, admits)) = self.by_policies(host, namespace) => {
                if admits {
                    return true;
                }
                let what = format!("host {host} is not for namespace {namespace}, says HostPolicy {names}");
                (what, format!("{namespace} among its namespaces"))
            }
            Others::Open => return true,
            Others::First(holders) => match holders.get(host) {
                Some(holder) if holder != namespace => {
                    (format!("host {host} belongs to namespace {holder}"), "another host".to_owned())
                }
                _ => return true,
            },
            Others::Granted(grants) => {
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

impl Hosts {
    /// The policies that name a host most closely, and whether one of them admits a namespace; `None`: there is none.
    fn by_policies(&self, host: &str, namespace: &str) -> Option<(String, bool)> {
        let closest = self.policies.iter().flat_map(|policy| &policy.hosts).filter(|pattern| covers(pattern, host));
        let closest = closest.max_by_key(|pattern| closeness(pattern))?;
        let named: Vec<_> = self.policies.iter().filter(|policy| policy.hosts.contains(closest)).collect();
        let names = named.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(" or ");
        Some((names, named.iter().any(|policy| policy.namespaces.contains(namespace))))
    }
}

impl Policy {
    /// Only namespaces with Ingresses are of interest, and these may have no object.
    fn new(object: &kinds::HostPolicy, objects: &Objects, ours: &[&std::sync::Arc<Ingress>]) -> Self {
        let spec = &object.spec;
        let is_chosen = |name: &&String| {
            let labels = kinds::labels_of_namespace(objects.namespace("", name).map(|object| &**object), name);
            spec.namespace_selectors.iter().any(|selector| selector.matches(&labels))
        };
        let with_ingress = ours.iter().map(|ingress| &ingress.metadata.namespace).collect::<BTreeSet<_>>();
        let chosen = with_ingress.into_iter().filter(is_chosen).chain(&spec.namespaces);
        Policy {
            name: object.metadata.name.clone(),
            hosts: spec.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            namespaces: chosen.cloned().collect(),
        }
    }
}

/// A name itself is closest, then the longest name above it, then "every host".
fn closeness(pattern: &str) -> (bool, usize) {
    (!pattern.starts_with(ANY), pattern.len())
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
    use super::{closeness, covers};

    #[test]
    fn who_names_a_host_most_closely() {
        let mut patterns = ["*", "shop.example", "*.example", "*.shop.example", "*.other.shop.example"];
        patterns.sort_by_key(|pattern| std::cmp::Reverse(closeness(pattern)));
        assert_eq!(patterns, ["shop.example", "*.other.shop.example", "*.shop.example", "*.example", "*"]);
    }

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
