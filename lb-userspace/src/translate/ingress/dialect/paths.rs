//! How paths are meant and changed. What these annotations ask for is read where paths are.

use super::{Annotation, Support};

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
];
