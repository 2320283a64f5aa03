//! The rules for the head of a request. hyper accepts more than is safe in front of servers that read a request
//! differently: two hosts, both framings, a transfer coding it does not know (RFC 9112 section 11.2).

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request};
use hyper::Uri;

use super::super::host;
use super::{Body, Refusal, beyond, refuse};
use crate::l7::hits::Hit;

/// Most headers in a request.
pub const MAX_HEADERS: usize = 100;

/// It has more headers than it may have.
pub const TOO_MANY: Refusal = beyond(Hit::HeaderCount, 431, "the request has too many headers");

/// How much a head may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Headers.
    pub(super) headers: usize,
    /// Bytes of its target.
    pub(super) target: usize,
}

/// Checks a complete head and tells what body follows.
pub(super) fn check(head: &[u8], limits: Limits) -> Result<Body, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(refuse(400, "the request head is malformed")),
        Err(error) => return Err(malformed(error)),
    }
    if request.headers.len() > limits.headers {
        return Err(TOO_MANY);
    }
    if request.path.is_some_and(|target| target.len() > limits.target) {
        return Err(beyond(Hit::UriLength, 414, "what is asked for is too long"));
    }
    let http10 = request.version == Some(0);
    check_method(request.method.unwrap_or(""))?;
    check_names(request.headers)?;
    check_target(&request, check_host(request.headers, http10)?)?;
    body(request.headers, http10)
}

fn malformed(error: Error) -> Refusal {
    match error {
        Error::TooManyHeaders => TOO_MANY,
        Error::Version => refuse(400, "the HTTP version is neither 1.0 nor 1.1"),
        Error::HeaderName => refuse(400, "a header name is malformed"),
        Error::HeaderValue => refuse(400, "a header value is malformed"),
        _ => refuse(400, "the request line is malformed"),
    }
}

/// CONNECT is for forward proxies; TRACE would show the headers that proxies add.
fn check_method(method: &str) -> Result<(), Refusal> {
    match method {
        "CONNECT" | "TRACE" => Err(refuse(405, "this method is not supported")),
        _ => Ok(()),
    }
}

/// Servers behind CGI-like interfaces take `content_length` for `content-length`.
pub fn passes_for_another(name: &str) -> bool {
    name.contains('_')
        && ["content-length", "transfer-encoding", "host"]
            .iter()
            .any(|framing| name.replace('_', "-").eq_ignore_ascii_case(framing))
}

fn check_names(headers: &[Header<'_>]) -> Result<(), Refusal> {
    if headers.iter().any(|header| passes_for_another(header.name)) {
        return Err(refuse(400, "a header name passes for another one"));
    }
    Ok(())
}

/// Exactly one Host (RFC 9112 section 3.2); HTTP/1.0 may leave it out.
fn check_host<'a>(headers: &[Header<'a>], http10: bool) -> Result<Option<&'a str>, Refusal> {
    let mut values = values(headers, "host");
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(refuse(400, "the request has more than one Host"));
    }
    let Some(value) = first else {
        return if http10 { Ok(None) } else { Err(refuse(400, "the request has no Host")) };
    };
    let value = std::str::from_utf8(value).ok().filter(|value| host::split(value).is_some());
    value.map(Some).ok_or(refuse(400, "the Host is malformed"))
}

/// Origin form, `*` for OPTIONS, or absolute form for the same host (RFC 9112 section 3.2).
fn check_target(request: &Request<'_, '_>, host: Option<&str>) -> Result<(), Refusal> {
    let target = request.path.unwrap_or("");
    // hyper parses it in the same way, and takes more than ASCII.
    if target.contains('#') || !target.is_ascii() || Uri::try_from(target).is_err() {
        return Err(refuse(400, "the request target is malformed"));
    }
    if target.starts_with('/') || (target == "*" && request.method == Some("OPTIONS")) {
        return Ok(());
    }
    let scheme = "http://";
    let Some(rest) =
        target.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &target[scheme.len()..])
    else {
        return Err(refuse(400, "the request target is malformed"));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    if host::split(authority).is_none() || host.is_some_and(|host| !host::is_same(host, authority, 80)) {
        return Err(refuse(400, "the request target names another host than Host"));
    }
    Ok(())
}

/// One framing, stated once, in its plainest form (RFC 9112 section 6).
fn body(headers: &[Header<'_>], http10: bool) -> Result<Body, Refusal> {
    let (mut codings, mut lengths) = (values(headers, "transfer-encoding"), values(headers, "content-length"));
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Body::Length(0)),
        (Some(_), Some(_)) => Err(refuse(400, "the request has both Transfer-Encoding and Content-Length")),
        (Some(_), None) if http10 => Err(refuse(400, "HTTP/1.0 has no Transfer-Encoding")),
        (Some(coding), None) if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Body::Chunked(super::chunked::Chunked::default()))
        }
        (Some(_), None) => Err(refuse(400, "the Transfer-Encoding is not just 'chunked'")),
        (None, Some(length)) => {
            let digits =
                (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit) && lengths.next().is_none();
            let number = std::str::from_utf8(length).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            number.map(Body::Length).ok_or(refuse(400, "the Content-Length is not one plain number"))
        }
    }
}

/// This head, which was checked, asks to go on in another protocol (RFC 9110 section 7.8).
pub(super) fn asks_to_upgrade(head: &[u8]) -> bool {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    if request.parse_with_uninit_headers(head, &mut headers).is_err() {
        return false;
    }
    let mut options = values(request.headers, "connection").flat_map(|value| value.split(|&byte| byte == b','));
    let named = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    named && values(request.headers, "upgrade").next().is_some()
}

fn values<'a>(headers: &[Header<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(lines: &str) -> Result<Body, Refusal> {
        let limits = Limits { headers: MAX_HEADERS, target: 1 << 16 };
        check(lines.replace('|', "\r\n").as_bytes(), limits)
    }

    #[test]
    fn accepted() {
        for (head, expected) in [
            ("GET / HTTP/1.1|Host: a||", Body::Length(0)),
            ("GET / HTTP/1.0||", Body::Length(0)),
            ("OPTIONS * HTTP/1.1|Host: a||", Body::Length(0)),
            ("GET http://A.example/x HTTP/1.1|Host: a.example:80||", Body::Length(0)),
            ("GET http://a?q HTTP/1.1|Host: a||", Body::Length(0)),
            ("POST / HTTP/1.1|Host: a|Content-Length: 12||", Body::Length(12)),
            ("POST / HTTP/1.1|host:a|transfer-encoding:  Chunked ||", Body::Chunked(Default::default())),
            ("GET /{a}?a={b}^[c] HTTP/1.1|Host: a||", Body::Length(0)),
        ] {
            assert_eq!(check_lines(head), Ok(expected), "{head}");
        }
    }

    #[test]
    fn refused() {
        let many = format!("GET / HTTP/1.1|Host: a|{}|", "X: y|".repeat(100));
        for (head, status, part) in [
            ("GET / HTTP/1.1||", 400, "no Host"),
            ("GET / HTTP/1.1|Host: a|Host: a||", 400, "more than one Host"),
            ("GET / HTTP/1.0|Host: a|Host: b||", 400, "more than one Host"),
            ("GET / HTTP/1.1|Host: ||", 400, "Host is malformed"),
            ("GET / HTTP/1.1|Host: a,b||", 400, "Host is malformed"),
            ("GET / HTTP/1.1|Host: u@a||", 400, "Host is malformed"),
            ("GET / HTTP/1.1|Host: a/b||", 400, "Host is malformed"),
            ("GET / HTTP/1.1|Host : a||", 400, "header name"),
            ("GET / HTTP/1.1|Host: a|X: b| c||", 400, "header name"),
            ("GET / HTTP/1.1| Host: a||", 400, "header name"),
            ("GET / HTTP/1.1|Host: a|Content_Length: 5||", 400, "passes for another"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 5||", 400, "both"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked||", 400, "not just"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, chunked||", 400, "not just"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: identity, chunked||", 400, "not just"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||", 400, "not just"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: identity||", 400, "not just"),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: xchunked||", 400, "not just"),
            ("POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||", 400, "HTTP/1.0"),
            ("POST / HTTP/1.1|Host: a|Content-Length: 5|Content-Length: 5||", 400, "plain number"),
            ("POST / HTTP/1.1|Host: a|Content-Length: 5, 5||", 400, "plain number"),
            ("POST / HTTP/1.1|Host: a|Content-Length: +5||", 400, "plain number"),
            ("POST / HTTP/1.1|Host: a|Content-Length: -1||", 400, "plain number"),
            ("POST / HTTP/1.1|Host: a|Content-Length: 0x5||", 400, "plain number"),
            ("POST / HTTP/1.1|Host: a|Content-Length:||", 400, "plain number"),
            ("POST / HTTP/1.1|Host: a|Content-Length: 9999999999999999999||", 400, "plain number"),
            ("GET http://b/ HTTP/1.1|Host: a||", 400, "another host"),
            ("GET http://a:81/ HTTP/1.1|Host: a||", 400, "another host"),
            ("GET http://u@a/ HTTP/1.1|Host: a||", 400, "another host"),
            ("GET https://a/ HTTP/1.1|Host: a||", 400, "target"),
            ("GET a/b HTTP/1.1|Host: a||", 400, "target"),
            ("GET * HTTP/1.1|Host: a||", 400, "target"),
            ("GET /a#b HTTP/1.1|Host: a||", 400, "target"),
            ("GET /?\"a\" HTTP/1.1|Host: a||", 400, "target"),
            ("GET /ä HTTP/1.1|Host: a||", 400, "target"),
            ("GET  / HTTP/1.1|Host: a||", 400, "request line"),
            ("GET /  HTTP/1.1|Host: a||", 400, "version"),
            ("GET / HTTP/1.1 |Host: a||", 400, ""),
            ("GET /|Host: a||", 400, ""),
            ("G@T / HTTP/1.1|Host: a||", 400, "request line"),
            ("PRI * HTTP/2.0||", 400, "version"),
            ("CONNECT a:80 HTTP/1.1|Host: a||", 405, "method"),
            ("TRACE / HTTP/1.1|Host: a||", 405, "method"),
            (&many, 431, "too many headers"),
        ] {
            let refusal = check_lines(head).expect_err(head);
            assert_eq!(refusal.status, status, "{head}: {refusal:?}");
            assert!(refusal.reason.contains(part), "{head}: {refusal:?}");
        }
    }
}
