//! What is logged, and where requests go beside the endpoints.

use super::value::{self, Parsed};
use super::{Annotation, Asked, Support};

const fn flag(
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    support: Support,
) -> Annotation {
    Annotation { name, kind: "flag", default, meaning, difference, support }
}

const fn applied(apply: fn(&mut Asked, &str) -> Parsed<()>) -> Support {
    Support::Applied(apply)
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    flag(
        "enable-access-log",
        "true",
        "Whether requests are logged.",
        "",
        applied(|asked, text| value::flag(text).map(|on| asked.logs.no_access = !on)),
    ),
    flag(
        "enable-rewrite-log",
        "false",
        "Logs how paths are rewritten.",
        "On standard error, one line with path and target for each request.",
        applied(|asked, text| value::flag(text).map(|on| asked.logs.rewrites = on)),
    ),
    flag(
        "service-upstream",
        "false",
        "Sends requests to the Service's cluster IP instead of to endpoints.",
        "A Service without a cluster IP keeps its endpoints.",
        applied(|asked, text| value::flag(text).map(|on| asked.service_upstream = on)),
    ),
    flag(
        "from-to-www-redirect",
        "false",
        "Redirects, with status 308, from a host to it with www, or back, unless that name has rules of its own.",
        "Path and query stay as they are.",
        applied(|_, text| value::flag(text).map(drop)),
    ),
    Annotation {
        name: "server-alias",
        kind: "hosts",
        default: "",
        meaning: "More names for the first host of the Ingress, with all of its rules.",
        difference: "Regular expressions are not taken.",
        support: Support::Elsewhere,
    },
];
