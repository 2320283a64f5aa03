//! Heads on their way through: what a proxy takes out (RFC 9110 section 7.6.1) and what it adds.
//!
//! What clients send in `X-Forwarded-*`, `X-Real-IP` and `Forwarded` is thrown away, unless it comes from a proxy that
//! the settings of the front name.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Uri, Version};

use super::filter::Outbound;
use super::forwarded;
use super::http2::extended::Extended;
use super::tls::Session;

/// Both ends of a client's connection, as headers tell them.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// The VIP and port that the client connected to.
    pub front: SocketAddr,
    /// What TLS tells; `None`: the connection is plain.
    pub session: Option<Rc<Session>>,
    /// What a proxy that is believed tells of the request.
    pub told: Told,
    client_address: HeaderValue,
    /// Who is at the other end of the connection: the client, or a proxy.
    peer_address: HeaderValue,
    front_authority: HeaderValue,
    front_port: HeaderValue,
}

/// What a proxy in front of this one tells of a request.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The host that the client asked for.
    pub host: Option<HeaderValue>,
    /// How it asked: `http` or `https`.
    pub scheme: Option<&'static str>,
    /// At which port.
    pub port: Option<u16>,
    /// The addresses that `X-Forwarded-For` had, if they are to be passed on.
    pub addresses: Option<HeaderValue>,
    /// The elements that `Forwarded` had, if they are to be passed on.
    pub elements: Option<HeaderValue>,
}

impl Ends {
    /// Of a plain connection.
    pub fn new(client: SocketAddr, front: SocketAddr) -> Self {
        Self::of(client, front, None)
    }

    /// Of a connection over TLS.
    pub fn secured(client: SocketAddr, front: SocketAddr, session: Rc<Session>) -> Self {
        Self::of(client, front, Some(session))
    }

    fn of(client: SocketAddr, front: SocketAddr, session: Option<Rc<Session>>) -> Self {
        // Digits, dots and colons are always valid in a header.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        let usual = if session.is_some() { 443 } else { 80 };
        let authority = match front {
            SocketAddr::V4(front) if front.port() == usual => front.ip().to_string(),
            SocketAddr::V6(front) if front.port() == usual => format!("[{}]", front.ip()),
            front => front.to_string(),
        };
        let client_address = value(client.ip().to_canonical().to_string());
        Ends {
            client,
            front,
            session,
            told: Told::default(),
            peer_address: client_address.clone(),
            client_address,
            front_authority: value(authority),
            front_port: HeaderValue::from(front.port()),
        }
    }

    /// The connection is one over TLS.
    pub fn is_secured(&self) -> bool {
        self.session.is_some()
    }

    /// The same with the client that a proxy tells of; its port is not known.
    pub fn of_client(&self, client: IpAddr) -> Self {
        let text = client.to_canonical().to_string();
        let client_address = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        Ends { client: SocketAddr::new(client, 0), client_address, ..self.clone() }
    }

    /// The address at the other end of the connection, or that the PROXY protocol told of.
    pub fn peer_address(&self) -> &HeaderValue {
        &self.peer_address
    }

    /// The scheme of URLs that lead here, `http` or `https`, as the client asked.
    pub fn scheme(&self) -> &'static str {
        self.told.scheme.unwrap_or(if self.is_secured() { "https" } else { "http" })
    }

    /// `Forwarded` for backends: an element of our own behind those that are passed on.
    pub fn forwarded(&self, host: &str) -> HeaderValue {
        let peer = self.peer_address.to_str().ok().and_then(|peer| peer.parse().ok());
        let (client, before) = match &self.told.elements {
            Some(elements) => (peer, [elements.as_bytes(), b", "].concat()),
            None => (Some(self.client.ip()), Vec::new()),
        };
        let host = self.told.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(host);
        let own = forwarded::write(client.unwrap_or(self.client.ip()), host, self.scheme());
        HeaderValue::try_from([before, own.into()].concat()).unwrap_or(HeaderValue::from_static("for=unknown"))
    }

    /// The addresses of client and proxies, for backends.
    fn addresses(&self) -> HeaderValue {
        let Some(told) = &self.told.addresses else { return self.client_address.clone() };
        let list = [told.as_bytes(), b", ", self.peer_address.as_bytes()].concat();
        HeaderValue::try_from(list).unwrap_or_else(|_| self.client_address.clone())
    }
}

/// What follows the head to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing, or a body whose length the head tells.
    Known,
    /// A body of unknown length.
    Chunks,
    /// Another protocol, if the backend agrees (RFC 9110 section 7.8).
    Upgrade,
}

/// The head that the backend gets.
pub fn request(head: &Parts, target: Uri, follows: Follows, ends: &Ends, outbound: &Outbound) -> Request<()> {
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 6);
    let named = named_by_connection(&head.headers);
    for (name, value) in &head.headers {
        if !(is_hop_by_hop(name) || is_ours_to_tell(name) || named.contains(name) || outbound.removed.contains(name)) {
            headers.append(name, value.clone());
        }
    }
    let host = headers.entry(HOST).or_insert_with(|| missing_host(head, ends)).clone();
    headers.insert(X_FORWARDED_HOST, ends.told.host.clone().unwrap_or(host));
    headers.insert(X_FORWARDED_FOR, ends.addresses());
    for name in [X_FORWARDED_PROTO, X_FORWARDED_SCHEME, X_SCHEME] {
        headers.insert(name, HeaderValue::from_static(ends.scheme()));
    }
    let port = ends.told.port.map_or_else(|| ends.front_port.clone(), HeaderValue::from);
    headers.insert(X_FORWARDED_PORT, port);
    headers.insert(X_REAL_IP, ends.client_address.clone());
    match follows {
        Follows::Known => {}
        // hyper would send no body at all with GET if nobody said so.
        Follows::Chunks => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            // Only fields that are announced are sent behind the body.
            for names in head.headers.get_all(TRAILER) {
                headers.append(TRAILER, names.clone());
            }
        }
        Follows::Upgrade => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.get(UPGRADE).into_iter().for_each(|to| drop(headers.insert(UPGRADE, to.clone())));
        }
    }
    for (name, value) in &outbound.headers {
        headers.insert(name, value.clone());
    }
    if follows != Follows::Upgrade && understands_trailers(head) {
        // Servers send trailers only to those who say so (RFC 9110 section 6.5.1).
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if outbound.close && follows != Follows::Upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut request = Request::new(());
    if outbound.old_http && follows == Follows::Known {
        *request.version_mut() = Version::HTTP_10;
    }
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    request
}

/// The same head in HTTP/2 (RFC 9113 section 8.2.2): no header that concerns a connection, and the Host in the target.
pub fn for_http2(request: &mut Request<()>, secured: bool) {
    let authority = request.headers_mut().remove(HOST);
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        request.headers_mut().remove(name);
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if secured { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    // A host that can stand in a request can stand in its target.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
}

fn understands_trailers(head: &Parts) -> bool {
    head.headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"))
}

/// HTTP/1.0 may leave the Host out; the backend is spoken to in 1.1 and needs one (RFC 9112 section 3.3).
fn missing_host(head: &Parts, ends: &Ends) -> HeaderValue {
    let named = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    named.unwrap_or_else(|| ends.front_authority.clone())
}

/// The client wants to go on in another protocol, which it names (RFC 9110 section 7.8). None that carries requests again: a
/// tunnel of `h2c` or TLS would take them past the routes.
pub fn wants_upgrade(head: &Parts) -> bool {
    let mut upgrades = head.headers.get_all(UPGRADE).iter();
    let (first, second) = (upgrades.next(), upgrades.next());
    let one = first.filter(|_| second.is_none()).and_then(|one| one.to_str().ok());
    (head.version == Version::HTTP_11 || head.extensions.get::<Extended>().is_some())
        && one.is_some_and(is_tunnelled)
        && named_by_connection(&head.headers).contains(&UPGRADE)
}

/// One protocol, with or without a version, that is neither HTTP nor TLS (RFC 2817, RFC 7540 section 3.2).
fn is_tunnelled(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+/".contains(&byte);
    !name.is_empty() && protocol.bytes().all(token) && !["http", "h2", "h2c", "h3", "tls"].contains(&name.as_str())
}

/// Takes out of the trailers of a request what only the head may say, and these.
pub fn trailers(trailers: &mut HeaderMap, barred: &[HeaderName]) {
    let says = |name: &&HeaderName| {
        is_hop_by_hop(name)
            || is_ours_to_tell(name)
            || [HOST, CONTENT_LENGTH, AUTHORIZATION, COOKIE].contains(name)
            || barred.contains(name)
    };
    let bad: Vec<_> = trailers.keys().filter(says).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
}

/// Why a backend's answer is not passed on: servers and clients would not agree where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backend's framing is doubtful: {0}")]
pub struct DoubtfulAnswer(&'static str);

/// Checks the headers of an answer and takes out what concerns only the connection to the backend.
pub fn response(headers: &mut HeaderMap) -> Result<(), DoubtfulAnswer> {
    check_framing(headers)?;
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    Ok(())
}

fn check_framing(headers: &HeaderMap) -> Result<(), DoubtfulAnswer> {
    let (mut codings, mut lengths) =
        (headers.get_all(TRANSFER_ENCODING).iter(), headers.get_all(CONTENT_LENGTH).iter());
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(DoubtfulAnswer("both Transfer-Encoding and Content-Length")),
        (Some(coding), None) if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Err(DoubtfulAnswer("a Transfer-Encoding that is not just 'chunked'"))
        }
        (None, Some(length)) if lengths.next().is_some() || !is_length(length.as_bytes()) => {
            Err(DoubtfulAnswer("a Content-Length that is not one plain number"))
        }
        _ => Ok(()),
    }
}

/// A sign would be no digit.
fn is_length(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit) && std::str::from_utf8(text).is_ok_and(|text| text.parse::<u64>().is_ok())
}

/// Headers that `Connection` declares to concern only this connection. A client cannot take away what frames or routes
/// the request.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let names = options.map(<[u8]>::trim_ascii).filter(|option| !matches!(*option, b"keep-alive" | b"close" | b""));
    names
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect()
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");

/// `Expect` is here because the front itself says 100 when it begins to read the body; `Trailer` because only some requests
/// can have trailers.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION].contains(name)
}

/// Headers in which only proxies may speak, in every spelling that CGI-like interfaces take for them; and `Proxy`, which
/// such interfaces turn into a setting of HTTP clients (CVE-2016-5385).
fn is_ours_to_tell(name: &HeaderName) -> bool {
    let ours = |name: &str| {
        name.starts_with("x-forwarded-")
            || name.starts_with("ssl-client-")
            || name == "x-real-ip"
            || name == "x-scheme"
            || name == "proxy"
            || name == FORWARDED.as_str()
    };
    let name = name.as_str();
    ours(name) || (name.contains('_') && ours(&name.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        Ends::new(([192, 0, 2, 7], 40000).into(), ([203, 0, 113, 1], 80).into())
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn forwarded(headers: &[(&str, &str)], follows: Follows) -> Vec<String> {
        let request = request(&head(headers), Uri::from_static("/x"), follows, &ends(), &Outbound::default());
        let mut lines: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        lines
    }

    const ADDED: [&str; 7] = [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: a",
        "x-forwarded-port: 80",
        "x-forwarded-proto: http",
        "x-forwarded-scheme: http",
        "x-real-ip: 192.0.2.7",
        "x-scheme: http",
    ];

    #[test]
    fn hop_by_hop_headers_end_here() {
        let lines = forwarded(
            &[
                ("Host", "a"),
                ("Connection", "close, X-Mine, host"),
                ("Connection", "Content-Length"),
                ("X-Mine", "1"),
                ("Keep-Alive", "5"),
                ("Proxy-Connection", "x"),
                ("TE", "gzip"),
                ("Trailer", "x"),
                ("Upgrade", "h2c"),
                ("Expect", "100-continue"),
                ("Transfer-Encoding", "chunked"),
                ("Accept", "b"),
                ("Accept", "c"),
                ("Content-Length", "3"),
            ],
            Follows::Known,
        );
        let mut expected = vec!["accept: b", "accept: c", "content-length: 3", "host: a"];
        expected.extend(ADDED);
        assert_eq!(lines, expected);
    }

    #[test]
    fn clients_cannot_speak_for_proxies() {
        let lines = forwarded(
            &[
                ("Host", "a"),
                ("X-Forwarded-For", "1.1.1.1"),
                ("x_forwarded_for", "1.1.1.1"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Prefix", "/x"),
                ("X-Real-IP", "1.1.1.1"),
                ("X_Real_IP", "1.1.1.1"),
                ("Forwarded", "for=1.1.1.1"),
                ("Proxy", "http://evil"),
                ("Connection", "x-forwarded-for, x-real-ip"),
            ],
            Follows::Known,
        );
        let mut expected = vec!["host: a"];
        expected.extend(ADDED);
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_follows_is_told() {
        assert!(forwarded(&[("Host", "a")], Follows::Chunks).contains(&"transfer-encoding: chunked".to_owned()));
        let upgrade = forwarded(&[("Host", "a"), ("Upgrade", "exotic/1")], Follows::Upgrade);
        for line in ["connection: upgrade", "upgrade: exotic/1"] {
            assert!(upgrade.iter().any(|one| one == line), "{upgrade:?}");
        }
        let trailed = [("Host", "a"), ("Trailer", "x-sum"), ("TE", "trailers")];
        let chunks = forwarded(&trailed, Follows::Chunks);
        for line in ["trailer: x-sum", "te: trailers", "connection: te"] {
            assert!(chunks.iter().any(|one| one == line), "{chunks:?}");
        }
        assert!(!forwarded(&trailed, Follows::Known).iter().any(|line| line.starts_with("trailer")));
        assert!(forwarded(&[], Follows::Known).contains(&"host: 203.0.113.1".to_owned()));
    }

    #[test]
    fn which_upgrades_are_passed_on() {
        let wants = |upgrades: &[&str]| {
            let upgrades = upgrades.iter().map(|to| ("Upgrade", *to));
            wants_upgrade(&head(
                &[("Connection", "keep-alive, Upgrade")].into_iter().chain(upgrades).collect::<Vec<_>>(),
            ))
        };
        for one in ["WebSocket", "SPDY/3.1", "derp"] {
            assert!(wants(&[one]), "{one}");
        }
        for none in ["h2c", "HTTP/2.0", "http/1.1", "TLS/1.0", "h2", "websocket, h2c", "a b", ""] {
            assert!(!wants(&[none]), "{none}");
        }
        assert!(!wants(&[]) && !wants(&["websocket", "h2c"]));
        assert!(!wants_upgrade(&head(&[("Upgrade", "websocket")])));
    }

    #[test]
    fn trailers_say_nothing_that_the_head_has_to() {
        let names =
            ["x-sum", "x-forwarded-for", "host", "transfer-encoding", "x_real_ip", "grpc-status", "x-auth-user"];
        let mut sent: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect();
        trailers(&mut sent, &[HeaderName::from_static("x-auth-user")]);
        let mut left: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-sum"]);
    }

    #[test]
    fn doubtful_answers() {
        for (headers, fine) in [
            (&[("Content-Length", "5")][..], true),
            (&[("Transfer-Encoding", "chunked")], true),
            (&[], true),
            (&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")], false),
            (&[("Content-Length", "5"), ("Content-Length", "5")], false),
            (&[("Content-Length", "5, 5")], false),
            (&[("Content-Length", "")], false),
            (&[("Content-Length", "+5")], false),
            (&[("Content-Length", "18446744073709551616")], false),
            (&[("Transfer-Encoding", "gzip, chunked")], false),
            (&[("Transfer-Encoding", "identity")], false),
            (&[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], false),
        ] {
            assert_eq!(response(&mut head(headers).headers).is_ok(), fine, "{headers:?}");
        }
        let mut headers =
            head(&[("Connection", "X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "5"), ("Server", "s"), ("Trailer", "T")])
                .headers;
        response(&mut headers).expect("fine");
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["server", "trailer"]);
    }
}
