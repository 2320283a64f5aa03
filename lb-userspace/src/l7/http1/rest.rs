//! What is still to come of the body of a request.

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};

use crate::l7::wire::{Chunks, Step, WireError, cut};

/// Position in the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing comes any more.
    Over,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// It will never come to its end.
    Broken,
}

impl Rest {
    /// A body of this length.
    pub(super) fn length(length: u64) -> Self {
        if length == 0 { Rest::Over } else { Rest::Length(length) }
    }

    /// A body in chunks.
    pub(super) fn chunked() -> Self {
        Rest::Chunked(Chunks::default())
    }

    /// Nothing comes any more.
    pub(super) fn is_over(self) -> bool {
        self == Rest::Over
    }

    pub(super) fn size_hint(self) -> SizeHint {
        match self {
            Rest::Over => SizeHint::with_exact(0),
            Rest::Length(left) => SizeHint::with_exact(left),
            Rest::Chunked(_) | Rest::Broken => SizeHint::default(),
        }
    }

    /// Takes the next piece out of what has been read.
    pub(super) fn step(&mut self, inbox: &mut BytesMut) -> Result<Step, WireError> {
        let step = match self {
            Rest::Over => return Ok(Step::End),
            Rest::Broken => return Err(WireError::Ended),
            Rest::Length(_) if inbox.is_empty() => return Ok(Step::More),
            Rest::Length(left) => {
                let count = usize::try_from(*left).map_or(inbox.len(), |left| left.min(inbox.len()));
                *left -= count as u64;
                Step::Frame(data(inbox, count))
            }
            Rest::Chunked(chunks) => {
                let step = chunks.step(inbox)?;
                chunks.finish(inbox);
                step
            }
        };
        match self {
            Rest::Length(0) => *self = Rest::Over,
            Rest::Chunked(chunks) if chunks.is_complete() => *self = Rest::Over,
            _ => {}
        }
        Ok(step)
    }
}

fn data(inbox: &mut BytesMut, count: usize) -> Frame<Bytes> {
    Frame::data(cut(inbox, count))
}
