//! The head of a request of HTTP/2 or HTTP/3, in the form that the rest of the front knows.

use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Uri};

use super::extended;
use crate::l7::guard::{Limits, Refusal, TOO_MANY, beyond, passes_for_another, refuse};
use crate::l7::hits::Hit;
use crate::l7::host;

/// Checks a request and gives it a Host; one that is refused carries the [`Refusal`] among its extensions.
pub(in crate::l7) fn prepare<B>(mut request: Request<B>, secured: bool, limits: &Limits) -> Request<B> {
    join_cookies(request.headers_mut());
    let extended = extended::prepare(&mut request);
    let checked = extended.and_then(|()| authority(&request, secured));
    match checked.and_then(|authority| check(&request, limits).map(|()| authority)) {
        Ok(authority) => {
            request.headers_mut().insert(HOST, authority);
            if let Some(target) = request.uri().path_and_query().map(|target| Uri::from(target.clone())) {
                *request.uri_mut() = target;
            }
        }
        Err(refusal) => drop(request.extensions_mut().insert(refusal)),
    }
    request
}

/// What `:authority` says, or Host without it; if there are both they are the same (RFC 9113 section 8.3.1).
fn authority<B>(request: &Request<B>, secured: bool) -> Result<HeaderValue, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (written, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(refuse(400, "the request has more than one Host"));
    }
    let written = written.map(|host| host.to_str().map_err(|_| refuse(400, "the Host is malformed"))).transpose()?;
    let named = request.uri().authority().map(|authority| authority.as_str());
    let text = named.or(written).ok_or(refuse(400, "the request has no Host"))?;
    if host::split(text).is_none() {
        return Err(refuse(400, "the Host is malformed"));
    }
    let usual = if secured { 443 } else { 80 };
    if written.is_some_and(|written| !host::is_same(text, written, usual)) {
        return Err(refuse(400, "the request target names another host than Host"));
    }
    HeaderValue::from_str(text).map_err(|_| refuse(400, "the Host is malformed"))
}

fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), Refusal> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(refuse(405, "this method is not supported"));
    }
    let path = request.uri().path();
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let star = path == "*" && request.method() == Method::OPTIONS;
    if !(path.starts_with('/') || star) || target.contains('#') || !target.is_ascii() {
        return Err(refuse(400, "the request target is malformed"));
    }
    let headers = request.headers();
    if headers.len() > limits.header_count {
        return Err(TOO_MANY);
    }
    if target.len() > limits.line_size.min(limits.target_size) {
        return Err(beyond(Hit::UriLength, 414, "what is asked for is too long"));
    }
    if headers.iter().any(|(name, value)| name.as_str().len() + value.len() > limits.line_size) {
        return Err(beyond(Hit::HeaderSize, 431, "a header is too long"));
    }
    if headers.keys().any(|name| passes_for_another(name.as_str())) {
        return Err(refuse(400, "a header name passes for another one"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().is_none_or(|length| is_number(length.as_bytes()));
    if !length || lengths.next().is_some() {
        return Err(refuse(400, "the Content-Length is not one plain number"));
    }
    Ok(())
}

/// One that every server reads in the same way.
fn is_number(length: &[u8]) -> bool {
    (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit)
}

/// Clients may split cookies for the sake of compression; HTTP/1 wants them in one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(uri: &str, method: &str, headers: &[(&str, &str)]) -> Result<Request<()>, Refusal> {
        let mut request = Request::builder().uri(uri).method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let limits = Limits { line_size: 4096, ..Limits::default() };
        let request = prepare(request.body(()).expect("a request"), true, &limits);
        match request.extensions().get::<Refusal>() {
            Some(refusal) => Err(*refusal),
            None => Ok(request),
        }
    }

    #[test]
    fn authority_becomes_host_and_cookies_one() {
        let headers = [("cookie", "a=1"), ("cookie", "b=2"), ("host", "A.example:443")];
        let request = prepared("https://a.example/x?y", "GET", &headers).expect("good");
        assert_eq!(request.headers()[HOST], "a.example");
        assert_eq!(request.uri(), "/x?y");
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        let crumbs: Vec<_> = std::iter::repeat_n(("cookie", "a=1"), 150).collect();
        assert_eq!(prepared("https://a.example/", "GET", &crumbs).expect("one cookie").headers().len(), 2);
        assert_eq!(prepared("/x", "GET", &[("host", "b")]).expect("good").headers()[HOST], "b");
    }

    #[test]
    fn refused() {
        let many: Vec<_> = std::iter::repeat_n(("x", "y"), 101).collect();
        let long = "x".repeat(4096);
        for (uri, method, headers, status, part) in [
            ("/", "GET", &[][..], 400, "no Host"),
            ("https://a/", "GET", &[("host", "b")], 400, "another host"),
            ("https://a/", "GET", &[("host", "a:80")], 400, "another host"),
            ("/", "GET", &[("host", "a"), ("host", "a")], 400, "more than one"),
            ("https://u@a/", "GET", &[], 400, "malformed"),
            ("a:80", "CONNECT", &[], 405, "method"),
            ("https://a/", "TRACE", &[], 405, "method"),
            ("https://a/", "GET", &[("content_length", "1")], 400, "passes for"),
            ("https://a/", "POST", &[("content-length", "1"), ("content-length", "1")], 400, "plain number"),
            ("https://a/", "POST", &[("content-length", "")], 400, "plain number"),
            ("https://a/", "GET", &many, 431, "too many headers"),
            ("https://a/", "GET", &[("x", &long)], 431, "too long"),
            (&format!("https://a/{long}"), "GET", &[], 414, "too long"),
        ] {
            let refusal = prepared(uri, method, headers).expect_err(uri);
            assert!(refusal.status == status && refusal.reason.contains(part), "{uri} {method}: {refusal:?}");
        }
    }
}
