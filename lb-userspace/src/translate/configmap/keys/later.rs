//! Keys whose effect is not built yet.

use super::{Key, Support};

const fn later(name: &'static str, kind: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, meaning, difference: "", support: Support::Later }
}

pub(super) const KEYS: &[Key] = &[
    later("enable-access-log-for-default-backend", "flag", "false", "Whether requests without a route are logged."),
    later("log-format-escape-none", "flag", "false", "Whether nothing in the access log is escaped."),
    later("log-format-escape-json", "flag", "false", "Whether it is escaped for JSON."),
    later("log-format-upstream", "template", "", "What a line of the access log says."),
    later("log-format-stream", "template", "", "What one of TCP and UDP says."),
    later("disable-ipv6-dns", "flag", "false", "Whether names of ExternalName Services have IPv4 addresses only."),
    later("enable-ocsp", "flag", "false", "Whether clients' certificates are asked after."),
    later("gzip-disable", "pattern", "", "User agents that get no gzip."),
    later("worker-shutdown-timeout", "time", "240s", "How long requests may take when the front ends."),
    later("proxy-stream-timeout", "time", "600s", "How long nothing may come of a TCP service."),
    later("proxy-stream-next-upstream", "flag", "true", "Whether another endpoint of it is tried."),
    later("proxy-stream-next-upstream-timeout", "time", "600s", "For how long."),
    later("proxy-stream-next-upstream-tries", "number", "3", "How many."),
    later(
        "forwarded-for-proxy-protocol-header",
        "header",
        "X-Forwarded-For-Proxy-Protocol",
        "The peer of the PROXY protocol.",
    ),
    later(
        "no-auth-locations",
        "paths",
        "/.well-known/acme-challenge",
        "Beginnings of paths without global authentication.",
    ),
    later("relative-redirects", "flag", "false", "Whether redirects of the front name no host."),
];
