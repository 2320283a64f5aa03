//! A chunked body (RFC 9112 section 7.1), taken apart.

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::WireError;
use super::receiving::cut;

/// Longest line with the size of a chunk.
const MAX_LINE: usize = 4 << 10;
/// Most trailers, and their length.
const MAX_TRAILERS: usize = 100;
const MAX_TRAILERS_LENGTH: usize = 16 << 10;

/// Position in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::l7) enum Chunks {
    /// Before the size of a chunk.
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// Before the end of the line after its bytes.
    DataEnd,
    /// After the last chunk.
    Trailers,
    /// After the end.
    End,
}

/// What comes next of a body.
pub(in crate::l7) enum Step {
    /// A piece.
    Frame(Frame<Bytes>),
    /// More has to be read.
    More,
    /// Nothing.
    End,
}

impl Chunks {
    /// Takes the next piece out of what has been read.
    pub(in crate::l7) fn step(&mut self, inbox: &mut BytesMut) -> Result<Step, WireError> {
        loop {
            match *self {
                Chunks::Size => match line(inbox)? {
                    Some(size) => *self = if size == 0 { Chunks::Trailers } else { Chunks::Data(size) },
                    None => return Ok(Step::More),
                },
                Chunks::Data(left) if inbox.is_empty() && left > 0 => return Ok(Step::More),
                Chunks::Data(left) => {
                    let count = usize::try_from(left).map_or(inbox.len(), |left| left.min(inbox.len()));
                    let rest = left - count as u64;
                    *self = if rest == 0 { Chunks::DataEnd } else { Chunks::Data(rest) };
                    return Ok(Step::Frame(Frame::data(cut(inbox, count))));
                }
                Chunks::DataEnd if inbox.len() < 2 => return Ok(Step::More),
                Chunks::DataEnd if inbox.starts_with(b"\r\n") => {
                    inbox.advance(2);
                    *self = Chunks::Size;
                }
                Chunks::DataEnd => return Err(WireError::Chunks),
                Chunks::Trailers => {
                    let Some(trailers) = trailers(inbox)? else { return Ok(Step::More) };
                    *self = Chunks::End;
                    if !trailers.is_empty() {
                        return Ok(Step::Frame(Frame::trailers(trailers)));
                    }
                }
                Chunks::End => return Ok(Step::End),
            }
        }
    }

    /// All chunks and trailers were taken.
    pub(in crate::l7) fn is_complete(self) -> bool {
        self == Chunks::End
    }

    /// Takes the end that is already here, so that a connection is free as soon as its last byte came.
    pub(in crate::l7) fn finish(&mut self, inbox: &mut BytesMut) {
        if *self == Chunks::DataEnd && inbox.starts_with(LAST) {
            inbox.advance(LAST.len());
            *self = Chunks::End;
        }
    }
}

/// What follows the bytes of the last chunk where there are no trailers.
const LAST: &[u8] = b"\r\n0\r\n\r\n";

/// The size in the line that begins here; extensions mean nothing to us.
fn line(inbox: &mut BytesMut) -> Result<Option<u64>, WireError> {
    let Some(end) = inbox.iter().take(MAX_LINE).position(|&byte| byte == b'\n') else {
        return if inbox.len() < MAX_LINE { Ok(None) } else { Err(WireError::Chunks) };
    };
    let line = inbox.split_to(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or(WireError::Chunks)?;
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let blank = digits.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let digits = &digits[..digits.len() - blank];
    let hex =
        !line.contains(&b'\r') && !digits.is_empty() && digits.len() <= 15 && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| hex).ok_or(WireError::Chunks)?;
    u64::from_str_radix(digits, 16).map(Some).map_err(|_| WireError::Chunks)
}

fn trailers(inbox: &mut BytesMut) -> Result<Option<HeaderMap>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let mut trailers = HeaderMap::new();
    let length = match httparse::parse_headers(inbox, &mut headers)? {
        httparse::Status::Partial if inbox.len() < MAX_TRAILERS_LENGTH => return Ok(None),
        httparse::Status::Partial => return Err(WireError::Chunks),
        httparse::Status::Complete((length, headers)) => {
            for header in headers {
                let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| WireError::Chunks)?;
                trailers.append(name, HeaderValue::from_bytes(header.value).map_err(|_| WireError::Chunks)?);
            }
            length
        }
    };
    inbox.advance(length);
    Ok(Some(trailers))
}
