//! Keys that are not honoured on purpose: text in somebody else's language, modules of nginx, and what steers nginx's own
//! workings.

use super::{Key, Support};

const fn refused(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    reason: &'static str,
    instead: &'static str,
) -> Key {
    Key { name, kind, default, meaning, difference: "", support: Support::Refused { reason, instead } }
}

const fn moot(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    reason: &'static str,
) -> Key {
    Key { name, kind, default, meaning, difference: "", support: Support::Moot(reason) }
}

const FOREIGN_TEXT: &str = "it is text in the language of nginx, which nobody reads here";
const KEYS_INSTEAD: &str = "the keys and annotations for what it does";
const NO_MODSECURITY: &str = "there is no ModSecurity in this front";
const WAF: &str = "a web application firewall as a Service of its own";
const NO_MODULE: &str = "it is an option of a module of nginx";
const NO_OPENTRACING: &str = "OpenTracing has ended";
const TRACE: &str = "W3C trace context, which is passed on as it came; spans by OTLP with `enable-opentelemetry` or the flag `--otlp`, where weir is built with them";
const OWN_SPANS: &str = "spans are handed over five times a second, and bounded by what they take of memory";
const NO_GEOIP: &str = "there is no database of places here";
const GEOIP: &str = "a Service in front, or auth-url, that knows places";
const NO_FILES: &str = "the access log goes to standard output, and the front writes no file";
const STDOUT: &str = "what collects the output of containers";

pub(super) const KEYS: &[Key] = &[
    refused("main-snippet", "text", "", "Text for nginx.conf.", FOREIGN_TEXT, KEYS_INSTEAD),
    refused("http-snippet", "text", "", "Text for its http section.", FOREIGN_TEXT, KEYS_INSTEAD),
    refused("server-snippet", "text", "", "Text for all servers.", FOREIGN_TEXT, KEYS_INSTEAD),
    refused("stream-snippet", "text", "", "Text for its stream section.", FOREIGN_TEXT, "--tcp-services-configmap"),
    refused("location-snippet", "text", "", "Text for all locations.", FOREIGN_TEXT, KEYS_INSTEAD),
    refused(
        "global-auth-snippet",
        "text",
        "",
        "Text for authentication.",
        FOREIGN_TEXT,
        "global-auth-method and its kin",
    ),
    refused(
        "allow-snippet-annotations",
        "flag",
        "false",
        "Whether Ingresses may bring text for nginx.",
        FOREIGN_TEXT,
        "the annotations for what the snippets do",
    ),
    refused("enable-modsecurity", "flag", "false", "Switches ModSecurity on.", NO_MODSECURITY, WAF),
    refused("modsecurity-snippet", "text", "", "Rules of ModSecurity.", NO_MODSECURITY, WAF),
    refused("enable-owasp-modsecurity-crs", "flag", "false", "Loads the OWASP rules.", NO_MODSECURITY, WAF),
    refused("opentelemetry-operation-name", "text", "", "Names of spans.", NO_MODULE, TRACE),
    refused(
        "opentelemetry-config",
        "path",
        "/etc/ingress-controller/telemetry/opentelemetry.toml",
        "Its file.",
        NO_MODULE,
        TRACE,
    ),
    refused("jaeger-collector-host", "host", "", "Where spans go.", NO_OPENTRACING, TRACE),
    refused("jaeger-collector-port", "port", "6831", "Where spans go.", NO_OPENTRACING, TRACE),
    refused("jaeger-endpoint", "URL", "", "Where spans go.", NO_OPENTRACING, TRACE),
    refused("jaeger-service-name", "text", "nginx", "Who we are.", NO_OPENTRACING, TRACE),
    refused("jaeger-propagation-format", "name", "jaeger", "How traces are told.", NO_OPENTRACING, TRACE),
    refused("jaeger-sampler-type", "name", "const", "Which requests have spans.", NO_OPENTRACING, TRACE),
    refused("jaeger-sampler-param", "number", "1", "Which requests have spans.", NO_OPENTRACING, TRACE),
    refused("jaeger-sampler-host", "URL", "http://127.0.0.1", "Who decides.", NO_OPENTRACING, TRACE),
    refused("jaeger-sampler-port", "port", "5778", "Who decides.", NO_OPENTRACING, TRACE),
    refused("jaeger-trace-context-header-name", "header", "uber-trace-id", "A header.", NO_OPENTRACING, TRACE),
    refused("jaeger-debug-header", "header", "uber-debug-id", "A header.", NO_OPENTRACING, TRACE),
    refused("jaeger-baggage-header", "header", "jaeger-baggage", "A header.", NO_OPENTRACING, TRACE),
    refused("jaeger-trace-baggage-header-prefix", "text", "uberctx-", "Headers.", NO_OPENTRACING, TRACE),
    refused(
        "enable-ocsp",
        "flag",
        "false",
        "Staples what the authority says about the certificate.",
        "the front asks no authority",
        "the response in the Secret, as tls.ocsp-staple",
    ),
    refused("use-geoip", "flag", "true", "Variables about places.", NO_GEOIP, GEOIP),
    refused("use-geoip2", "flag", "false", "Variables about places.", NO_GEOIP, GEOIP),
    refused("geoip2-autoreload-in-minutes", "minutes", "0", "How often the database is read.", NO_GEOIP, GEOIP),
    refused("access-log-params", "text", "", "Options of nginx's access log.", NO_FILES, STDOUT),
    refused("access-log-path", "path", "/var/log/nginx/access.log", "Where the access log is.", NO_FILES, STDOUT),
    refused("http-access-log-path", "path", "", "Where that of HTTP is.", NO_FILES, STDOUT),
    refused("stream-access-log-path", "path", "", "Where that of TCP and UDP is.", NO_FILES, STDOUT),
    refused(
        "error-log-path",
        "path",
        "/var/log/nginx/error.log",
        "Where errors are logged.",
        NO_FILES,
        "standard error",
    ),
    refused("enable-syslog", "flag", "false", "Whether logs go to syslog.", NO_FILES, STDOUT),
    refused("syslog-host", "host", "", "Its host.", NO_FILES, STDOUT),
    refused("syslog-port", "port", "514", "Its port.", NO_FILES, STDOUT),
    refused(
        "error-log-level",
        "level",
        "notice",
        "How much is logged.",
        "the level is the agent's",
        "--log-level, or POST /api/v1/log-level",
    ),
    refused(
        "bind-address",
        "addresses",
        "",
        "Where nginx listens.",
        "the front is reached through layer 4",
        "--nodeport-addresses, and Services of the front with addresses of their own",
    ),
    refused(
        "disable-ipv6",
        "flag",
        "false",
        "Whether nginx listens on IPv4 only.",
        "the front is reached through layer 4",
        "--nodeport-addresses",
    ),
    refused(
        "nginx-status-ipv4-whitelist",
        "addresses",
        "127.0.0.1",
        "Who may see nginx's status.",
        "there is no such page",
        "--admin, and weir status",
    ),
    refused(
        "nginx-status-ipv6-whitelist",
        "addresses",
        "::1",
        "Who may see nginx's status.",
        "there is no such page",
        "--admin, and weir status",
    ),
    refused(
        "debug-connections",
        "addresses",
        "",
        "Whose connections nginx tells about.",
        "there is no debug log of connections",
        "weir explain, weir flows and weir capture",
    ),
    refused(
        "ssl-dh-param",
        "namespace/name",
        "",
        "Numbers for DHE suites.",
        "there are no DHE suites, only ECDHE",
        "to leave it out",
    ),
    refused(
        "ssl-session-ticket-key",
        "text",
        "",
        "The key of session tickets.",
        "keys do not stand in a ConfigMap; those of tickets are made, and changed, by the front",
        "ssl-session-tickets",
    ),
    refused(
        "limit-conn-zone-variable",
        "variable",
        "$binary_remote_addr",
        "What limit-connections counts together.",
        "clients are counted by their address",
        "global-rate-limit-key",
    ),
];

const OWN_MEMORY: &str = "there is nothing to size: memory is taken as it is needed";
const OWN_WORKERS: &str = "the front has one worker for each core";
const TYPED: &str = "annotations are parsed into types, and none becomes configuration text";
const OBSOLETE: &str = "nginx no longer has it";

/// What there is nothing to steer of.
pub(super) const MOOT: &[Key] = &[
    moot("annotations-risk-level", "level", "High", "Which annotations are allowed.", TYPED),
    moot("annotation-value-word-blocklist", "words", "", "Words that no annotation may have.", TYPED),
    moot(
        "strict-validate-path-type",
        "flag",
        "true",
        "Whether odd paths are refused.",
        "paths are data here, never text of a configuration",
    ),
    moot("client-header-buffer-size", "size", "1k", "Memory for heads of requests.", OWN_MEMORY),
    moot("http2-max-field-size", "size", "", "Longest header.", OBSOLETE),
    moot("http2-max-header-size", "size", "", "Longest head.", OBSOLETE),
    moot("http2-max-requests", "number", "0", "Requests on a connection.", OBSOLETE),
    moot("otel-max-queuesize", "number", "2048", "Spans that wait.", OWN_SPANS),
    moot("otel-schedule-delay-millis", "milliseconds", "5000", "How long.", OWN_SPANS),
    moot("otel-max-export-batch-size", "number", "512", "Spans sent at once.", OWN_SPANS),
    moot("enable-multi-accept", "flag", "true", "How connections are accepted.", OWN_WORKERS),
    moot("max-worker-open-files", "number", "0", "Open files of one worker.", "the front raises it as far as it may"),
    moot("map-hash-bucket-size", "bytes", "64", "Memory for maps.", OWN_MEMORY),
    moot("server-name-hash-max-size", "number", "1024", "Memory for hosts.", OWN_MEMORY),
    moot("server-name-hash-bucket-size", "bytes", "", "Memory for hosts.", OWN_MEMORY),
    moot("proxy-headers-hash-max-size", "number", "512", "Memory for headers.", OWN_MEMORY),
    moot("proxy-headers-hash-bucket-size", "bytes", "64", "Memory for headers.", OWN_MEMORY),
    moot("variables-hash-bucket-size", "bytes", "256", "Memory for variables.", OWN_MEMORY),
    moot("variables-hash-max-size", "number", "2048", "Memory for variables.", OWN_MEMORY),
    moot("lua-shared-dicts", "sizes", "", "Memory of Lua.", "there is no Lua in this front"),
    moot("ssl-session-cache-size", "size", "10m", "Memory for sessions.", OWN_MEMORY),
    moot("ssl-buffer-size", "size", "4k", "Memory for records.", OWN_MEMORY),
    moot("grpc-buffer-size-kb", "kilobytes", "0", "Memory for gRPC.", OWN_MEMORY),
    moot("reuse-port", "flag", "true", "Whether workers have sockets of their own.", "they always have"),
    moot("enable-aio-write", "flag", "true", "How files are written.", "no file is written"),
    moot("worker-processes", "number", "", "How many workers there are.", OWN_WORKERS),
    moot("worker-cpu-affinity", "mask", "", "On which cores.", OWN_WORKERS),
    moot("enable-serial-reloads", "flag", "false", "Whether reloads wait for each other.", "nothing is ever reloaded"),
    moot("proxy-ssl-location-only", "flag", "false", "Where proxy-ssl-* stands.", "it holds for the Ingress that asks"),
    moot("default-type", "media type", "text/html", "The type of files.", "the front serves none"),
    moot(
        "proxy-stream-responses",
        "number",
        "1",
        "Datagrams that answer one.",
        "datagrams go on in the kernel, as many as there are",
    ),
];
