//! The head of a request in bytes (RFC 9112 section 3).

use bytes::{BufMut, BytesMut};
use hyper::body::{Body, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRAILER, TRANSFER_ENCODING};
use hyper::{Request, Version};

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// How the body goes out: as the head says, else as the body does. Who wrote the head has seen to it that no other coding
/// stands there, and not both.
pub(super) fn framing(request: &Request<impl Body>) -> Framing {
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return Framing::Chunked;
    }
    let told = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let known = || SizeHint::exact(&request.body().size_hint());
    told.or_else(known).map_or(Framing::Chunked, Framing::Length)
}

/// Appends the head. Names and values of headers hold no line end, which their types see to.
pub(super) fn write<B>(request: &Request<B>, framing: Framing, out: &mut BytesMut) {
    let (method, headers) = (request.method(), request.headers());
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    out.reserve(method.as_str().len() + target.len() + lines + 64);
    let version = if request.version() == Version::HTTP_10 { " HTTP/1.0\r\n" } else { " HTTP/1.1\r\n" };
    for part in [method.as_str(), " ", target, version] {
        out.put_slice(part.as_bytes());
    }
    for (name, value) in headers {
        line(name, value.as_bytes(), out);
    }
    match framing {
        Framing::Length(length) if !headers.contains_key(CONTENT_LENGTH) && length > 0 => {
            line(&CONTENT_LENGTH, length.to_string().as_bytes(), out);
        }
        Framing::Chunked if !headers.contains_key(TRANSFER_ENCODING) => line(&TRANSFER_ENCODING, b"chunked", out),
        Framing::Length(_) | Framing::Chunked => {}
    }
    out.put_slice(b"\r\n");
}

/// One line of a head, or of trailers.
pub(super) fn line(name: &HeaderName, value: &[u8], out: &mut BytesMut) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The fields that are announced to follow the body; others are not sent there (RFC 9110 section 6.6.2).
pub(super) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    lists.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}
