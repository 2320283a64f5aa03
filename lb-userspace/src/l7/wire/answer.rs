//! The head of an answer (RFC 9112 sections 4 and 6.3).

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::BytesMut;
use httparse::Status;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Response, StatusCode, Version};

use super::WireError;

/// Most headers of an answer.
const MAX_HEADERS: usize = 100;

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the backend closes the connection.
    Close,
}

/// A head, and how to go on.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// The connection takes another request afterwards.
    pub(super) kept: bool,
}

/// Takes the head off the beginning of these bytes; `None`: it is not complete.
pub(super) fn take(inbox: &mut BytesMut, to_head: bool) -> Result<Option<Head>, WireError> {
    let mut places = [Place::default(); MAX_HEADERS];
    let Some(found) = find(inbox, &mut places)? else { return Ok(None) };
    let bytes = inbox.split_to(found.length).freeze();
    let mut response = Response::new(());
    *response.version_mut() = if found.old { Version::HTTP_10 } else { Version::HTTP_11 };
    // httparse takes three digits of any kind.
    let status = StatusCode::from_u16(found.code).map_err(|_| httparse::Error::Status)?;
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(found.headers);
    for place in &places[..found.headers] {
        let name = HeaderName::from_bytes(&bytes[place.name()]).map_err(|_| httparse::Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(place.value()));
        headers.append(name, value.map_err(|_| httparse::Error::HeaderValue)?);
    }
    let reason = bytes.slice(found.reason.value());
    if status.canonical_reason().map(str::as_bytes) != Some(&reason[..]) {
        let reason = ReasonPhrase::try_from(reason);
        reason.into_iter().for_each(|reason| drop(response.extensions_mut().insert(reason)));
    }
    if found.old && response.headers().contains_key(TRANSFER_ENCODING) {
        return Err(WireError::OldChunks);
    }
    let framing = framing(response.headers(), status, to_head);
    let upgrades = status == StatusCode::SWITCHING_PROTOCOLS;
    let kept = framing != Framing::Close && !upgrades && keeps(response.headers(), found.old);
    Ok(Some(Head { response, framing, kept }))
}

/// Where a header stands among the bytes of the head.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    name: (usize, usize),
    value: (usize, usize),
}

impl Place {
    fn name(&self) -> Range<usize> {
        self.name.0..self.name.1
    }

    fn value(&self) -> Range<usize> {
        self.value.0..self.value.1
    }
}

/// A complete head.
struct Found {
    length: usize,
    old: bool,
    code: u16,
    reason: Place,
    headers: usize,
}

fn find(bytes: &[u8], places: &mut [Place; MAX_HEADERS]) -> Result<Option<Found>, WireError> {
    let mut space = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let Status::Complete(length) = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut space)? else {
        return Ok(None);
    };
    // All of these are parts of `bytes`.
    let at = |part: &[u8]| {
        let start = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize).min(length);
        (start, (start + part.len()).min(length))
    };
    for (place, header) in places.iter_mut().zip(parsed.headers.iter()) {
        *place = Place { name: at(header.name.as_bytes()), value: at(header.value) };
    }
    let reason = Place { name: (0, 0), value: parsed.reason.map_or((0, 0), |reason| at(reason.as_bytes())) };
    let code = parsed.code.unwrap_or_default();
    Ok(Some(Found { length, old: parsed.version == Some(0), code, reason, headers: parsed.headers.len() }))
}

/// These bytes may hold the end of a head that was not complete when only so many of them were there.
pub(super) fn may_end(bytes: &[u8], before: usize) -> bool {
    let new = &bytes[before.saturating_sub(3)..];
    before == 0 || new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

/// Where framings contradict each other, or are none, the connection ends with the answer; whoever forwards it refuses it.
fn framing(headers: &HeaderMap, status: StatusCode, to_head: bool) -> Framing {
    if to_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Framing::Length(0);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (Some(coding), None, None, None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        (None, None, Some(length), None) => digits(length.as_bytes()).map_or(Framing::Close, Framing::Length),
        _ => Framing::Close,
    }
}

/// A sign would be no digit.
fn digits(text: &[u8]) -> Option<u64> {
    let plain = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

/// Whether the connection goes on behind a message. HTTP/1.1 keeps connections unless it says otherwise, and 1.0 the other way
/// round (RFC 9112 section 9.3).
pub(in crate::l7) fn keeps(headers: &HeaderMap, old: bool) -> bool {
    let says = |option: &str| {
        let values = headers.get_all(CONNECTION).iter();
        let mut options = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        options.any(|one| one.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    !says("close") && (!old || says("keep-alive"))
}
