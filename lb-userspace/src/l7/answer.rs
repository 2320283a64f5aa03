//! The answers that the front gives itself. Plain text only: what a client sent never becomes part of a page.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};

use super::guard::Refusal;
use super::hits::Hit;
use super::names::NameError;
use super::path::PathError;
use super::settings::NoClient;
use super::table::RouteEntry;

/// Longest host or path that is repeated in an answer.
const MAX_REPEATED: usize = 200;

/// An answer without a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Body, as `text/plain`.
    pub text: Bytes,
    /// The connection cannot go on after it.
    pub close: bool,
    /// Headers beside those of the body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The limit that was reached.
    pub limit: Option<Hit>,
}

impl Answer {
    fn new(status: StatusCode, text: String) -> Self {
        Answer { status, text: text.into(), close: false, headers: Vec::new(), limit: None }
    }

    /// An error tells the id of the request.
    pub fn name(&mut self, id: Option<&HeaderValue>) {
        let is_page = self.text.is_empty() || self.headers.iter().any(|(name, _)| *name == CONTENT_TYPE);
        let Some(id) = id.and_then(|id| id.to_str().ok()).filter(|_| self.status.as_u16() >= 400 && !is_page) else {
            return;
        };
        let text = String::from_utf8_lossy(&self.text);
        self.text = format!("{text}\nRequest ID: {}\n", Repeated(id)).into();
    }

    /// The request was refused by the guard.
    pub fn refused(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
        let text = format!("{status}\n\nRefused by weir: {}.\n", refusal.reason);
        Answer { close: true, limit: refusal.limit, ..Self::new(status, text) }
    }

    /// A proxy does not tell who the client is. The connection is one of others as well, and goes on.
    pub fn no_client(why: NoClient) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, format!("{status}\n\nRefused by weir: {why}.\n"))
    }

    /// The client is sent elsewhere.
    pub fn redirect(status: u16, to: HeaderValue) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
        Answer { headers: vec![(LOCATION, to)], ..Self::new(status, format!("{status}\n")) }
    }

    /// Where it sends the client.
    pub fn location(&self) -> Option<&str> {
        let (_, to) = self.headers.iter().find(|(name, _)| *name == LOCATION)?;
        to.to_str().ok()
    }

    /// What is to protect the route cannot be understood.
    pub fn closed(entry: &RouteEntry, why: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, format!("{status}\n\nIngress {} is closed: {}.\n", entry.ingress, Repeated(why)))
    }

    /// One sentence about what is wrong.
    pub fn plain(status: StatusCode, what: &str) -> Self {
        Self::new(status, format!("{status}\n\n{what}.\n"))
    }

    /// The connection is not one for this host: the client tries again on another (RFC 9110 section 15.5.20).
    pub fn misdirected() -> Self {
        let what = "The connection was made for another host, or before its authorities changed";
        Answer { close: true, ..Self::plain(StatusCode::MISDIRECTED_REQUEST, what) }
    }

    /// The client may not be served.
    pub fn forbidden() -> Self {
        let status = StatusCode::FORBIDDEN;
        Self::new(status, format!("{status}\n"))
    }

    /// The client has to say who it is, with a password (RFC 7617 section 2).
    pub fn unauthorized(realm: &str) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\""));
        let challenge = challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"\""));
        Answer { headers: vec![(WWW_AUTHENTICATE, challenge)], ..Self::new(status, format!("{status}\n")) }
    }

    /// The client has to say who it is, in one of the ways that an authentication service names.
    pub fn not_authenticated(challenges: &[HeaderValue]) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        let headers = challenges.iter().map(|challenge| (WWW_AUTHENTICATE, challenge.clone())).collect();
        Answer { headers, ..Self::new(status, format!("{status}\n")) }
    }

    /// Nobody can say whether the client may be served.
    pub fn not_asked(entry: &RouteEntry, why: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let why = Repeated(why);
        let what =
            format!("{status}\n\nIngress {}: its authentication service does not answer: {why}.\n", entry.ingress);
        Self::new(status, what)
    }

    /// The authentication service says neither yes nor no.
    pub fn bad_verdict(entry: &RouteEntry, found: u16) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let what = "its authentication service answers";
        Self::new(status, format!("{status}\n\nIngress {}: {what} {found}.\n", entry.ingress))
    }

    /// The client asks for more than it may.
    pub fn too_many(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self::new(status, format!("{status}\n\nToo many requests of one client.\n"))
    }

    /// The body is longer than the route takes. What is left of it is not read.
    pub fn too_large() -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Answer { close: true, limit: Some(Hit::BodySize), ..Self::new(status, format!("{status}\n")) }
    }

    /// The client has not sent all of its body.
    pub fn broken_body() -> Self {
        Answer { close: true, ..Self::plain(StatusCode::BAD_REQUEST, "The body of the request broke off") }
    }

    /// A page of another origin may go on (Fetch standard, "CORS-preflight fetch").
    pub fn preflight() -> Self {
        Self::new(StatusCode::NO_CONTENT, String::new())
    }

    /// The client took too long to send its body: it kept still, or sent too little.
    pub fn slow_body(limit: Hit) -> Self {
        let what = "The body of the request came too slowly";
        Answer { close: true, limit: Some(limit), ..Self::plain(StatusCode::REQUEST_TIMEOUT, what) }
    }

    /// The path cannot be routed safely.
    pub fn bad_path(error: PathError) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Answer { close: true, ..Self::new(status, format!("{status}\n\nRefused by weir: {error}.\n")) }
    }

    /// Servers read the path in ways that belong to different routes, or lead out of the target of a rewrite.
    pub fn ambiguous_path() -> Self {
        let status = StatusCode::BAD_REQUEST;
        let what = "the path can be read as one of another route ('//', '%2F', ';'), or makes no path when rewritten";
        Answer { close: true, ..Self::new(status, format!("{status}\n\nRefused by weir: {what}.\n")) }
    }

    /// No route and no default backend. Like the classic default backend, which also answers `/healthz`.
    pub fn not_found(host: &str, path: &str) -> Self {
        if path == "/healthz" {
            return Self::new(StatusCode::OK, "ok\n".to_owned());
        }
        let (host, path) = (Repeated(host), Repeated(path));
        Self::new(
            StatusCode::NOT_FOUND,
            format!("default backend - 404\n\nNo Ingress has a rule for host \"{host}\" and path \"{path}\".\n"),
        )
    }

    /// The route leads to a Service or port that does not exist, or has no endpoint.
    pub fn unavailable(entry: &RouteEntry, host: &str, path: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let what = match entry.upstream {
            None => "this Service or port does not exist",
            Some(_) => "this Service port has no ready endpoint",
        };
        let RouteEntry { ingress, service, service_port, .. } = entry;
        let (host, path) = (Repeated(host), Repeated(path));
        Self::new(
            status,
            format!(
                "{status}\n\nHost \"{host}\" and path \"{path}\" lead to Service {service}, port {service_port} ({ingress}): {what}.\n"
            ),
        )
    }

    /// The name behind the Service leads nowhere.
    pub fn unresolved(entry: &RouteEntry, host: &str, why: NameError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, format!("{status}\n\nService {} is \"{}\": {why}.\n", entry.service, Repeated(host)))
    }

    /// No endpoint gave an answer that can be passed on.
    pub fn bad_gateway(entry: &RouteEntry, what: &str) -> Self {
        let status = StatusCode::BAD_GATEWAY;
        Self::new(status, format!("{status}\n\nService {}, port {}: {what}.\n", entry.service, entry.service_port))
    }

    /// The endpoints have as much to do as they may be given.
    pub fn busy(entry: &RouteEntry) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let what = "all endpoints are busy";
        let text = format!("{status}\n\nService {}, port {}: {what}.\n", entry.service, entry.service_port);
        Answer { headers: vec![(RETRY_AFTER, HeaderValue::from_static("1"))], ..Self::new(status, text) }
    }

    /// There are no sockets left to reach endpoints with.
    pub fn exhausted(entry: &RouteEntry) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let what = "no connection can be opened to it now";
        let text = format!("{status}\n\nService {}, port {}: {what}.\n", entry.service, entry.service_port);
        let headers = vec![(RETRY_AFTER, HeaderValue::from_static("1"))];
        Answer { headers, limit: Some(Hit::Upstreams), ..Self::new(status, text) }
    }

    /// The backend took too long.
    pub fn timeout(entry: &RouteEntry) -> Self {
        let status = StatusCode::GATEWAY_TIMEOUT;
        Self::new(
            status,
            format!("{status}\n\nService {}, port {}: no answer in time.\n", entry.service, entry.service_port),
        )
    }

    /// `OPTIONS *` is a question to the front itself (RFC 9110 section 9.3.7).
    pub fn options() -> Self {
        Self::new(StatusCode::NO_CONTENT, String::new())
    }
}

/// The status, and where it sends the client.
impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        self.location().map_or(Ok(()), |to| write!(f, " to {to}"))
    }
}

/// Text from a client, shortened and without anything but printable ASCII.
struct Repeated<'a>(&'a str);

impl std::fmt::Display for Repeated<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars().take(MAX_REPEATED) {
            match character {
                '"' | '<' | '>' | '&' => f.write_str("?")?,
                ' '..='~' => std::fmt::Write::write_char(f, character)?,
                _ => f.write_str("?")?,
            }
        }
        if self.0.chars().nth(MAX_REPEATED).is_some() { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::testing::entry;
    use crate::model::PathMatch;

    fn text(answer: &Answer) -> &str {
        std::str::from_utf8(&answer.text).expect("text")
    }

    #[test]
    fn nothing_of_the_client_becomes_markup() {
        let answer = Answer::not_found("<script>", "/\"&\u{7}ä");
        assert_eq!(
            text(&answer),
            "default backend - 404\n\nNo Ingress has a rule for host \"?script?\" and path \"/????\".\n"
        );
        assert!(text(&Answer::not_found("a", &"/x".repeat(1000))).len() < 400);
    }

    #[test]
    fn missing_services_are_named() {
        let answer = Answer::unavailable(&entry(PathMatch::Default, None), "a.example", "/x");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            text(&answer),
            "503 Service Unavailable\n\nHost \"a.example\" and path \"/x\" lead to Service default/web, port 80 (default/web): this Service or port does not exist.\n"
        );
        assert!(
            text(&Answer::unavailable(&entry(PathMatch::Default, Some("u")), "a", "/"))
                .contains("has no ready endpoint")
        );
    }

    #[test]
    fn the_built_in_default_backend_is_healthy() {
        assert_eq!(Answer::not_found("a", "/healthz").status, StatusCode::OK);
        assert_eq!(Answer::not_found("a", "/").status, StatusCode::NOT_FOUND);
    }
}
