//! What becomes of requests that no path matches as it is written.

use super::{Annotation, annotation, value};

/// Our own.
pub(super) const OWN: &[Annotation] = &[
    annotation(
        "slash-redirect",
        "flag",
        "false",
        "Sends requests for a path without the slash that it ends with to the path with it, with status 301, unless another rule \
         has just that path.",
        "",
        |_, text| value::flag(text).map(drop),
    ),
    annotation(
        "asset-fallback",
        "flag",
        "false",
        "Requests that no rule wants go by the rule of the page that asks for them, as its `Referer` or a short-lived cookie \
     tells, with all filters of that rule and the path as asked: for pages behind a prefix that ask for `/static/x.js`.",
        "",
        |asked, text| value::flag(text).map(|on| asked.asset_fallback = on),
    ),
];
