//! How requests are sent on: times and sizes.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Asked, Support};

const fn annotation(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: fn(&mut Asked, &str) -> Parsed<()>,
) -> Annotation {
    Annotation { name, kind, default, meaning, difference: "", support: Support::Applied(apply) }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "proxy-connect-timeout",
        "seconds",
        "5",
        "How long a connection to an endpoint may take.",
        |asked, text| time(text).map(|time| asked.proxying.connect = Some(time)),
    ),
    annotation(
        "proxy-send-timeout",
        "seconds",
        "60",
        "How long the endpoint may take nothing of a request's body.",
        |asked, text| time(text).map(|time| asked.proxying.send = Some(time)),
    ),
    annotation(
        "proxy-read-timeout",
        "seconds",
        "60",
        "How long nothing may come from the endpoint: before its answer, and between two parts of it.",
        |asked, text| time(text).map(|time| asked.proxying.read = Some(time)),
    ),
    Annotation {
        name: "proxy-body-size",
        kind: "size",
        default: "0",
        meaning: "Longest body of a request, else the answer is 413; 0: no limit.",
        difference: "Without it there is no limit (there: 1m): bodies are streamed, not gathered.",
        support: Support::Applied(|asked, text| value::size(text).map(|bytes| asked.proxying.max_body = Some(bytes))),
    },
];

/// Our own.
pub(super) const OWN: &[Annotation] = &[annotation(
    "request-timeout",
    "seconds",
    "",
    "How long a request may take in all, tries at other endpoints included: until its answer begins, else the answer is \
     504; and until that has ended, else it is broken off.",
    |asked, text| time(text).map(|time| asked.proxying.whole = Some(time)),
)];

/// At least something: nginx takes 0 for "at once", which no request survives.
fn time(text: &str) -> Parsed<u64> {
    value::duration(text)?.checked_sub(1).map(|time| time + 1).ok_or_else(|| Wrong::expected("a time above 0"))
}
