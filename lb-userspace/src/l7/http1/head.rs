//! The head of a request, as the guard has passed it (RFC 9112 sections 3 and 6.3).

use std::mem::MaybeUninit;

use bytes::Bytes;
use httparse::Status;
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING};
use hyper::{Method, Request, Uri, Version};

use super::rest::Rest;
use crate::l7::guard::MAX_HEADERS;
use crate::l7::wire::keeps;

/// A request whose body is still to come.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    /// What follows.
    pub(super) rest: Rest,
    /// The client waits to be told to send that (RFC 9110 section 10.1.1).
    pub(super) waits: bool,
    pub(super) asked: Asked,
}

/// What a request means for the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// No body follows the answer.
    pub(super) by_head: bool,
    /// The client speaks HTTP/1.0.
    pub(super) old: bool,
    /// The client wants to go on with the connection.
    pub(super) keeps: bool,
    /// It understands trailers.
    pub(super) trailers: bool,
}

/// Why there is no head, where the guard has seen one: the two do not agree, and nothing more is read.
#[derive(Debug)]
pub(super) struct Unlike;

/// Reads a head; `None`: it is not complete.
pub(super) fn read(bytes: &Bytes) -> Result<Option<Head>, Unlike> {
    let mut space = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut space) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(Status::Partial) => return Ok(None),
        Ok(Status::Complete(_)) | Err(_) => return Err(Unlike),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Unlike);
    };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Unlike)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).map_err(|_| Unlike)?;
        headers.append(name, value);
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| Unlike)?;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| Unlike)?;
    *request.version_mut() = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    finish(request).map(Some)
}

fn finish(request: Request<()>) -> Result<Head, Unlike> {
    let (headers, old) = (request.headers(), request.version() == Version::HTTP_10);
    let rest = rest(headers)?;
    let told = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let waits = !old && !rest.is_over() && headers.get(EXPECT).is_some_and(told);
    let asked = Asked {
        by_head: request.method() == Method::HEAD,
        old,
        keeps: keeps(headers, old),
        trailers: understands_trailers(headers),
    };
    Ok(Head { rest, waits, asked, request })
}

/// The guard lets pass one framing, in its plainest form.
fn rest(headers: &HeaderMap) -> Result<Rest, Unlike> {
    match (headers.get(TRANSFER_ENCODING), headers.get(CONTENT_LENGTH)) {
        (None, None) => Ok(Rest::Over),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Rest::chunked()),
        (None, Some(length)) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok()).ok_or(Unlike)?;
            Ok(Rest::length(length))
        }
        (Some(_), _) => Err(Unlike),
    }
}

fn understands_trailers(headers: &HeaderMap) -> bool {
    let mut options = headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}
