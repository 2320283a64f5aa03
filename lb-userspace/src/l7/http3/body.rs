//! The body of a request of HTTP/3.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use hyper::Method;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderMap};

use super::counted;
use crate::l7::body::BodyError;

type Stream = RequestStream<counted::Stream<h3_quinn::RecvStream>, Bytes>;

/// A body on its way from a client.
pub struct Received {
    stream: Box<Stream>,
    /// A part that came before anybody asked.
    first: Option<Bytes>,
    /// Bytes that are to come, if the head has told.
    left: Option<u64>,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Data,
    Trailers,
    Nothing,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("left", &self.left).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Received {
    /// The body behind this head. Whether there is one at all, only its stream tells: of methods that usually have none
    /// its end is waited for, of others it is looked for.
    pub async fn begin(stream: Stream, method: &Method, headers: &HeaderMap) -> Result<Self, BodyError> {
        let left = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let next = if left == Some(0) { Next::Nothing } else { Next::Data };
        let mut body = Received { stream: Box::new(stream), first: None, left, next };
        if left.is_none() {
            let usual = [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(method);
            body.look(usual).await?;
        }
        Ok(body)
    }

    async fn look(&mut self, wait: bool) -> Result<(), BodyError> {
        let part = poll_fn(|cx| match self.poll_part(cx) {
            Poll::Pending if !wait => Poll::Ready(None),
            part => part.map(Some),
        });
        match part.await {
            Some(Ok(Some(part))) => self.first = Some(part),
            Some(Err(error)) => return Err(error),
            // At its end there may be trailers, but not behind nothing.
            Some(Ok(None)) => self.next = Next::Nothing,
            None => {}
        }
        Ok(())
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let part = ready!(self.stream.poll_recv_data(cx))
            .map(|part| part.map(|mut part| part.copy_to_bytes(part.remaining())));
        Poll::Ready(part.map_err(BodyError::from).and_then(|part| self.counted(part)))
    }

    /// A body is as long as its head says (RFC 9114 section 4.1.2).
    fn counted(&mut self, part: Option<Bytes>) -> Result<Option<Bytes>, BodyError> {
        let length = part.as_ref().map_or(0, Bytes::len) as u64;
        self.left = match self.left.map(|left| left.checked_sub(length)) {
            Some(None) => return Err(BodyError::Length),
            Some(Some(left)) if left > 0 && part.is_none() => return Err(BodyError::Length),
            left => left.flatten(),
        };
        Ok(part)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Some(Frame::data(first))));
        }
        if self.next == Next::Data {
            if let Some(part) = ready!(self.poll_part(cx))? {
                return Poll::Ready(Ok(Some(Frame::data(part))));
            }
            self.next = Next::Trailers;
        }
        if self.next == Next::Trailers {
            let trailers = ready!(self.stream.poll_recv_trailers(cx))?;
            self.next = Next::Nothing;
            return Poll::Ready(Ok(trailers.map(Frame::trailers)));
        }
        Poll::Ready(Ok(None))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_next(cx));
        if frame.is_err() {
            this.next = Next::Nothing;
        }
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.next == Next::Nothing || self.left == Some(0))
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.left {
            Some(left) => SizeHint::with_exact(here + left),
            None if self.next == Next::Nothing => SizeHint::with_exact(here),
            None => SizeHint::default(),
        }
    }
}
