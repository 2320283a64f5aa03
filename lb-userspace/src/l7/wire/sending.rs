//! A request on its way to the backend.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::header::{HeaderMap, HeaderName};
use tokio::io::AsyncWrite;

use super::Io;
use super::request::{self, Framing};
use crate::l7::body::RequestBody;

/// Why not all of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The body broke off, or is not as long as the head says.
    Body,
    /// The backend does not listen any more; it may have said why.
    Connection,
}

/// What is still to be sent.
#[derive(Default)]
pub(super) struct Sending {
    /// What was asked for, until all of it is on its way.
    request: Option<Request<RequestBody>>,
    /// Bytes in front of `data`.
    out: BytesMut,
    /// A piece of the body.
    data: Bytes,
    /// Bytes behind it.
    tail: &'static [u8],
    /// Bytes that are still to come of the body; `None`: chunks.
    left: Option<u64>,
    announced: Vec<HeaderName>,
    /// The body has been asked for all that it has.
    exhausted: bool,
    /// Some of the body has been taken out of the request.
    taken: bool,
    flushes: bool,
    /// Bytes that went out.
    sent: u64,
    broken: Option<Broken>,
}

impl Sending {
    /// Of this request, of which nothing was sent yet.
    pub(super) fn new(request: Request<RequestBody>) -> Self {
        let framing = request::framing(&request);
        let mut out = BytesMut::new();
        request::write(&request, framing, &mut out);
        let (left, announced) = match framing {
            Framing::Length(length) => (Some(length), Vec::new()),
            Framing::Chunked => (None, request::announced(request.headers())),
        };
        Sending { request: Some(request), out, left, announced, flushes: true, ..Sending::default() }
    }

    /// All of it was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.request.is_none() && self.broken.is_none()
    }

    /// There is a part of it that can still be sent.
    pub(super) fn goes_on(&self) -> bool {
        self.request.is_some() && self.broken.is_none()
    }

    /// The body broke off.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken == Some(Broken::Body)
    }

    /// Bytes that went out.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The request, if all of it is still here.
    pub(super) fn take_back(&mut self) -> Option<Request<RequestBody>> {
        self.request.take().filter(|_| self.sent == 0 && !self.taken)
    }

    /// Sends as much as can be sent; ready when there is nothing more to send.
    pub(super) fn poll(&mut self, io: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.goes_on() {
            return Poll::Ready(self.broken.map_or(Ok(()), Err));
        }
        let result = ready!(self.poll_all(io, cx));
        match result {
            // What kept the body ends with it.
            Ok(()) => self.request = None,
            Err(broken) => self.broken = Some(broken),
        }
        Poll::Ready(result)
    }

    fn poll_all(&mut self, io: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            // What comes first of the body goes out in one piece with the head.
            let waits = self.data.is_empty() && self.tail.is_empty() && self.poll_piece(cx)?.is_pending();
            while self.has_bytes() {
                ready!(self.poll_write(io, cx)).map_err(|_| Broken::Connection)?;
            }
            if self.flushes && (waits || self.exhausted) {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(|_| Broken::Connection)?;
                self.flushes = false;
            }
            if waits {
                return Poll::Pending;
            }
            if self.exhausted {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn has_bytes(&self) -> bool {
        !(self.out.is_empty() && self.data.is_empty() && self.tail.is_empty())
    }

    fn poll_write(&mut self, io: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = [IoSlice::new(&self.out), IoSlice::new(&self.data), IoSlice::new(self.tail)];
        let count = match self.data.is_empty() {
            true => ready!(Pin::new(io).poll_write(cx, if self.out.is_empty() { self.tail } else { &self.out }))?,
            false => ready!(Pin::new(io).poll_write_vectored(cx, &parts))?,
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent += count as u64;
        self.wrote(count);
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, count: usize) {
        let first = count.min(self.out.len());
        self.out.advance(first);
        let second = (count - first).min(self.data.len());
        self.data.advance(second);
        self.tail = self.tail.get(count - first - second..).unwrap_or_default();
    }

    /// Asks the body for its next piece; ready when there is one, or nothing more.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let Some(request) = self.request.as_mut().filter(|_| !self.exhausted) else { return Ok(Poll::Ready(())) };
        let body = request.body_mut();
        if self.left == Some(0) && body.is_end_stream() {
            self.exhausted = true;
            return Ok(Poll::Ready(()));
        }
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return Ok(Poll::Pending) };
        self.taken = true;
        self.flushes = true;
        match frame {
            Some(Ok(frame)) => self.take(frame)?,
            Some(Err(_)) => return Err(Broken::Body),
            None => self.end(None)?,
        }
        Ok(Poll::Ready(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Broken> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return self.end(other.into_trailers().ok()),
        };
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(Broken::Body)?;
        } else if !data.is_empty() {
            // A chunk without bytes would be the last one.
            self.out.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.tail = b"\r\n";
        }
        self.data = data;
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        self.exhausted = true;
        match self.left {
            Some(0) => Ok(()),
            Some(_) => Err(Broken::Body),
            None => {
                self.last_chunk(&trailers.unwrap_or_default());
                Ok(())
            }
        }
    }

    fn last_chunk(&mut self, trailers: &HeaderMap) {
        self.out.put_slice(b"0\r\n");
        for (name, value) in trailers.iter().filter(|(name, _)| self.announced.contains(name)) {
            request::line(name, value.as_bytes(), &mut self.out);
        }
        self.out.put_slice(b"\r\n");
    }
}
