//! HostPolicy (weir.io/v1alpha1): which namespaces may claim which hosts.

use serde::Deserialize;

use super::selector::LabelSelector;
use super::{Metadata, OwnStatus};
use crate::model::name;
use crate::source::rules::{Place, Rule};

/// Hosts that only some namespaces may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HostPolicy {
    /// The metadata.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: HostPolicySpec,
    /// What is.
    pub status: OwnStatus,
}

/// What a HostPolicy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct HostPolicySpec {
    /// Names (`shop.example`), all names below one (`*.example`), or every host (`*`). Of several policies about a host that
    /// counts which names it most closely.
    #[cfg_attr(test, schemars(length(max = 256), inner(length(max = 255))))]
    pub hosts: Vec<String>,
    /// Namespaces whose Ingresses may claim them.
    #[cfg_attr(test, schemars(length(max = 256), inner(length(max = 63))))]
    pub namespaces: Vec<String>,
    /// And those of namespaces that one of these chooses. With neither, nobody may.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub namespace_selectors: Vec<LabelSelector>,
}

impl HostPolicySpec {
    /// What must hold of a policy beyond the types of its fields.
    pub const RULES: &[Rule<Self>] = &[
        Rule {
            field: "spec.hosts",
            cel: "has(self.hosts) && size(self.hosts) > 0",
            says: "a policy is about at least one host",
            broken: |spec| spec.hosts.is_empty().then(Place::whole),
        },
        Rule {
            field: "spec.hosts",
            cel: r"!has(self.hosts) || self.hosts.all(host, host == '*' || host.matches('^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$'))",
            says: "a host is a DNS name in lower case, one behind '*.', or '*'",
            broken: |spec| Place::first(&spec.hosts, |host| !is_pattern(host)),
        },
    ];
}

fn is_pattern(host: &str) -> bool {
    host == "*" || name::is_subdomain(host.strip_prefix("*.").unwrap_or(host))
}
