//! Annotations whose effect is not built yet: known, documented, and listed in one Problem for each Ingress.

use super::{Annotation, Support};

/// The value asks for what happens anyway.
pub(in crate::translate) fn is_asking_for_nothing(name: &str, value: &str) -> bool {
    let off = ["enable-rewrite-log", "from-to-www-redirect", "http2-push-preload", "service-upstream"];
    off.contains(&name) && value == "false"
}

const fn later(name: &'static str, kind: &'static str, default: &'static str, meaning: &'static str) -> Annotation {
    Annotation { name, kind, default, meaning, difference: "", support: Support::Later }
}

const fn elsewhere(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
) -> Annotation {
    Annotation { name, kind, default, meaning, difference, support: Support::Elsewhere }
}

/// Our own for Ingresses.
pub(super) const OWN: &[Annotation] =
    &[elsewhere("rewrite", "prefix or regex", "", "Says which meaning of `rewrite-target` is meant.", "")];

pub(super) const ANNOTATIONS: &[Annotation] = &[
    elsewhere(
        "rewrite-target",
        "path",
        "",
        "The path that the backend gets, in which `$1` to `$9` stand for captures.",
        "Without captures the matched prefix is replaced and the rest kept; `weir.io/rewrite: regex` asks for the other meaning.",
    ),
    elsewhere(
        "use-regex",
        "flag",
        "false",
        "Paths are regular expressions: prefix-like, whatever the case.",
        "Holds for this Ingress only, not for the whole host.",
    ),
    later("http2-push-preload", "flag", "false", "Turns Link headers into HTTP/2 pushes."),
    later("ssl-ciphers", "text", "", "Ciphers of the host."),
    later("ssl-prefer-server-ciphers", "flag", "true", "Whose order of ciphers counts."),
];
