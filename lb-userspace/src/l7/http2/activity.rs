//! What goes on on a connection of HTTP/2 or HTTP/3: the libraries keep no time of it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep, sleep_until};

use crate::l7::body::{BodyError, ResponseBody};
use crate::l7::hits::Hit;
use crate::l7::rate::{Debt, Floor};
use crate::l7::worker::SharedCounters;

/// Bytes of an answer that are handed on at once: a frame of the usual size. What the library has got is out of our hands.
const PART: usize = 16 << 10;

/// Requests in flight, and what they wait for.
#[derive(Debug)]
pub(in crate::l7) struct Activity {
    streams: RefCell<Vec<Rc<Stream>>>,
    /// The one that began last, until somebody drives it.
    entered: RefCell<Option<Rc<Stream>>>,
    /// When the last request ended.
    ended: Cell<Instant>,
    floor: Floor,
    counters: SharedCounters,
}

/// One request among those in flight.
#[derive(Debug, Default)]
pub(in crate::l7) struct Stream {
    /// What the client owes for its answer, and since when only the client is waited for.
    debt: Cell<Debt>,
    cut: Cell<bool>,
    /// Who drives it.
    waker: RefCell<Option<Waker>>,
}

impl Activity {
    /// Of a connection that begins, whose clients must take answers at least so fast.
    pub(in crate::l7) fn new(floor: Floor, counters: SharedCounters) -> Self {
        let (streams, entered) = (RefCell::default(), RefCell::default());
        Activity { streams, entered, ended: Cell::new(Instant::now()), floor, counters }
    }

    /// A request begins.
    pub(in crate::l7) fn enter(self: &Rc<Self>) -> Place {
        let stream = Rc::<Stream>::default();
        self.streams.borrow_mut().push(Rc::clone(&stream));
        self.entered.replace(Some(Rc::clone(&stream)));
        Place { activity: Rc::clone(self), stream }
    }

    /// The request that began last, for who drives it.
    pub(in crate::l7) fn take_entered(&self) -> Option<Rc<Stream>> {
        self.entered.take()
    }

    /// Ends when there was no request for so long.
    pub(in crate::l7) async fn idle(&self, limit: Duration) {
        loop {
            let end = self.ended.get() + limit;
            if end <= Instant::now() && self.streams.borrow().is_empty() {
                return;
            }
            sleep_until(end.max(Instant::now() + limit / 4)).await;
        }
    }

    /// Ends so long after the last request.
    pub(in crate::l7) async fn done(&self, limit: Duration) {
        self.ended.set(Instant::now());
        self.idle(limit).await;
    }

    /// Cuts off every answer of which the client takes nothing for as long as it may; never ends.
    pub(in crate::l7) async fn watch(&self) {
        let limit = self.floor.grace;
        loop {
            sleep((limit / 4).max(Duration::from_millis(1))).await;
            let now = Instant::now();
            for stream in self.streams.borrow().iter() {
                let since = stream.debt.get().since();
                if since.is_some_and(|since| since + limit <= now) && !stream.cut.replace(true) {
                    self.counters.hit(Some(Hit::ReadTime));
                    stream.waker.take().into_iter().for_each(Waker::wake);
                }
            }
        }
    }
}

impl Stream {
    /// Ends when it is cut off.
    pub(in crate::l7) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        if self.cut.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// One request's part in what goes on.
#[derive(Debug)]
pub(in crate::l7) struct Place {
    activity: Rc<Activity>,
    stream: Rc<Stream>,
}

impl Place {
    /// Its stream.
    #[cfg(feature = "http3")]
    pub(in crate::l7) fn stream(&self) -> Rc<Stream> {
        Rc::clone(&self.stream)
    }

    /// Only the client is waited for.
    fn waits(&self) {
        let mut debt = self.stream.debt.get();
        debt.wait(Instant::now());
        self.stream.debt.set(debt);
    }

    /// The client has taken so many bytes; true if they were too few.
    fn is_paid(&self, bytes: u64) -> bool {
        let mut debt = self.stream.debt.get();
        if debt.since().is_none() {
            return true;
        }
        let slow = debt.pay(bytes, Instant::now(), self.activity.floor);
        self.stream.debt.set(debt);
        if slow {
            self.activity.counters.hit(Some(Hit::ReadRate));
        }
        !slow
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.activity.streams.borrow_mut();
        if let Some(at) = streams.iter().position(|one| Rc::ptr_eq(one, &self.stream)) {
            streams.swap_remove(at);
        }
        self.activity.ended.set(Instant::now());
    }
}

/// The body of an answer, watched on its way out.
#[derive(Debug)]
pub(in crate::l7) struct Watched {
    body: ResponseBody,
    place: Place,
    /// What is still here of the last part.
    rest: Bytes,
    /// Bytes that were handed on last.
    last: usize,
}

impl Watched {
    pub(in crate::l7) fn new(body: ResponseBody, place: Place) -> Self {
        place.waits();
        Watched { body, place, rest: Bytes::new(), last: 0 }
    }

    fn next(&mut self) -> Frame<Bytes> {
        let part = self.rest.split_to(self.rest.len().min(PART));
        self.last = part.len();
        self.place.waits();
        Frame::data(part)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    /// The next part is asked for only when the client has room for it.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.place.is_paid(std::mem::take(&mut this.last) as u64) {
            return Poll::Ready(Some(Err(BodyError::Slow)));
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.next())));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    this.next()
                }
                Err(trailers) => trailers,
            }))),
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.body.size_hint().exact() {
            Some(more) => SizeHint::with_exact(rest + more),
            None => self.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::worker::Worker;

    #[tokio::test(start_paused = true)]
    async fn idle_and_stalled() {
        let limit = Duration::from_secs(1);
        let counters = Worker::apart().counters.clone();
        let activity = Rc::new(Activity::new(Floor { rate: 100, grace: limit }, counters.clone()));
        let soon = limit * 5;
        assert!(tokio::time::timeout(soon, activity.idle(limit)).await.is_ok());
        let (place, other) = (activity.enter(), activity.enter());
        let is_cut = |place: &Place| place.stream.cut.get();
        assert!(tokio::time::timeout(soon, activity.idle(limit)).await.is_err());
        assert!(tokio::time::timeout(soon, activity.watch()).await.is_err());
        assert!(!is_cut(&place), "a backend is waited for");
        place.waits();
        assert!(tokio::time::timeout(limit / 2, activity.watch()).await.is_err());
        assert!(place.is_paid(100) && !is_cut(&place));
        place.waits();
        assert!(tokio::time::timeout(soon, activity.watch()).await.is_err());
        assert!(is_cut(&place) && !is_cut(&other), "its client takes nothing");
        assert_eq!(counters.limited[Hit::ReadTime as usize].get(), 1);
        drop((place, other));
        assert!(tokio::time::timeout(soon, activity.idle(limit)).await.is_ok());
    }
}
