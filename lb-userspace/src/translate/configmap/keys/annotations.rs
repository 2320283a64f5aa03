//! Keys that say for all Ingresses what an annotation says for one.

use super::{Key, Support};

const fn same(name: &'static str, kind: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, meaning, difference: "", support: Support::Annotation(name) }
}

const fn other(
    name: &'static str,
    kind: &'static str,
    meaning: &'static str,
    difference: &'static str,
    annotation: &'static str,
) -> Key {
    Key { name, kind, default: "", meaning, difference, support: Support::Annotation(annotation) }
}

pub(super) const KEYS: &[Key] = &[
    Key {
        difference: "Without it there is no limit (there: 1m): bodies are streamed, not gathered.",
        ..same("proxy-body-size", "size", "0", "Longest body of a request, else the answer is 413; 0: no limit.")
    },
    other(
        "client-max-body-size",
        "size",
        "The name that nginx has for `proxy-body-size`, which is stronger.",
        "ingress-nginx does not know it, though it is often written.",
        "proxy-body-size",
    ),
    same("proxy-connect-timeout", "seconds", "5", "How long a connection to an endpoint may take."),
    same("proxy-read-timeout", "seconds", "60", "How long nothing may come from the endpoint."),
    same("proxy-send-timeout", "seconds", "60", "How long the endpoint may take nothing of a request's body."),
    same("proxy-buffers-number", "number", "4", "How many buffers an answer has."),
    same("proxy-buffer-size", "size", "4k", "Longest head of an answer."),
    same("proxy-busy-buffers-size", "size", "", "How much of an answer may be on its way to the client."),
    same("proxy-cookie-path", "off, or two paths", "off", "Replaces the Path of cookies that backends set."),
    same("proxy-cookie-domain", "off, or two domains", "off", "Replaces the Domain of cookies that backends set."),
    same("proxy-next-upstream", "conditions", "error timeout", "When another endpoint is tried."),
    same("proxy-next-upstream-timeout", "seconds", "0", "How long endpoints are tried."),
    same("proxy-next-upstream-tries", "number", "3", "How many endpoints are tried."),
    same("proxy-redirect-from", "off, default or text", "off", "What is replaced in Location headers of backends."),
    same("proxy-request-buffering", "on or off", "off", "Whether bodies of requests are read before they are sent on."),
    same("proxy-buffering", "on or off", "off", "Whether answers are read faster than clients take them."),
    same("client-body-buffer-size", "size", "8k", "How much of a request's body is held in memory."),
    same("ssl-redirect", "flag", "true", "Redirects to HTTPS where the host has a certificate."),
    same("force-ssl-redirect", "flag", "false", "Redirects to HTTPS even without a certificate here."),
    same("denylist-source-range", "CIDRs", "", "These clients get 403."),
    same("whitelist-source-range", "CIDRs", "", "Only these clients are served; others get 403."),
    same("limit-rate", "kilobytes", "0", "Kilobytes per second of one answer."),
    same("limit-rate-after", "kilobytes", "0", "Kilobytes of an answer before `limit-rate` holds."),
    same("custom-http-errors", "statuses", "", "Statuses of backends that the default backend answers instead."),
    same("load-balance", "round_robin or ewma", "round_robin", "How endpoints are chosen."),
    same("service-upstream", "flag", "false", "Sends requests to the Service's address instead of to endpoints."),
    other("global-auth-url", "URL", "Who is asked whether a request is allowed.", "", "auth-url"),
    other("global-auth-method", "method", "The method of that question.", "", "auth-method"),
    other("global-auth-signin", "URL", "Where clients are sent that are not.", "", "auth-signin"),
    Key {
        default: "rd",
        ..other(
            "global-auth-signin-redirect-param",
            "name",
            "The parameter there that tells where to come back to.",
            "",
            "auth-signin-redirect-param",
        )
    },
    other(
        "global-auth-response-headers",
        "headers",
        "Headers of that answer which backends get.",
        "",
        "auth-response-headers",
    ),
    other("global-auth-request-redirect", "text", "What X-Auth-Request-Redirect says.", "", "auth-request-redirect"),
    other("global-auth-cache-key", "template", "Answers are remembered by this.", "", "auth-cache-key"),
    Key {
        default: "200 202 401 5m",
        ..other("global-auth-cache-duration", "statuses and time", "How long they are.", "", "auth-cache-duration")
    },
];
