//! The connection of a client, which two may look at: who answers its requests, and who reads the body of one of them. That one
//! may be a task that goes on to send the body to a backend while the answer goes out.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::head::{self, Head};
use super::received::{Received, Source};
use super::rest::Rest;
use crate::l7::guard::Guard;
use crate::l7::wire::{Step, WireError};

/// Bytes of a head that are read at a time.
const HEAD: usize = 8 << 10;
/// Bytes of a body that are read at a time, at first and at most.
const READ: usize = 8 << 10;
const MOST_READ: usize = 128 << 10;
/// Most bytes of a body that nobody wants that are read and thrown away, so that the connection goes on; they have to be here.
const MOST_SKIPPED: u64 = 64 << 10;
/// What who waits for it gets before it sends the body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection under guard.
pub(super) struct Line<I>(RefCell<State<I>>);

struct State<I> {
    /// `None`: it is closed, or somebody else's.
    io: Option<Guard<I>>,
    /// What was read and not taken.
    inbox: BytesMut,
    /// What is still to come of the body.
    rest: Rest,
    /// How much room the next read has.
    room: usize,
    /// What the client waits for before it sends the body.
    interim: &'static [u8],
    /// That was written, and may be held back.
    flushes: bool,
    /// Somebody has the body, who may read it.
    is_held: bool,
    /// Who waits for a part of it.
    reader: Option<Waker>,
    /// Who waits for its end.
    watcher: Option<Waker>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Line<I> {
    /// Before the first request.
    pub(super) fn new(io: Guard<I>) -> Self {
        Line(RefCell::new(State {
            io: Some(io),
            inbox: BytesMut::new(),
            rest: Rest::Over,
            room: READ,
            interim: &[],
            flushes: false,
            is_held: false,
            reader: None,
            watcher: None,
        }))
    }

    /// The next head; `None`: none comes any more.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Head>>> {
        self.0.borrow_mut().poll_head(cx)
    }

    /// The answer begins: what goes out in front of it, as a part of that is gone already, and whether a request can follow. What is
    /// here of a body that nobody wants is thrown away; if there is more of it, no request behind it is to be found. Who was not
    /// permitted to send its body, and hears the answer instead, may send the next request where that body was expected.
    pub(super) fn begin_answer(&self, cx: &mut Context<'_>) -> (&'static [u8], bool) {
        let mut state = self.0.borrow_mut();
        let interim = std::mem::take(&mut state.interim);
        let asks = interim.len() == CONTINUE.len();
        let goes_on = if state.is_held { !asks } else { state.skip(cx) };
        (if asks { &[] } else { interim }, goes_on)
    }

    /// Waits until nobody reads the body any more; false: it has not come to its end.
    pub(super) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.borrow_mut();
        match state.rest {
            Rest::Over => Poll::Ready(true),
            Rest::Broken => Poll::Ready(false),
            _ if state.is_held => {
                state.watcher = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(state.skip(cx)),
        }
    }

    /// For what goes out.
    pub(super) fn with_io<T>(
        &self,
        act: impl FnOnce(Pin<&mut Guard<I>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.0.borrow_mut().io {
            Some(io) => act(Pin::new(io)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Takes the connection away; who still reads a body from it hears that there is no more.
    pub(super) fn take(&self) -> Option<Guard<I>> {
        let mut state = self.0.borrow_mut();
        state.reader.take().into_iter().for_each(Waker::wake);
        state.io.take()
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + 'static> Line<I> {
    /// The body that follows a head.
    pub(super) fn body(self: &Rc<Self>, head: &Head) -> Received {
        let mut state = self.0.borrow_mut();
        (state.rest, state.room) = (head.rest, READ);
        state.interim = if head.waits { CONTINUE } else { &[] };
        state.is_held = !head.rest.is_over();
        Received::new(state.is_held.then(|| Rc::clone(self) as Rc<dyn Source>))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> State<I> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Head>>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(None)) };
        // Connections that wait for a request are many: none has memory for what it will read.
        let mut space = [MaybeUninit::uninit(); HEAD];
        loop {
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(None));
            }
            let head = if self.inbox.is_empty() {
                Bytes::copy_from_slice(read.filled())
            } else {
                self.inbox.extend_from_slice(read.filled());
                std::mem::take(&mut self.inbox).freeze()
            };
            match head::read(&head) {
                Ok(Some(head)) => return Poll::Ready(Ok(Some(head))),
                Ok(None) => self.inbox = head.into(),
                Err(head::Unlike) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    fn skip(&mut self, cx: &mut Context<'_>) -> bool {
        let mut left = MOST_SKIPPED;
        while !self.is_held && !self.rest.is_over() && left > 0 {
            match self.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(_))) | Poll::Pending => break,
            }
        }
        self.rest.is_over()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        let frame = match self.try_frame(cx) {
            Poll::Pending => {
                self.reader = Some(cx.waker().clone());
                if self.inbox.is_empty() {
                    self.inbox = BytesMut::new();
                }
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame,
        };
        if matches!(frame, Some(Err(_))) {
            self.rest = Rest::Broken;
        }
        if matches!(self.rest, Rest::Over | Rest::Broken) {
            self.inbox = BytesMut::new();
            self.watcher.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(frame)
    }

    fn try_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        if self.rest.is_over() {
            return Poll::Ready(None);
        }
        loop {
            match self.rest.step(&mut self.inbox)? {
                // Both know where a body ends. Should they not agree, no request is to be found behind it.
                _ if self.rest.is_over() && !(self.is_between() && self.inbox.is_empty()) => {
                    return Poll::Ready(Some(Err(WireError::Chunks)));
                }
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::End => return Poll::Ready(None),
                Step::More if self.is_between() => return Poll::Ready(Some(Err(WireError::Chunks))),
                Step::More => {}
            }
            ready!(self.poll_interim(cx))?;
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Some(Err(WireError::Ended)));
            }
        }
    }

    /// The guard is between two requests.
    fn is_between(&self) -> bool {
        self.io.as_ref().is_some_and(Guard::is_between)
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        while !self.interim.is_empty() {
            let count = ready!(Pin::new(&mut *io).poll_write(cx, self.interim))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim = &self.interim[count..];
            self.flushes = true;
        }
        if self.flushes {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.flushes = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(0)) };
        let room = match self.rest {
            // A read that fills all of its room would be followed by one that finds nothing.
            Rest::Length(left) => usize::try_from(left).map_or(self.room, |left| left.saturating_add(1).min(self.room)),
            _ => self.room,
        };
        self.inbox.reserve(room);
        let mut limited = (&mut self.inbox).limit(room);
        let count = ready!(pin!(io.read_buf(&mut limited)).poll(cx))?;
        if count == room {
            self.room = (self.room * 2).min(MOST_READ);
        } else if count < self.room / 4 {
            self.room = (self.room / 2).max(READ);
        }
        Poll::Ready(Ok(count))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Source for Line<I> {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        self.0.borrow_mut().poll_frame(cx)
    }

    fn rest(&self) -> Rest {
        self.0.borrow().rest
    }

    fn forget(&self) {
        let mut state = self.0.borrow_mut();
        state.is_held = false;
        state.watcher.take().into_iter().for_each(Waker::wake);
    }
}
