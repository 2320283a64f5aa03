//! Counts the frames of a client of HTTP/2 (RFC 9113 section 4.1) before anybody acts on them: what costs us work and the
//! client nothing has a budget, and a connection that goes beyond it ends.
//!
//! The library bounds what it holds, not what it does: a stream that is opened and given up at once is forgotten as soon as
//! its request has been handed on, so nothing in it counts how often that happens (CVE-2023-44487).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::l7::hits::Hit;

mod count;

pub use count::{Budget, Count};

/// A client's connection whose frames are counted.
#[derive(Debug)]
pub(super) struct Counted<I> {
    io: I,
    /// Bytes that were read before.
    first: BytesMut,
    count: Count,
    /// The limit for which it ends.
    cut: Rc<Cell<Option<Hit>>>,
    /// Time for a head.
    head: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<I> Counted<I> {
    /// `first` has been read already; the cell tells for which limit the connection ended.
    pub(super) fn new(io: I, first: BytesMut, budget: Budget, head: Duration) -> (Self, Rc<Cell<Option<Hit>>>) {
        let cut = Rc::new(Cell::new(None));
        let count = Count::new(budget, Instant::now());
        (Counted { io, first, count, cut: Rc::clone(&cut), head, timer: None }, cut)
    }

    fn cut(&self, limit: Hit) -> io::Error {
        self.cut.set(Some(limit));
        io::ErrorKind::InvalidData.into()
    }

    /// Whether a head that has begun has used up its time.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(begun) = self.count.head_since() else {
            self.timer = None;
            return Poll::Pending;
        };
        let end = begun + self.head;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = out.filled().len();
        if this.first.is_empty() {
            if Pin::new(&mut this.io).poll_read(cx, out)?.is_pending() {
                ready!(this.poll_head(cx));
                return Poll::Ready(Err(this.cut(Hit::HeadTime)));
            }
        } else {
            let count = this.first.len().min(out.remaining());
            out.put_slice(&this.first[..count]);
            this.first.advance(count);
            if this.first.is_empty() {
                this.first = BytesMut::new();
            }
        }
        match this.count.see(&out.filled()[start..], Instant::now()) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(limit) => Poll::Ready(Err(this.cut(limit))),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.count.sent(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bytes))?;
        self.count.sent(written as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
