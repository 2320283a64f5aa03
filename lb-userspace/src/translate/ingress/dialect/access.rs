//! Which clients are served.

use ipnet::IpNet;

use super::value::{self, Parsed};
use super::{Annotation, Asked, Support};
use crate::model::filters::Access;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sources {
    allow: Option<Vec<IpNet>>,
    /// By the old name, which is the weaker one.
    whitelist: Option<Vec<IpNet>>,
    deny: Option<Vec<IpNet>>,
    /// An address or authentication is enough.
    pub(super) or_authenticated: bool,
}

impl Sources {
    pub(super) fn access(self) -> Option<Box<Access>> {
        let allow = self.allow.or(self.whitelist).unwrap_or_default();
        let deny = self.deny.unwrap_or_default();
        let access = Access { allow, deny, or_authenticated: self.or_authenticated };
        (!access.allow.is_empty() || !access.deny.is_empty()).then(|| Box::new(access))
    }
}

const fn networks(name: &'static str, meaning: &'static str, apply: fn(&mut Asked, &str) -> Parsed<()>) -> Annotation {
    Annotation { name, kind: "CIDRs", default: "", meaning, difference: "", support: Support::Guards(apply) }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    networks("allowlist-source-range", "Only these clients are served; others get 403.", |asked, text| {
        value::networks(text).map(|networks| asked.sources.allow = Some(networks))
    }),
    networks(
        "whitelist-source-range",
        "The old name of `allowlist-source-range`, which is stronger.",
        |asked, text| value::networks(text).map(|networks| asked.sources.whitelist = Some(networks)),
    ),
    networks("denylist-source-range", "These clients get 403, even if they are allowed as well.", |asked, text| {
        value::networks(text).map(|networks| asked.sources.deny = Some(networks))
    }),
];
