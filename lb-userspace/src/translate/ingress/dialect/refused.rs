//! Annotations that are not honoured on purpose: text in somebody else's language, and modules of nginx.

use super::{Annotation, Support};

const FOREIGN_TEXT: &str =
    "text that would become configuration of the whole front lets whoever writes an Ingress take it over";

const fn snippet(name: &'static str, meaning: &'static str, instead: &'static str) -> Annotation {
    Annotation {
        name,
        kind: "text",
        default: "",
        meaning,
        difference: "",
        support: Support::Refused { reason: FOREIGN_TEXT, instead },
    }
}

const fn module(name: &'static str, meaning: &'static str, reason: &'static str, instead: &'static str) -> Annotation {
    Annotation {
        name,
        kind: "flag",
        default: "",
        meaning,
        difference: "",
        support: Support::Refused { reason, instead },
    }
}

const NO_MODSECURITY: &str = "there is no ModSecurity in this front";
const WAF: &str = "a web application firewall as a Service of its own, in front of the application or as auth-url";
const NO_MODULE: &str = "it is an option of a module of nginx";

pub(super) const ANNOTATIONS: &[Annotation] = &[
    snippet(
        "configuration-snippet",
        "Text for the location of nginx.",
        "the annotations for what it does: custom-headers, cors-*, permanent-redirect, rewrite-target, denylist-source-range",
    ),
    snippet(
        "server-snippet",
        "Text for the server of nginx.",
        "annotations of each path: permanent-redirect, custom-headers, denylist-source-range, server-alias",
    ),
    snippet(
        "stream-snippet",
        "Text for the stream section of nginx.",
        "a Service of type LoadBalancer or NodePort, or --tcp-services-configmap",
    ),
    snippet(
        "auth-snippet",
        "Text for the location of external authentication.",
        "auth-proxy-set-headers, auth-cache-key, auth-method",
    ),
    snippet("modsecurity-snippet", "Rules of ModSecurity.", WAF),
    module("enable-modsecurity", "Switches ModSecurity on.", NO_MODSECURITY, WAF),
    module("enable-owasp-core-rules", "Loads the OWASP rules.", NO_MODSECURITY, WAF),
    module(
        "modsecurity-transaction-id",
        "The id in ModSecurity's log.",
        NO_MODSECURITY,
        "X-Request-ID, which is passed on",
    ),
    module(
        "enable-opentelemetry",
        "Switches spans of nginx's module on.",
        NO_MODULE,
        "W3C trace context, which is passed on as it came; spans by OTLP with the flag `--otlp`, where weir is built with them",
    ),
    module(
        "opentelemetry-trust-incoming-span",
        "Whether nginx's module continues the trace of the client.",
        NO_MODULE,
        "W3C trace context, which is passed on as it came; spans by OTLP with the flag `--otlp`, where weir is built with them",
    ),
    module(
        "enable-opentracing",
        "Switches OpenTracing on.",
        "OpenTracing has ended, and ingress-nginx no longer has it",
        "W3C trace context, which is passed on as it came; spans by OTLP with the flag `--otlp`, where weir is built with them",
    ),
    module(
        "opentracing-trust-incoming-span",
        "Whether OpenTracing continues the trace of the client.",
        "OpenTracing has ended, and ingress-nginx no longer has it",
        "W3C trace context, which is passed on as it came; spans by OTLP with the flag `--otlp`, where weir is built with them",
    ),
];
