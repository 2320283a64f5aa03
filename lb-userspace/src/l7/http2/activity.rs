//! What goes on on a connection of HTTP/2: hyper keeps no time of it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use crate::l7::body::{BodyError, ResponseBody};

/// Requests in flight, and what they wait for.
#[derive(Debug)]
pub(in crate::l7) struct Activity {
    in_flight: Cell<usize>,
    /// Of those, waiting for us or for a backend and not for the client.
    waiting: Cell<usize>,
    /// When anything moved last.
    moved: Cell<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Activity { in_flight: Cell::new(0), waiting: Cell::new(0), moved: Cell::new(Instant::now()) }
    }
}

impl Activity {
    /// A request begins.
    pub(in crate::l7) fn enter(self: &Rc<Self>) -> Place {
        self.in_flight.set(self.in_flight.get() + 1);
        let mut place = Place { activity: Rc::clone(self), waits: false };
        place.waits(true);
        place
    }

    /// Ends when there was no request for so long.
    pub(in crate::l7) async fn idle(&self, limit: Duration) {
        self.until(limit, || self.in_flight.get() == 0).await;
    }

    /// Ends when for so long there were answers and the client took no part of any.
    pub(in crate::l7) async fn stalled(&self, limit: Duration) {
        self.until(limit, || self.in_flight.get() > 0 && self.waiting.get() == 0).await;
    }

    /// Ends so long after the last request.
    pub(in crate::l7) async fn done(&self, limit: Duration) {
        self.moved.set(Instant::now());
        self.idle(limit).await;
    }

    async fn until(&self, limit: Duration, holds: impl Fn() -> bool) {
        loop {
            let end = self.moved.get() + limit;
            if end <= Instant::now() && holds() {
                return;
            }
            sleep_until(end.max(Instant::now() + limit / 4)).await;
        }
    }
}

/// One request among those in flight.
#[derive(Debug)]
pub(in crate::l7) struct Place {
    activity: Rc<Activity>,
    waits: bool,
}

impl Place {
    /// It waits for somebody else than the client, or not.
    fn waits(&mut self, waits: bool) {
        let waiting = self.activity.waiting.get();
        match (self.waits, waits) {
            (false, true) => self.activity.waiting.set(waiting + 1),
            (true, false) => self.activity.waiting.set(waiting.saturating_sub(1)),
            _ => {}
        }
        self.waits = waits;
        if !waits {
            self.activity.moved.set(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waits(false);
        self.activity.in_flight.set(self.activity.in_flight.get().saturating_sub(1));
    }
}

/// The body of an answer, watched on its way out.
#[derive(Debug)]
pub(in crate::l7) struct Watched {
    body: ResponseBody,
    place: Place,
}

impl Watched {
    pub(in crate::l7) fn new(body: ResponseBody, mut place: Place) -> Self {
        place.waits(false);
        Watched { body, place }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    /// hyper asks for the next part only when the client has room for it.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        this.place.waits(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_and_stalled() {
        let activity = Rc::new(Activity::default());
        let second = Duration::from_secs(1);
        let soon = Duration::from_secs(5);
        let ends =
            |future: Pin<Box<dyn Future<Output = ()>>>| async move { tokio::time::timeout(soon, future).await.is_ok() };
        let (idle, stalled) = (
            || -> Pin<Box<dyn Future<Output = ()>>> {
                let one = Rc::clone(&activity);
                Box::pin(async move { one.idle(second).await })
            },
            || -> Pin<Box<dyn Future<Output = ()>>> {
                let one = Rc::clone(&activity);
                Box::pin(async move { one.stalled(second).await })
            },
        );
        assert!(ends(idle()).await && !ends(stalled()).await);
        let mut place = activity.enter();
        assert!(!ends(idle()).await && !ends(stalled()).await, "a backend is waited for");
        place.waits(false);
        assert!(!ends(idle()).await && ends(stalled()).await, "the client is waited for");
        place.waits(true);
        assert!(!ends(stalled()).await);
        drop(place);
        assert!(ends(idle()).await && !ends(stalled()).await);
    }
}
