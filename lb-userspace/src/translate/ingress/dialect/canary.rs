//! Ingresses that take a part of another's requests.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, annotation};
use crate::l7::canary::HeaderPattern;
use crate::model::filters::{Balance, Canary};

/// What the weight is a part of where nothing else is said.
const TOTAL: u32 = 100;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Canaries {
    wanted: bool,
    rules: Canary,
    total: Option<u32>,
    legacy: bool,
}

impl Canaries {
    /// The rules, still without a Service.
    pub(super) fn canary(self, balance: Option<&Balance>) -> Option<Box<Canary>> {
        if !self.wanted {
            return None;
        }
        let total = self.total.unwrap_or(TOTAL).max(TOTAL);
        let balance = balance.cloned().map(Box::new);
        Some(Box::new(Canary { total, sticky: !self.legacy, balance, ..self.rules }))
    }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "canary",
        "flag",
        "false",
        "The Ingress takes a part of the requests of another with the same hosts and paths. Header, cookie and weight \
         decide, in this order. Of its other annotations only load-balance, upstream-hash-by and those of affinity count.",
        "The other Ingress has to be of the same namespace. Without a ready endpoint of the canary all requests go to \
         the other.",
        |asked, text| value::flag(text).map(|wanted| asked.canaries.wanted = wanted),
    ),
    annotation(
        "canary-by-header",
        "name",
        "",
        "A header: with `always` a request goes to the canary, with `never` not.",
        "",
        |asked, text| name(text).map(|name| asked.canaries.rules.header = Some(name.to_ascii_lowercase())),
    ),
    annotation(
        "canary-by-header-value",
        "text",
        "",
        "What the header has to be instead of `always`; any other value leaves it to the other rules.",
        "",
        |asked, text| {
            asked.canaries.rules.value = Some(text.to_owned()).filter(|text| !text.is_empty());
            Ok(())
        },
    ),
    annotation(
        "canary-by-header-pattern",
        "pattern",
        "",
        "A regular expression that the header has to match; canary-by-header-value is stronger.",
        "No look-around and no back-references.",
        |asked, text| match HeaderPattern::new(text) {
            Some(_) => {
                asked.canaries.rules.pattern = Some(text.to_owned()).filter(|text| !text.is_empty());
                Ok(())
            }
            None => Err(Wrong::expected("a regular expression without look-around and back-references")),
        },
    ),
    annotation(
        "canary-by-cookie",
        "name",
        "",
        "A cookie: with `always` a request goes to the canary, with `never` not.",
        "",
        |asked, text| name(text).map(|name| asked.canaries.rules.cookie = Some(name.to_owned())),
    ),
    annotation(
        "canary-weight",
        "number",
        "0",
        "So many requests out of canary-weight-total go to the canary, at random.",
        "",
        |asked, text| value::number(text, 0..=1_000_000_000).map(|weight| asked.canaries.rules.weight = weight),
    ),
    annotation(
        "canary-weight-total",
        "number",
        "100",
        "What the weight is a part of; at least 100.",
        "",
        |asked, text| value::number(text, 1..=1_000_000_000).map(|total| asked.canaries.total = Some(total)),
    ),
    annotation(
        "affinity-canary-behavior",
        "sticky or legacy",
        "sticky",
        "Whether the cookie of the other Ingress's affinity keeps clients with the canary, or away from it.",
        "",
        |asked, text| match text.trim() {
            "sticky" => {
                asked.canaries.legacy = false;
                Ok(())
            }
            "legacy" => {
                asked.canaries.legacy = true;
                Ok(())
            }
            _ => Err(Wrong::expected("sticky or legacy")),
        },
    ),
];

/// The name of a header or a cookie (RFC 9110 section 5.6.2).
fn name(text: &str) -> Parsed<&str> {
    let text = text.trim();
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good { Ok(text) } else { Err(Wrong::expected("letters, digits, dashes and underscores")) }
}
