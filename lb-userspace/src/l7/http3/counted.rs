//! The library's connection to a client, whose frames are counted on their way to it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{
    self, BidiStream, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream, StreamErrorIncoming, StreamId,
    WriteBuf,
};
use quinn::VarInt;
use tokio::time::Instant;

use super::frames::{Place, Total};
use crate::l7::hits::Hit;
use crate::l7::http2::frames::Budget;
use crate::l7::worker::SharedCounters;

/// A connection whose client may not do more than this budget allows.
pub(super) struct Counted<C> {
    inner: C,
    watch: Rc<Watch>,
}

/// The connection as the library sees it.
pub(super) type Connection = Counted<h3_quinn::Connection>;

impl Connection {
    /// Watches a connection that begins.
    pub(super) fn new(connection: &quinn::Connection, budget: Budget, counters: SharedCounters) -> Self {
        let (total, cut) = (RefCell::new(Total::new(budget, Instant::now())), Cell::new(false));
        let watch = Watch { connection: connection.clone(), counters, total, cut };
        Counted { inner: h3_quinn::Connection::new(connection.clone()), watch: Rc::new(watch) }
    }
}

/// What all of a client's streams come to.
struct Watch {
    connection: quinn::Connection,
    counters: SharedCounters,
    total: RefCell<Total>,
    cut: Cell<bool>,
}

impl Watch {
    /// Ends the connection if it went beyond a limit.
    fn judge(&self, seen: Result<(), Hit>) -> Result<(), ConnectionErrorIncoming> {
        let Err(limit) = seen else { return Ok(()) };
        if !self.cut.replace(true) {
            self.counters.hit(Some(limit));
            // Of 62 bits, as all codes are.
            self.connection.close(VarInt::from_u64(Code::H3_EXCESSIVE_LOAD.value()).unwrap_or_default(), b"");
        }
        Err(ConnectionErrorIncoming::ApplicationClose { error_code: Code::H3_EXCESSIVE_LOAD.value() })
    }

    /// A client gives up what it asks for, what it is sent, or both. What it resets because we asked it to stop, as the answer
    /// was there before the end of the request, is none of it (RFC 9000 section 3.5).
    fn request_begins(&self) -> Result<(), ConnectionErrorIncoming> {
        let stats = self.connection.stats();
        let (came, went) = (stats.frame_rx, stats.frame_tx);
        let given_up = came.reset_stream.saturating_sub(went.stop_sending).max(came.stop_sending);
        self.judge(self.total.borrow_mut().given_up(given_up, Instant::now()))
    }

    fn other_begins(&self) -> Result<(), ConnectionErrorIncoming> {
        self.judge(self.total.borrow_mut().stream(Instant::now()))
    }

    fn see(&self, place: &mut Place, bytes: &[u8]) -> Result<(), StreamErrorIncoming> {
        let seen = place.see(bytes, &mut self.total.borrow_mut(), Instant::now());
        self.judge(seen).map_err(|connection_error| StreamErrorIncoming::ConnectionErrorIncoming { connection_error })
    }
}

impl<B: Buf, C: OpenStreams<B>> OpenStreams<B> for Counted<C>
where
    C::BidiStream: RecvStream<Buf = Bytes>,
{
    type BidiStream = Stream<C::BidiStream>;
    type SendStream = C::SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        let inner = ready!(self.inner.poll_open_bidi(cx))?;
        Poll::Ready(Ok(Stream { inner, place: Place::REQUEST, watch: Rc::clone(&self.watch) }))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        self.inner.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.inner.close(code, reason);
    }
}

impl<B: Buf, C: quic::Connection<B>> quic::Connection<B> for Counted<C>
where
    C::BidiStream: RecvStream<Buf = Bytes>,
    C::RecvStream: RecvStream<Buf = Bytes>,
{
    type RecvStream = Stream<C::RecvStream>;
    type OpenStreams = Counted<C::OpenStreams>;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        let inner = ready!(self.inner.poll_accept_recv(cx))?;
        self.watch.other_begins()?;
        Poll::Ready(Ok(Stream { inner, place: Place::OTHER, watch: Rc::clone(&self.watch) }))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        let inner = ready!(self.inner.poll_accept_bidi(cx))?;
        self.watch.request_begins()?;
        Poll::Ready(Ok(Stream { inner, place: Place::REQUEST, watch: Rc::clone(&self.watch) }))
    }

    fn opener(&self) -> Self::OpenStreams {
        Counted { inner: self.inner.opener(), watch: Rc::clone(&self.watch) }
    }
}

/// A stream of such a connection.
pub struct Stream<S> {
    inner: S,
    place: Place,
    watch: Rc<Watch>,
}

impl<S: RecvStream<Buf = Bytes>> RecvStream for Stream<S> {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let bytes = ready!(self.inner.poll_data(cx))?;
        if let Some(bytes) = &bytes {
            self.watch.see(&mut self.place, bytes)?;
        }
        Poll::Ready(Ok(bytes))
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.inner.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}

impl<B: Buf, S: SendStream<B>> SendStream<B> for Stream<S> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.inner.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.inner.send_id()
    }
}

impl<B: Buf, S: BidiStream<B> + RecvStream<Buf = Bytes>> BidiStream<B> for Stream<S>
where
    S::RecvStream: RecvStream<Buf = Bytes>,
{
    type SendStream = S::SendStream;
    type RecvStream = Stream<S::RecvStream>;

    fn split(self) -> (Self::SendStream, Self::RecvStream) {
        let (send, inner) = self.inner.split();
        (send, Stream { inner, place: self.place, watch: self.watch })
    }
}
