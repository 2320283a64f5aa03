//! AddressPool (weir.io/v1alpha1): addresses that Services of type LoadBalancer are given.

use serde::Deserialize;

use super::selector::LabelSelector;
use super::{Condition, Metadata};
use crate::source::rules::{Place, Rule};

/// Addresses that Services of type LoadBalancer are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AddressPool {
    /// The metadata.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: AddressPoolSpec,
    /// What is.
    pub status: AddressPoolStatus,
}

/// What an AddressPool asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct AddressPoolSpec {
    /// Networks (`192.0.2.0/28`), ranges (`192.0.2.16-192.0.2.31`) and single addresses, of IPv4 and IPv6.
    #[cfg_attr(test, schemars(length(max = 256), inner(length(max = 91))))]
    pub addresses: Vec<String>,
    /// Addresses, ranges and networks out of these that are never given, not even to whom asks for them.
    #[cfg_attr(test, schemars(length(max = 256), inner(length(max = 91))))]
    pub avoid: Vec<String>,
    /// IPv4 addresses that end in .0 or .255 are given only to whom asks for them: there are devices that drop packets to them.
    #[serde(rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: Option<bool>,
    /// Whether Services that ask for nothing get addresses from here; if not, only those that ask for this pool or for
    /// one of its addresses. True if absent.
    pub auto_assign: Option<bool>,
    /// Of several pools that a Service may get an address from, that with the smallest number is taken first; one without a
    /// number last.
    #[cfg_attr(test, schemars(range(min = 0, max = 2_147_483_647_i64)))]
    pub priority: Option<i64>,
    /// Only Services of these namespaces, and of those that a selector chooses. With neither: of all.
    #[cfg_attr(test, schemars(length(max = 256), inner(length(max = 63))))]
    pub namespaces: Vec<String>,
    /// Only Services of namespaces that one of these chooses.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Only Services that one of these chooses. None: all.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub service_selectors: Vec<LabelSelector>,
}

/// What became of an AddressPool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct AddressPoolStatus {
    /// How many addresses it has.
    pub total: Option<i64>,
    /// How many of them Services have.
    pub given: Option<i64>,
    /// How many are left for Services that ask for none in particular.
    pub free: Option<i64>,
    /// `Valid`: it is as it should be. `Exhausted`: a Service waits for an address.
    #[cfg_attr(test, schemars(length(max = 16)))]
    pub conditions: Vec<Condition>,
}

impl AddressPoolSpec {
    /// Services that ask for nothing get addresses from here.
    pub fn is_auto_assigned(&self) -> bool {
        self.auto_assign.unwrap_or(true)
    }

    /// What must hold of a pool beyond the types of its fields.
    pub const RULES: &[Rule<Self>] = &[
        Rule {
            field: "spec.addresses",
            cel: "has(self.addresses) && size(self.addresses) > 0",
            says: "a pool needs at least one address",
            broken: |spec| spec.addresses.is_empty().then(Place::whole),
        },
        Rule {
            field: "spec.addresses",
            cel: r"!has(self.addresses) || self.addresses.all(text, text.matches('^[0-9a-fA-F:.]+(/[0-9]{1,3}|-[0-9a-fA-F:.]+)?$'))",
            says: "an address, a network or a range is written as 192.0.2.1, 192.0.2.0/28 or 192.0.2.1-192.0.2.9",
            broken: |spec| Place::first(&spec.addresses, |text| !looks_like_addresses(text)),
        },
        Rule {
            field: "spec.avoid",
            cel: r"!has(self.avoid) || self.avoid.all(text, text.matches('^[0-9a-fA-F:.]+(/[0-9]{1,3}|-[0-9a-fA-F:.]+)?$'))",
            says: "an address, a network or a range is written as 192.0.2.1, 192.0.2.0/28 or 192.0.2.1-192.0.2.9",
            broken: |spec| Place::first(&spec.avoid, |text| !looks_like_addresses(text)),
        },
    ];
}

/// The letters of an address, alone, with a length or with a second one.
fn looks_like_addresses(text: &str) -> bool {
    let is_address =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    let is_length = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    match (text.split_once('/'), text.split_once('-')) {
        (Some((address, length)), _) => is_address(address) && is_length(length),
        (None, Some((first, last))) => is_address(first) && is_address(last),
        (None, None) => is_address(text),
    }
}
