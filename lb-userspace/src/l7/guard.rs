//! Stands between a client's socket and `http1`: passes on only requests whose head is beyond doubt, never more than one
//! request at a time, and keeps the time limits of the connection.
//!
//! A refused request is passed on as a stand-in that carries nothing of what the client sent; the service asks
//! [`Handle::refusal`] and answers with it, and the connection ends.

mod chunked;
mod framer;
mod head;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::l7::hits::Hit;
use crate::l7::rate::{Debt, Floor};
pub use framer::{Body, Framer, MAX_HEAD, Step};
use head::asks_to_upgrade;
pub use head::{MAX_HEADERS, TOO_MANY, passes_for_another};

/// Why a request is refused before anyone looks at what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code of the answer.
    pub status: u16,
    /// One sentence for people; holds nothing that the client sent.
    pub reason: &'static str,
    /// The limit that was reached, if that is why.
    pub limit: Option<Hit>,
}

/// A refusal with this status and reason.
pub const fn refuse(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason, limit: None }
}

/// A refusal of what goes beyond a limit.
pub const fn beyond(limit: Hit, status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason, limit: Some(limit) }
}

/// Limits of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between two requests.
    pub idle: Duration,
    /// From the first to the last byte of a head.
    pub head: Duration,
    /// Without a byte of a body in, or a byte of an answer out.
    pub stall: Duration,
    /// For the client to close after we did.
    pub linger: Duration,
    /// Longest head, in bytes; at most [`MAX_HEAD`].
    pub head_size: usize,
    /// Longest line of it.
    pub line_size: usize,
    /// Longest target of a request, in bytes.
    pub target_size: usize,
    /// Most headers; at most [`MAX_HEADERS`].
    pub header_count: usize,
    /// Bytes per second of a body or an answer, after a grace of `stall`; 0: any speed will do.
    pub rate: u64,
}

impl Limits {
    /// The least speed.
    pub fn floor(&self) -> Floor {
        Floor { rate: self.rate, grace: self.stall }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Limits {
            idle: seconds(75),
            head: seconds(60),
            stall: seconds(60),
            linger: seconds(2),
            head_size: MAX_HEAD,
            line_size: MAX_HEAD,
            target_size: MAX_HEAD,
            header_count: MAX_HEADERS,
            rate: 100,
        }
    }
}

/// What is seen instead of a refused request.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Most bytes that are read and thrown away after the answer, so that the client gets to read it.
const MAX_LINGER: usize = 1 << 20;

/// The service's view of the guard of its connection.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    refusal: OnceLock<Refusal>,
    broken_body: OnceLock<Refusal>,
    tunnel: AtomicBool,
    /// The limit for which the connection ends, as its number and 1.
    cut: AtomicU8,
}

/// Somebody was told why the connection ends.
const TOLD: u8 = u8::MAX;

impl Handle {
    /// Set if the request that was just passed on is a stand-in.
    pub fn refusal(&self) -> Option<Refusal> {
        self.0.refusal.get().copied()
    }

    /// Set if the body of the request that is on its way cannot go on.
    pub fn broken_body(&self) -> Option<Refusal> {
        self.0.broken_body.get().copied()
    }

    /// From the next byte on this is no HTTP any more: the answer 101 is on its way.
    pub fn become_tunnel(&self) {
        self.0.tunnel.store(true, Ordering::Relaxed);
    }

    /// The limit for which the connection ends; whoever asks first counts it.
    pub fn cut_for(&self) -> Option<Hit> {
        match self.0.cut.swap(TOLD, Ordering::Relaxed) {
            0 | TOLD => None,
            number => Hit::numbered(usize::from(number) - 1),
        }
    }

    fn cut(&self, limit: Hit) {
        // The first one stands.
        let _ = self.0.cut.compare_exchange(0, limit as u8 + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_tunnel(&self) -> bool {
        self.0.tunnel.load(Ordering::Relaxed)
    }
}

/// A client's socket under guard.
#[derive(Debug)]
pub struct Guard<I> {
    io: I,
    handle: Handle,
    limits: Limits,
    framer: Framer,
    /// Bytes from the client that were not passed on yet.
    buffer: BytesMut,
    /// So many of them may be.
    released: usize,
    /// A refused request is passed on like any other, and then nothing.
    refused: bool,
    eof: bool,
    waiting: Option<Waiting>,
    /// When a head began whose first bytes were here from the start.
    begun: Option<Instant>,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    lingered: Option<usize>,
    /// What the client owes for the answers that it takes.
    debt: Debt,
    /// Bytes that have left, where they stay for a while after they were written.
    left: Option<Arc<AtomicU64>>,
    left_before: u64,
}

/// What the client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Request,
    Head,
    Body,
    Close,
}

impl<I> Guard<I> {
    /// Puts a socket under guard.
    pub fn new(io: I, limits: Limits) -> (Self, Handle) {
        let handle = Handle::default();
        let guard = Guard {
            io,
            handle: handle.clone(),
            limits,
            framer: Framer::new(&limits),
            buffer: BytesMut::new(),
            released: 0,
            refused: false,
            eof: false,
            waiting: None,
            begun: None,
            read_timer: None,
            write_timer: None,
            lingered: None,
            debt: Debt::default(),
            left: None,
            left_before: 0,
        };
        (guard, handle)
    }

    /// These bytes are here already, the first since then.
    pub fn after(self, read: BytesMut, begun: Option<Instant>) -> Self {
        Guard { buffer: read, begun, ..self }
    }

    /// What is written stays in memory for a while; this is how much of it has left.
    pub fn counting(self, left: Option<Arc<AtomicU64>>) -> Self {
        Guard { left, ..self }
    }

    /// All of a message was passed on, and nothing of the next one.
    pub fn is_between(&self) -> bool {
        self.released == 0 && self.framer.at_head()
    }

    fn refuse(&mut self, refusal: Refusal) {
        // The first refusal stands; there is none after it, as nothing is read any more.
        let _ = self.handle.0.refusal.set(refusal);
        self.refused = true;
        self.buffer = BytesMut::from(STAND_IN);
        self.released = STAND_IN.len();
    }

    /// Passes on what is released; false if nothing is.
    fn deliver(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let count = self.released.min(out.remaining());
        out.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        self.released -= count;
        if self.buffer.is_empty() {
            // Idle connections are many; none keeps a buffer.
            self.buffer = BytesMut::new();
        }
        count > 0
    }

    /// Lets the framer see what was read and not released; true if that brought anything.
    fn examine(&mut self) -> bool {
        match look(&mut self.framer, &self.buffer) {
            Ok(Step::More) => false,
            Ok(Step::Skip(count)) => {
                self.buffer.advance(count);
                true
            }
            Ok(Step::Release(count)) => {
                self.released = count;
                self.waiting = None;
                true
            }
            Err(refusal) => {
                self.refuse_or_break(refusal);
                true
            }
        }
    }

    /// A malformed body comes too late for a stand-in: its request is on the way to the backend. Its reader sees the stream
    /// end in the middle and breaks off.
    fn refuse_or_break(&mut self, refusal: Refusal) {
        if self.framer.at_head() {
            self.refuse(refusal);
        } else {
            // The first one stands here too.
            let _ = self.handle.0.broken_body.set(refusal);
            self.eof = true;
            self.buffer = BytesMut::new();
        }
    }

    /// Sorts what was just read into `out`: what may be passed on stays there, the rest goes into the buffer.
    fn sort(&mut self, out: &mut ReadBuf<'_>, start: usize) {
        let fresh = &out.filled()[start..];
        let keep = match self.buffer.is_empty().then(|| look(&mut self.framer, fresh)) {
            Some(Ok(Step::Release(count))) => {
                self.waiting = None;
                self.buffer.extend_from_slice(&fresh[count..]);
                count
            }
            Some(Ok(Step::Skip(count))) => {
                self.buffer.extend_from_slice(&fresh[count..]);
                0
            }
            Some(Err(refusal)) => {
                self.refuse_or_break(refusal);
                0
            }
            Some(Ok(Step::More)) | None => {
                self.buffer.extend_from_slice(fresh);
                0
            }
        };
        out.set_filled(start + keep);
    }

    /// Whether the client has used up its time for what it is waited for.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Waiting> {
        let waiting = match (self.lingered, self.framer.at_head(), self.buffer.is_empty()) {
            (Some(_), _, _) => Waiting::Close,
            (None, false, _) => Waiting::Body,
            (None, true, true) => Waiting::Request,
            (None, true, false) => Waiting::Head,
        };
        let limit = match waiting {
            Waiting::Request => self.limits.idle,
            Waiting::Head => self.limits.head,
            Waiting::Body => self.limits.stall,
            Waiting::Close => self.limits.linger,
        };
        // An empty line before a request gives no time.
        let after_line = (self.waiting, waiting) == (Some(Waiting::Head), Waiting::Request);
        let start =
            (self.waiting != Some(waiting) && !after_line).then(|| self.begun.take().unwrap_or_else(Instant::now));
        self.waiting = Some(waiting);
        poll_timer(&mut self.read_timer, cx, start, limit).map(|()| waiting)
    }
}

/// What the framer says of these bytes. Who asks for another protocol has to wait for the answer before it says more: what is
/// behind such a request could be meant for the one protocol or for the other. What comes later than its head is kept until
/// the answer is there, which decides.
fn look(framer: &mut Framer, bytes: &[u8]) -> Result<Step, Refusal> {
    let head = framer.at_head();
    let step = framer.step(bytes)?;
    match step {
        Step::Release(end) if head && end < bytes.len() && framer.at_head() && asks_to_upgrade(&bytes[..end]) => {
            Err(refuse(400, "there are bytes behind a request that asks for another protocol"))
        }
        step => Ok(step),
    }
}

/// `start`: the time begins anew, then.
fn poll_timer(
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
    start: Option<Instant>,
    limit: Duration,
) -> Poll<()> {
    match timer {
        None => {
            let end = start.unwrap_or_else(Instant::now) + limit;
            timer.insert(Box::pin(tokio::time::sleep_until(end))).as_mut().poll(cx)
        }
        Some(timer) => {
            if let Some(start) = start {
                timer.as_mut().reset(start + limit);
            }
            timer.as_mut().poll(cx)
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guard<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.handle.is_tunnel() {
                this.released = this.buffer.len();
            }
            if this.deliver(out) || this.refused || this.eof || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.handle.is_tunnel() {
                return Pin::new(&mut this.io).poll_read(cx, out);
            }
            if !this.buffer.is_empty() && this.examine() {
                continue;
            }
            let start = out.filled().len();
            if let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, out) {
                result?;
                if out.filled().len() == start {
                    this.eof = true;
                    return Poll::Ready(Ok(()));
                }
                this.sort(out, start);
                if out.filled().len() > start {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match ready!(this.poll_patience(cx)) {
                Waiting::Head => this.refuse(beyond(Hit::HeadTime, 408, "the request head took too long")),
                Waiting::Body => {
                    this.handle.cut(Hit::BodyTime);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Waiting::Request | Waiting::Close => this.eof = true,
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Guard<I> {
    /// Keeps a stalled write from lasting for ever, and a slow one from going on.
    fn poll_stall<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Poll<io::Result<T>> {
        if self.handle.is_tunnel() {
            return written;
        }
        let left = self.leaves();
        match written {
            Poll::Ready(Ok(done)) => {
                self.write_timer = None;
                let bytes = left.unwrap_or_else(|| bytes(&done));
                let slow = self.debt.since().is_some() && self.debt.pay(bytes, Instant::now(), self.limits.floor());
                Poll::Ready(if slow { Err(self.cut_off(Hit::ReadRate)) } else { Ok(done) })
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let now = Instant::now();
                let moved = left.filter(|&left| left > 0);
                if moved.is_some_and(|left| self.debt.pay(left, now, self.limits.floor())) {
                    return Poll::Ready(Err(self.cut_off(Hit::ReadRate)));
                }
                self.debt.wait(now);
                ready!(poll_timer(&mut self.write_timer, cx, moved.map(|_| now), self.limits.stall));
                Poll::Ready(Err(self.cut_off(Hit::ReadTime)))
            }
        }
    }

    /// Bytes that have left since the last time, where that is counted.
    fn leaves(&mut self) -> Option<u64> {
        let left = self.left.as_ref()?.load(Ordering::Relaxed);
        Some(left - std::mem::replace(&mut self.left_before, left))
    }

    fn cut_off(&self, limit: Hit) -> io::Error {
        self.handle.cut(limit);
        io::ErrorKind::TimedOut.into()
    }

    /// Reads on after our side is closed: closing with unread bytes would make the kernel send RST, which can take the
    /// answer away from the client before it was read (RFC 9112 section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        loop {
            let so_far = self.lingered.unwrap_or(0);
            if self.eof || so_far > MAX_LINGER || self.handle.is_tunnel() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            self.lingered = Some(so_far);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.lingered = Some(so_far + buffer.filled().len());
                }
                Poll::Ready(_) => self.eof = true,
                Poll::Pending => {
                    ready!(self.poll_patience(cx));
                    self.eof = true;
                }
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.poll_stall(cx, written, |&written| written as u64)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.poll_stall(cx, written, |&written| written as u64)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.poll_stall(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            let shut = Pin::new(&mut self.io).poll_shutdown(cx);
            ready!(self.poll_stall(cx, shut, |()| 0))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
