//! Where requests go that no rule wants.

use super::{Annotation, annotation, value};

/// Our own.
pub(super) const OWN: &[Annotation] = &[annotation(
    "asset-fallback",
    "flag",
    "false",
    "Requests that no rule wants go by the rule of the page that asks for them, as its `Referer` or a short-lived cookie \
     tells, with all filters of that rule and the path as asked: for pages behind a prefix that ask for `/static/x.js`.",
    "",
    |asked, text| value::flag(text).map(|on| asked.asset_fallback = on),
)];
