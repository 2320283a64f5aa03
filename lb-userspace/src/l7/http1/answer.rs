//! The head of an answer in bytes (RFC 9112 sections 4, 6 and 9.3).

use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, TRAILER, TRANSFER_ENCODING};
use hyper::http::response::Parts;
use hyper::{StatusCode, body::SizeHint};

use super::date::Dates;
use super::head::Asked;

/// How the body of an answer goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, with these fields behind them.
    Chunked(Vec<HeaderName>),
    /// Until the connection closes.
    Close,
}

/// What the head of an answer decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) framing: Framing,
    /// The connection takes another request behind it.
    pub(super) keeps: bool,
}

/// Appends the head. Names and values of headers hold no line end, which their types see to.
pub(super) fn write(head: &Parts, body: &SizeHint, asked: Asked, dates: &Dates, out: &mut Vec<u8>) -> Form {
    let Parts { status, headers, extensions, .. } = head;
    let framing = framing(*status, headers, body, asked);
    let keeps = asked.keeps && framing != Framing::Close && !says(headers, b"close");
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    out.reserve(lines + 160);
    status_line(*status, extensions.get::<ReasonPhrase>(), asked.old, out);
    for (name, value) in headers {
        // What frames the body is told below; fields behind a body only chunks can have.
        let told = *name == TRANSFER_ENCODING
            || (*name == CONTENT_LENGTH && !(asked.by_head && *status != StatusCode::NO_CONTENT))
            || (*name == TRAILER && !matches!(framing, Framing::Chunked(_)));
        if !told {
            line(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    frame(*status, headers, body, asked, &framing, out);
    if asked.old && keeps && !says(headers, b"keep-alive") {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    } else if !asked.old && !keeps && *status != StatusCode::SWITCHING_PROTOCOLS && !says(headers, b"close") {
        out.extend_from_slice(b"connection: close\r\n");
    }
    if !headers.contains_key(DATE) {
        dates.with(|date| line(b"date", date, out));
    }
    out.extend_from_slice(b"\r\n");
    Form { framing, keeps: keeps && *status != StatusCode::SWITCHING_PROTOCOLS }
}

fn status_line(status: StatusCode, reason: Option<&ReasonPhrase>, old: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let usual = || status.canonical_reason().unwrap_or("<none>").as_bytes();
    out.extend_from_slice(reason.map_or_else(usual, ReasonPhrase::as_bytes));
    out.extend_from_slice(b"\r\n");
}

/// One line of a head, or of trailers.
pub(super) fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// RFC 9110 section 6.4.1.
fn has_body(status: StatusCode, asked: Asked) -> bool {
    !asked.by_head && can_have_length(status)
}

/// RFC 9110 section 8.6.
fn can_have_length(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn framing(status: StatusCode, headers: &HeaderMap, body: &SizeHint, asked: Asked) -> Framing {
    if !has_body(status, asked) {
        return Framing::Length(0);
    }
    match body.exact().or_else(|| told(headers)) {
        Some(length) => Framing::Length(length),
        None if asked.old => Framing::Close,
        None => Framing::Chunked(if asked.trailers { announced(headers) } else { Vec::new() }),
    }
}

/// What frames the body, unless the headers told it.
fn frame(status: StatusCode, headers: &HeaderMap, body: &SizeHint, asked: Asked, framing: &Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Close => {}
        Framing::Length(length) if has_body(status, asked) => length_line(*length, out),
        // What GET would get.
        Framing::Length(_) if asked.by_head && can_have_length(status) && !headers.contains_key(CONTENT_LENGTH) => {
            body.exact().filter(|length| *length > 0).into_iter().for_each(|length| length_line(length, out));
        }
        Framing::Length(_) => {}
    }
}

fn length_line(length: u64, out: &mut Vec<u8>) {
    line(b"content-length", length.to_string().as_bytes(), out);
}

/// A length that the headers tell of a body that does not know it.
fn told(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, second) = (lengths.next()?.as_bytes(), lengths.next());
    let plain = second.is_none() && length.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(length).ok().filter(|_| plain)?.parse().ok()
}

fn says(headers: &HeaderMap, option: &[u8]) -> bool {
    let mut options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}

/// The fields that are announced to follow the body, and may (RFC 9110 section 6.5.1).
fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let names = lists.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    names.filter(|name| !BARRED.contains(&name.as_str())).collect()
}

/// Fields that decide how a message is read, and so may not follow it.
const BARRED: [&str; 12] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "max-forwards",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
];
