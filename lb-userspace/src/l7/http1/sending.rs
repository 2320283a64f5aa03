//! An answer on its way to the client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame};
use hyper::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Framing, line};
use super::line::Line;

/// Pieces up to this length are copied, so that they go out together with what is in front of them and behind.
const SHORT: usize = 8 << 10;
/// With so many bytes nothing more is waited for.
const ENOUGH: usize = 32 << 10;

/// What is still to be sent.
pub(super) struct Sending<B> {
    /// Bytes in front of `data`, of which so many went out.
    out: Vec<u8>,
    gone: usize,
    /// A long piece of the body.
    data: Bytes,
    /// Bytes behind it.
    tail: &'static [u8],
    /// `None`: all of it is here.
    body: Option<B>,
    framing: Framing,
    /// The body broke off; what came of it goes out first.
    is_broken: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// Behind a head.
    pub(super) fn new(head: Vec<u8>, framing: Framing, body: B) -> Self {
        // Nobody asks a body for what nobody gets.
        let body = Some(body).filter(|_| framing != Framing::Length(0));
        Sending { out: head, gone: 0, data: Bytes::new(), tail: &[], body, framing, is_broken: false }
    }

    /// Its buffer, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    /// Sends as much as can be sent; ready when all of it is gone.
    pub(super) fn poll<I>(&mut self, line: &Line<I>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let waits = self.fill(cx).is_pending();
            while self.has_bytes() {
                ready!(self.poll_write(line, cx))?;
            }
            if waits || self.body.is_none() {
                ready!(line.with_io(|io| io.poll_flush(cx)))?;
            }
            if waits {
                return Poll::Pending;
            }
            if self.body.is_none() {
                let broken = || Err(io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(if self.is_broken { broken() } else { Ok(()) });
            }
        }
    }

    fn has_bytes(&self) -> bool {
        self.gone < self.out.len() || self.data.has_remaining() || !self.tail.is_empty()
    }

    fn poll_write<I>(&mut self, line: &Line<I>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let first = &self.out[self.gone..];
        let count = if self.data.is_empty() && self.tail.is_empty() {
            ready!(line.with_io(|io| io.poll_write(cx, first)))?
        } else {
            let parts = [IoSlice::new(first), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            ready!(line.with_io(|io| io.poll_write_vectored(cx, &parts)))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.wrote(count);
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, count: usize) {
        let first = count.min(self.out.len() - self.gone);
        self.gone += first;
        // Who always takes less than comes must not make it grow.
        if self.gone == self.out.len() || self.gone >= SHORT {
            self.out.drain(..self.gone);
            self.gone = 0;
        }
        let second = (count - first).min(self.data.len());
        self.data.advance(second);
        self.tail = self.tail.get(count - first - second..).unwrap_or_default();
    }

    /// Asks the body for what it has; ready when that is enough, or all.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.data.is_empty() && self.tail.is_empty() && self.out.len() - self.gone < ENOUGH {
            let Some(body) = &mut self.body else { break };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => self.take(frame),
                Some(Err(_)) => self.break_off(),
                None => self.end(None),
            }
        }
        Poll::Ready(())
    }

    fn break_off(&mut self) {
        (self.body, self.is_broken) = (None, true);
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok().as_ref()),
        };
        if let Framing::Length(left) = &mut self.framing {
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= data.len() as u64;
        }
        self.put(data);
        let is_whole = self.framing == Framing::Length(0);
        if is_whole || self.body.as_ref().is_none_or(Body::is_end_stream) {
            self.end(None);
        }
    }

    fn put(&mut self, data: Bytes) {
        if data.is_empty() {
            // A chunk without bytes would be the last one.
            return;
        }
        let is_chunked = matches!(self.framing, Framing::Chunked(_));
        if is_chunked {
            write_size(data.len(), &mut self.out);
        }
        let tail: &'static [u8] = if is_chunked { b"\r\n" } else { b"" };
        if data.len() <= SHORT {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            (self.data, self.tail) = (data, tail);
        }
    }

    /// Nothing more comes of the body. What kept it ends with it.
    fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.body = None;
        match &self.framing {
            Framing::Length(0) | Framing::Close => {}
            Framing::Length(_) => self.is_broken = true,
            // Fields come in a frame of their own, and so not while data waits.
            Framing::Chunked(_) if !self.data.is_empty() => self.tail = b"\r\n0\r\n\r\n",
            Framing::Chunked(announced) => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name)) {
                    line(name.as_str().as_bytes(), value.as_bytes(), &mut self.out);
                }
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// The line in front of a chunk.
fn write_size(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[size >> (4 * place) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}
