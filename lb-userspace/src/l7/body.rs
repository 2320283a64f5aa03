//! Bodies on their way through: streamed frame by frame, never gathered.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderMap, HeaderName};
use tokio::time::{Instant, Sleep};

use super::compress::Encoder;
use super::forward;
use super::gather::Gathered;
use super::mirror::Tee;
use super::pool::Lease;
use super::rate::{Debt, Floor};
use super::record::Record;
use super::wire::WireError;

mod backend;
mod client;
mod held;
mod kept;
mod pace;

pub use backend::BackendBody;
pub use client::ClientBody;
use held::{Flow, Held};
pub use kept::Kept;
use pace::Pace;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection it came from broke.
    #[error("the body broke off")]
    Broken(#[from] hyper::Error),
    /// The connection of HTTP/1.1 that it came from broke.
    #[error("the body broke off: {0}")]
    Wire(#[from] WireError),
    /// The client did not send all of it, or something else.
    #[error("the client broke off its body")]
    Left,
    /// The stream of HTTP/3 that it came from broke.
    #[cfg(feature = "http3")]
    #[error("the body broke off")]
    Http3(#[from] h3::error::StreamError),
    /// It is not as long as its head says.
    #[cfg(feature = "http3")]
    #[error("the body is not as long as its head says")]
    Length,
    /// It is longer than the route takes.
    #[error("the body is too large")]
    TooLarge,
    /// It cannot be compressed.
    #[error("the body cannot be compressed")]
    Coding(#[from] std::io::Error),
    /// Its sender stalled.
    #[error("no part of the body came in time")]
    Stalled,
    /// Its receiver stalled.
    #[error("no part of the body was taken in time")]
    Abandoned,
    /// Too little of it comes, or is taken.
    #[error("the body is too slow")]
    Slow,
}

/// How far the body of a request is on its way; the time for the answer counts from its last move.
#[derive(Debug)]
pub struct Progress {
    last: Cell<Instant>,
    sent: Cell<bool>,
    bytes: Cell<u64>,
    /// Bytes that may still come.
    left: Cell<Option<u64>>,
    /// What the client owes for it, and since when it is waited for.
    debt: Cell<Debt>,
    floor: Floor,
    /// The endpoint has answered: how fast the rest comes is between the two.
    answered: Cell<bool>,
    fault: Cell<Option<Fault>>,
}

/// What a client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not send all of its body.
    Broke,
    /// It sent it too slowly.
    Slow,
}

impl Progress {
    /// Before the first byte, of at most so many.
    pub fn new(max_body: u64) -> Self {
        Progress {
            last: Cell::new(Instant::now()),
            sent: Cell::new(false),
            bytes: Cell::new(0),
            left: Cell::new(Some(max_body)),
            debt: Cell::default(),
            floor: Floor::default(),
            answered: Cell::new(false),
            fault: Cell::new(None),
        }
    }

    /// It has to come at least so fast.
    pub fn at_least(self, floor: Floor) -> Self {
        Progress { floor, ..self }
    }

    /// The client is waited for.
    pub fn wait(&self) {
        let mut debt = self.debt.get();
        if debt.since().is_none() {
            debt.wait(Instant::now());
            self.debt.set(debt);
        }
    }

    /// Since when the client is waited for, if it is.
    pub fn waits_since(&self) -> Option<Instant> {
        self.debt.get().since()
    }

    /// The endpoint has answered.
    pub fn answered(&self) {
        self.answered.set(true);
    }

    /// What the client did wrong, if that is why the body does not go on.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// An attempt begins.
    pub fn start(&self) {
        self.last.set(Instant::now());
    }

    /// When it moved last.
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// The whole body is on its way, or there is none.
    pub fn is_sent(&self) -> bool {
        self.sent.get()
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// More came than is taken.
    pub fn is_too_large(&self) -> bool {
        self.left.get().is_none()
    }

    /// A part has come that is not on its way yet.
    pub fn gathered(&self, bytes: u64) {
        self.moved(bytes, false);
    }

    fn moved(&self, bytes: u64, last: bool) {
        let now = Instant::now();
        let mut debt = self.debt.get();
        if debt.since().is_some() {
            if debt.pay(bytes, now, self.floor) && !last && !self.answered.get() {
                self.fault.set(Some(Fault::Slow));
            }
            self.debt.set(debt);
        }
        self.last.set(now);
        self.sent.set(last);
        self.bytes.set(self.bytes.get() + bytes);
        self.left.set(self.left.get().and_then(|left| left.checked_sub(bytes)));
    }
}

/// The body of a request on its way to a backend.
#[derive(Debug)]
pub struct RequestBody {
    inner: Inner,
    /// Names that the client's trailers may not have, beside those that none may have.
    barred: Option<Rc<[HeaderName]>>,
    /// Before that, what is here already, and how many parts of it are on their way.
    first: Option<(Rc<Gathered>, usize)>,
    /// Instead of that, what is here already.
    whole: Bytes,
    /// Who sees it go by.
    tee: Option<Rc<Tee>>,
    progress: Rc<Progress>,
}

/// What comes from the client.
#[derive(Debug, Default)]
struct Inner {
    body: Option<ClientBody>,
    /// Who keeps it.
    kept: Option<Rc<Kept>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            kept.stop(self.body.take());
        }
    }
}

impl RequestBody {
    /// A body from a client; `None`: there is none.
    pub fn new(inner: Option<ClientBody>, progress: Rc<Progress>) -> Self {
        progress.sent.set(inner.is_none());
        let inner = Inner { body: inner, kept: None };
        RequestBody { inner, barred: None, first: None, whole: Bytes::new(), tee: None, progress }
    }

    /// What has been gathered comes first.
    pub fn after(self, first: Option<Rc<Gathered>>) -> Self {
        if first.as_ref().is_some_and(|first| !first.parts.is_empty()) {
            self.progress.sent.set(false);
        }
        RequestBody { first: first.map(|first| (first, 0)), ..self }
    }

    /// The next part of what has been gathered.
    fn gathered(&mut self) -> Option<Bytes> {
        let (first, at) = self.first.as_mut()?;
        let part = first.parts.get(*at)?.clone();
        *at += 1;
        let last = self.inner.body.is_none() && *at == first.parts.len();
        self.progress.moved(0, last);
        Some(part)
    }

    /// Bytes of it that are still here.
    fn left(&self) -> u64 {
        let parts = self.first.as_ref().and_then(|(first, at)| first.parts.get(*at..)).unwrap_or_default();
        parts.iter().map(|part| part.len() as u64).sum()
    }

    /// A body that is here already.
    pub fn whole(whole: Bytes) -> Self {
        let progress = Rc::new(Progress::new(u64::MAX));
        RequestBody { whole, ..Self::new(None, progress) }
    }

    /// It is kept while it goes by.
    pub fn kept(mut self, kept: Option<Rc<Kept>>) -> Self {
        self.inner.kept = kept;
        self
    }

    /// Its trailers do not have these names.
    pub fn without(self, barred: Option<Rc<[HeaderName]>>) -> Self {
        RequestBody { barred, ..self }
    }

    /// Somebody collects it while it goes by.
    pub fn seen_by(self, tee: Option<Rc<Tee>>) -> Self {
        RequestBody { tee, ..self }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(part) = self.gathered() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let this = &mut *self;
        let Some(inner) = &mut this.inner.body else {
            let whole = std::mem::take(&mut this.whole);
            return Poll::Ready((!whole.is_empty()).then(|| Ok(Frame::data(whole))));
        };
        let Poll::Ready(mut frame) = Pin::new(&mut *inner).poll_frame(cx) else {
            this.progress.wait();
            return Poll::Pending;
        };
        if matches!(frame, Some(Err(_))) {
            this.progress.fault.set(Some(Fault::Broke));
        }
        if this.inner.kept.as_ref().is_some_and(Kept::is_forgotten) {
            this.inner.kept = None;
        }
        let kept = this.inner.kept.as_deref();
        if let Some(trailers) = frame.as_mut().and_then(|frame| frame.as_mut().ok()?.trailers_mut()) {
            forward::trailers(trailers, this.barred.as_deref().unwrap_or_default());
            kept.into_iter().for_each(Kept::lose);
        }
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let bytes = data.map_or(0, |data| data.len() as u64);
        let last = frame.is_none() || inner.is_end_stream();
        if let (Some(kept), Some(data)) = (kept, data) {
            kept.part(data, inner.size_hint().exact());
        }
        if let Some(tee) = &this.tee {
            data.into_iter().for_each(|data| tee.part(data));
            if last && frame.as_ref().is_none_or(Result::is_ok) {
                tee.end();
            }
        }
        this.progress.moved(bytes, last);
        if this.progress.is_too_large() {
            return Poll::Ready(Some(Err(BodyError::TooLarge)));
        }
        if this.progress.fault() == Some(Fault::Slow) {
            return Poll::Ready(Some(Err(BodyError::Slow)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.inner.body.as_ref().map_or(self.whole.is_empty(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.left();
        match self.inner.body.as_ref().map(Body::size_hint) {
            None => SizeHint::with_exact(left + self.whole.len() as u64),
            Some(hint) => match hint.exact() {
                Some(rest) => SizeHint::with_exact(left + rest),
                None => SizeHint::default(),
            },
        }
    }
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    record: Record,
    pace: Option<Box<Pace>>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "what a backend sends is the usual body: a box would be one more for each answer"
)]
enum Source {
    Text(Option<Bytes>),
    Relay(Relay),
    Coded(Box<Coded>),
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Source::Text(text) => {
                Poll::Ready(text.take().filter(|text| !text.is_empty()).map(|text| Ok(Frame::data(text))))
            }
            Source::Relay(relay) => relay.poll_frame(cx),
            Source::Coded(coded) => coded.poll_frame(cx),
        }
    }

    /// The client goes on to take what came of it.
    fn is_wanted(&self) {
        match self {
            Source::Text(_) => {}
            Source::Relay(relay) => relay.held.is_wanted(),
            Source::Coded(coded) => coded.relay.held.is_wanted(),
        }
    }

    /// Bytes of a backend so far.
    fn received(&self) -> u64 {
        match self {
            Source::Text(_) => 0,
            Source::Relay(relay) => relay.received,
            Source::Coded(coded) => coded.relay.received,
        }
    }
}

/// A body that is compressed on its way.
#[derive(Debug)]
struct Coded {
    relay: Relay,
    encoder: Encoder,
    /// They follow the last piece.
    trailers: Option<Frame<Bytes>>,
}

#[derive(Debug)]
struct Relay {
    held: Held,
    /// Bytes so far.
    received: u64,
    stall: Duration,
    /// The end of the time for all of it.
    until: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// A text of our own.
    pub fn text(text: Bytes, record: Record) -> Self {
        ResponseBody { source: Source::Text(Some(text)), record, pace: None }
    }

    /// What a backend sends. The connection goes back to the pool after the last frame. So long nothing may come of it, and
    /// by then it must have come to its end.
    pub fn relay(
        inner: BackendBody,
        lease: Option<Lease>,
        (stall, until): (Duration, Option<Instant>),
        record: Record,
    ) -> Self {
        let held = Held::new(Flow { body: inner, lease, ended: false }, stall, until);
        let relay = Relay { held, received: 0, stall, until, timer: None };
        ResponseBody { source: Source::Relay(relay), record, pace: None }
    }

    /// Bytes that wait for their turn.
    fn waiting(&self) -> u64 {
        self.pace.as_ref().map_or(0, |pace| pace.waiting())
    }

    /// The headers with which it goes out, for whoever wants them.
    pub fn goes_with(&mut self, headers: &HeaderMap) {
        self.record.sends(headers);
    }

    /// Somebody wants them.
    pub fn wants_headers(&self) -> bool {
        self.record.wants_headers()
    }

    /// Goes out compressed.
    pub fn coded(self, encoder: Option<Encoder>) -> Self {
        let source = match (self.source, encoder) {
            (Source::Relay(relay), Some(encoder)) => Source::Coded(Box::new(Coded { relay, encoder, trailers: None })),
            (source, _) => source,
        };
        ResponseBody { source, ..self }
    }

    /// Goes out no faster than so many bytes per second, once so many have gone out.
    pub fn paced(self, pace: Option<(u64, u64)>) -> Self {
        ResponseBody { pace: pace.map(|pace| Box::new(Pace::new(pace))), ..self }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.pace.as_mut().is_some_and(|pace| pace.poll_turn(cx).is_pending()) {
            return Poll::Pending;
        }
        let mut frame = match this.pace.as_mut().and_then(|pace| pace.take_rest()) {
            Some(rest) => {
                this.source.is_wanted();
                Poll::Ready(Some(Ok(Frame::data(rest))))
            }
            None => this.source.poll_frame(cx),
        };
        if let (Some(pace), Poll::Ready(Some(Ok(piece)))) = (&mut this.pace, &mut frame)
            && let Some(data) = piece.data_mut()
        {
            *data = pace.cut(std::mem::take(data));
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.record.bytes += bytes;
                this.record.received = this.source.received();
            }
            Poll::Ready(Some(Err(BodyError::Abandoned))) => {}
            Poll::Ready(Some(Err(_))) => this.record.upstream_failed(),
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let source = match &self.source {
            Source::Text(text) => text.as_ref().is_none_or(Bytes::is_empty),
            Source::Relay(relay) => relay.held.is_end_stream(),
            Source::Coded(coded) => coded.encoder.is_finished() && coded.trailers.is_none(),
        };
        source && self.waiting() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let source = match &self.source {
            Source::Text(text) => Some(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Relay(relay) => relay.held.size_hint().exact(),
            Source::Coded(_) => None,
        };
        source.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + self.waiting()))
    }
}

impl Coded {
    /// Where nothing more has come yet, what has come goes out: events must not wait for the next one.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.encoder.is_finished() {
            let piece = match self.relay.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.encoder.write(&data),
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        self.encoder.finish()
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => self.encoder.finish(),
                Poll::Pending => match self.encoder.flush() {
                    Ok(piece) if piece.is_empty() => return Poll::Pending,
                    flushed => flushed,
                },
            };
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
        Poll::Ready(self.trailers.take().map(Ok))
    }
}

impl Relay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // One that sends all the time would never be waited for.
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        let next = |flow: &mut Flow| {
            let frame = Pin::new(&mut flow.body).poll_frame(cx);
            flow.ended = matches!(frame, Poll::Ready(None));
            frame
        };
        let Some(frame) = self.held.ask(next, Poll::is_ready) else {
            return Poll::Ready(Some(Err(BodyError::Abandoned)));
        };
        match frame {
            Poll::Ready(frame) => {
                self.timer = None;
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                self.received += data.map_or(0, |data| data.len() as u64);
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let stalled = || Instant::now() + self.stall;
                let end = || self.until.map_or_else(stalled, |until| until.min(stalled()));
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end())));
                timer.as_mut().poll(cx).map(|()| Some(Err(BodyError::Stalled)))
            }
        }
    }
}
