//! What an answer keeps busy at its endpoint: a connection, and a place where those are counted.
//!
//! Nobody polls an answer for which its client has no room, and over HTTP/2 and HTTP/3 other streams keep such a client's
//! connection alive. Where places are counted or a request has an end, a task of its own looks whether the answer still moves,
//! so that a client that does not read takes nothing from others.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::body::{Body, SizeHint};
use tokio::time::{Instant, sleep_until};

use super::BackendBody;
use crate::l7::pool::Lease;

/// A body on its way from an endpoint, and the connection that it comes on.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) body: BackendBody,
    /// It can be used again after the end of the body.
    pub(super) lease: Option<Lease>,
    /// The last frame has come.
    pub(super) ended: bool,
}

impl Drop for Flow {
    /// The body is over when there is no other frame, or after its last byte: hyper does not ask then.
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take().filter(|_| self.ended || self.body.is_end_stream()) {
            lease.give_back();
        }
    }
}

/// A flow, and whoever looks after it.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most flows are of their own: a box would be one more for each answer")]
pub(super) enum Held {
    /// It ends with the answer.
    Own(Flow),
    /// It may end before.
    Guarded(Rc<Guarded>),
}

/// A flow that ends when nothing of it moves, or when its time is over.
#[derive(Debug)]
pub(super) struct Guarded {
    flow: RefCell<Option<Flow>>,
    /// When the client asked for more last.
    asked: Cell<Instant>,
    /// The endpoint is waited for, and not the client.
    waits: Cell<bool>,
    stall: Duration,
    until: Option<Instant>,
}

impl Held {
    /// Looks after a flow if it keeps others waiting, or has an end.
    pub(super) fn new(flow: Flow, stall: Duration, until: Option<Instant>) -> Self {
        if until.is_none() && flow.lease.as_ref().is_none_or(|lease| lease.place.is_none()) {
            return Held::Own(flow);
        }
        let (asked, waits) = (Cell::new(Instant::now()), Cell::new(false));
        let guarded = Rc::new(Guarded { flow: RefCell::new(Some(flow)), asked, waits, stall, until });
        tokio::task::spawn_local(guard(Rc::downgrade(&guarded)));
        Held::Guarded(guarded)
    }

    /// The client asks for more; `None`: it did so too late. The function tells whether there is something.
    pub(super) fn ask<T>(&mut self, more: impl FnOnce(&mut Flow) -> T, is_there: impl FnOnce(&T) -> bool) -> Option<T> {
        match self {
            Held::Own(flow) => Some(more(flow)),
            Held::Guarded(guarded) => {
                let found = more(guarded.flow.borrow_mut().as_mut()?);
                guarded.asked.set(Instant::now());
                guarded.waits.set(!is_there(&found));
                Some(found)
            }
        }
    }

    /// The client takes what has come, and asks for nothing more yet.
    pub(super) fn is_wanted(&self) {
        if let Held::Guarded(guarded) = self {
            guarded.asked.set(Instant::now());
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.look(|flow| flow.body.is_end_stream()).unwrap_or(false)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.look(|flow| flow.body.size_hint()).unwrap_or_default()
    }

    fn look<T>(&self, see: impl FnOnce(&Flow) -> T) -> Option<T> {
        match self {
            Held::Own(flow) => Some(see(flow)),
            Held::Guarded(guarded) => guarded.flow.borrow().as_ref().map(see),
        }
    }
}

impl Guarded {
    fn end(&self) -> Instant {
        let from = if self.waits.get() { Instant::now() } else { self.asked.get() };
        self.until.map_or(from + self.stall, |until| until.min(from + self.stall))
    }
}

async fn guard(guarded: Weak<Guarded>) {
    while let Some(end) = guarded.upgrade().map(|guarded| guarded.end()) {
        if end <= Instant::now() {
            // Its connection closes, as the answer on it is not over.
            guarded.upgrade().and_then(|guarded| guarded.flow.take());
            return;
        }
        sleep_until(end).await;
    }
}
