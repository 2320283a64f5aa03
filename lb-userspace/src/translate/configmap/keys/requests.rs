//! Keys about headers of requests.

use super::{Key, Support, applied};
use crate::translate::ingress::dialect::value;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "proxy-set-headers",
        kind: "namespace/name",
        default: "",
        meaning: "A ConfigMap of headers that all backends get.",
        difference: "Variables come from a closed list.",
        support: Support::Headers(|settings| &mut settings.requests.set),
    },
    applied(
        "generate-request-id",
        "flag",
        "true",
        "Whether requests without X-Request-ID get one.",
        "One that comes is taken from proxies that are believed (`use-forwarded-headers`, `proxy-real-ip-cidr`), and from nobody else.",
        |settings, text| value::flag(text).map(|on| settings.requests.id = on),
    ),
    applied(
        "generate-traceparent",
        "flag",
        "false",
        "Whether requests without a valid traceparent (W3C trace context) get one; one that is there is passed on as it came.",
        "ingress-nginx does not have it.",
        |settings, text| value::flag(text).map(|on| settings.requests.trace = on),
    ),
];
