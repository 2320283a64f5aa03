//! An answer on its way from the backend.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use hyper::{Method, Response, StatusCode};
use tokio::io::AsyncReadExt;

use super::answer::{self, Framing};
use super::chunks::{Chunks, Step};
use super::{Io, MAX_HEAD, WireError};

/// Bytes that are read at a time, at first and at most. A head is short, and so is most of what comes with it.
const READ: usize = 8 << 10;
const MOST_READ: usize = 128 << 10;

/// Position in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    /// Before the end of its head.
    #[default]
    Head,
    /// So many bytes of its body are left.
    Length(u64),
    Chunked(Chunks),
    /// What comes until the end of the connection.
    Close,
    /// After its end.
    End,
}

/// The first bytes of what has come. A short piece does not keep a long buffer from being used again, and does not hold it
/// as long as a slow client takes.
pub(in crate::l7) fn cut(inbox: &mut BytesMut, count: usize) -> Bytes {
    if inbox.capacity() <= READ || count > inbox.capacity() / 8 {
        return inbox.split_to(count).freeze();
    }
    let piece = Bytes::copy_from_slice(&inbox[..count]);
    inbox.advance(count);
    piece
}

/// What has come, and where in the answer it ends.
#[derive(Default)]
pub(super) struct Receiving {
    inbox: BytesMut,
    /// Bytes of a head that were looked at and are not all of it.
    looked: usize,
    /// How much room the next read has.
    room: usize,
    position: Position,
    /// The request was HEAD: a length means nothing.
    to_head: bool,
    kept: bool,
}

impl Receiving {
    /// The answer to such a request.
    pub(super) fn begin(&mut self, method: &Method) {
        self.position = Position::Head;
        self.room = READ;
        self.looked = 0;
        self.to_head = *method == Method::HEAD;
        self.kept = false;
    }

    /// All of it was taken.
    pub(super) fn is_complete(&self) -> bool {
        self.position == Position::End
    }

    /// The connection can be used again; nothing came that nobody asked for.
    pub(super) fn is_kept(&self) -> bool {
        self.kept && self.inbox.is_empty()
    }

    /// What came behind the head.
    pub(super) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.inbox).freeze()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.position {
            Position::Length(left) => SizeHint::with_exact(left),
            Position::End => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }

    /// The head of the final answer; those before it are for us alone.
    pub(super) fn poll_head(
        &mut self,
        io: &mut Box<dyn Io>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, WireError>> {
        loop {
            if let Some(response) = self.head()? {
                return Poll::Ready(Ok(response));
            }
            if ready!(self.poll_read(io, cx))? == 0 {
                return Poll::Ready(Err(WireError::Ended));
            }
        }
    }

    fn head(&mut self) -> Result<Option<Response<()>>, WireError> {
        while !self.inbox.is_empty() {
            // One that drips in is not parsed anew for each of its bytes.
            let ends = answer::may_end(&self.inbox, self.looked);
            let head = if ends { answer::take(&mut self.inbox, self.to_head)? } else { None };
            let Some(head) = head else {
                self.looked = self.inbox.len();
                return if self.looked < MAX_HEAD { Ok(None) } else { Err(WireError::LongHead) };
            };
            self.looked = 0;
            let status = head.response.status();
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            self.kept = head.kept;
            self.position = match head.framing {
                Framing::Length(0) => Position::End,
                Framing::Length(length) => Position::Length(length),
                Framing::Chunked => Position::Chunked(Chunks::default()),
                Framing::Close => Position::Close,
            };
            self.rest();
            return Ok(Some(head.response));
        }
        Ok(None)
    }

    pub(super) fn poll_body(
        &mut self,
        io: &mut Box<dyn Io>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        loop {
            match self.piece()? {
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::End => return Poll::Ready(None),
                Step::More => {}
            }
            if ready!(self.poll_read(io, cx))? == 0 {
                if self.position != Position::Close {
                    return Poll::Ready(Some(Err(WireError::Ended)));
                }
                self.position = Position::End;
            }
        }
    }

    /// The next piece of what is here.
    fn piece(&mut self) -> Result<Step, WireError> {
        let step = match &mut self.position {
            Position::Chunked(chunks) => {
                let step = chunks.step(&mut self.inbox)?;
                chunks.finish(&mut self.inbox);
                if chunks.is_complete() {
                    self.position = Position::End;
                }
                step
            }
            Position::Head | Position::End => Step::End,
            Position::Length(_) | Position::Close if self.inbox.is_empty() => Step::More,
            Position::Length(left) => {
                let count = usize::try_from(*left).map_or(self.inbox.len(), |left| left.min(self.inbox.len()));
                *left -= count as u64;
                if *left == 0 {
                    self.position = Position::End;
                }
                Step::Frame(Frame::data(cut(&mut self.inbox, count)))
            }
            Position::Close => {
                let count = self.inbox.len();
                Step::Frame(Frame::data(cut(&mut self.inbox, count)))
            }
        };
        self.rest();
        Ok(step)
    }

    /// A connection that waits takes no memory for what it reads.
    fn rest(&mut self) {
        if self.position == Position::End && self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
    }

    /// Reads once; of a long body as much as there is of it, and where nobody knows its length more each time.
    fn poll_read(&mut self, io: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<Result<usize, WireError>> {
        let room = match self.position {
            // A read that fills all of its room would be followed by one that finds nothing.
            Position::Length(left) => usize::try_from(left).unwrap_or(MOST_READ).saturating_add(1).min(MOST_READ),
            _ => self.room,
        };
        self.inbox.reserve(room);
        let mut limited = (&mut self.inbox).limit(room);
        let count = ready!(pin!(io.read_buf(&mut limited)).poll(cx))?;
        if count == room && self.position != Position::Head {
            self.room = (self.room * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(count))
    }
}
