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

/// Without it something would be open that is meant to be closed.
const fn guard(name: &'static str, kind: &'static str, default: &'static str, meaning: &'static str) -> Annotation {
    Annotation { name, kind, default, meaning, difference: "", support: Support::LaterGuard }
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
pub(super) const OWN: &[Annotation] = &[
    elsewhere("rewrite", "prefix or regex", "", "Says which meaning of `rewrite-target` is meant.", ""),
    later("asset-fallback", "flag", "false", "Requests without a rule go where the page came from that asks for them."),
];

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
    later(
        "auth-always-set-cookie",
        "flag",
        "false",
        "Passes on cookies of the authentication service with every answer.",
    ),
    later(
        "auth-cache-duration",
        "text",
        "200 202 401 5m",
        "How long answers of the authentication service are kept, by status.",
    ),
    later(
        "auth-cache-key",
        "template",
        "",
        "Under what key answers of the authentication service are kept; empty: not at all.",
    ),
    later("auth-keepalive", "number", "0", "Idle connections that are kept to the authentication service."),
    later("auth-keepalive-requests", "number", "1000", "Requests on one such connection."),
    later("auth-keepalive-share-vars", "flag", "false", "Whether nginx's variables are shared with the subrequest."),
    later("auth-keepalive-timeout", "seconds", "60", "How long such a connection stays idle."),
    later("auth-method", "method", "GET", "The method of requests to the authentication service."),
    later(
        "auth-proxy-set-headers",
        "namespace/name",
        "",
        "A ConfigMap of headers for requests to the authentication service.",
    ),
    later("auth-request-redirect", "template", "", "X-Auth-Request-Redirect for the authentication service."),
    later(
        "auth-response-headers",
        "names",
        "",
        "Headers of the authentication service's answer that the backend gets.",
    ),
    later("auth-signin", "template", "", "Where clients are sent that are not authenticated."),
    later("auth-signin-redirect-param", "name", "rd", "The parameter of that URL which holds where they came from."),
    guard("auth-url", "template", "", "The service that is asked about every request."),
    later("client-body-buffer-size", "size", "8k", "How much of a request's body is held in memory."),
    later("custom-http-errors", "statuses", "", "Statuses of backends that the default backend answers instead."),
    later("default-backend", "name", "", "A Service for errors, and where there is no endpoint."),
    later("disable-proxy-intercept-errors", "flag", "false", "Takes custom-http-errors back."),
    later("enable-access-log", "flag", "true", "Whether requests are logged."),
    later("enable-global-auth", "flag", "true", "Whether the global authentication of the ConfigMap holds here."),
    later("enable-rewrite-log", "flag", "false", "Logs how paths are rewritten."),
    later("from-to-www-redirect", "flag", "false", "Redirects between a host and the same with www."),
    later("http2-push-preload", "flag", "false", "Turns Link headers into HTTP/2 pushes."),
    later("proxy-buffer-size", "size", "4k", "Longest head of an answer."),
    later("proxy-buffering", "on or off", "off", "Whether answers are read faster than clients take them."),
    later("proxy-buffers-number", "number", "4", "How many buffers of that size."),
    later("proxy-busy-buffers-size", "size", "8k", "How much of that may be on its way to the client."),
    later("proxy-http-version", "1.0 or 1.1", "1.1", "The version spoken to backends."),
    later("proxy-max-temp-file-size", "size", "1024m", "How much of an answer goes to disk."),
    later("proxy-request-buffering", "on or off", "on", "Whether the body of a request is read before it is sent on."),
    later("server-alias", "hosts", "", "More hosts for the same rules."),
    later("service-upstream", "flag", "false", "Sends requests to the Service's address instead of to endpoints."),
    later("ssl-ciphers", "text", "", "Ciphers of the host."),
    later("ssl-prefer-server-ciphers", "flag", "true", "Whose order of ciphers counts."),
];
