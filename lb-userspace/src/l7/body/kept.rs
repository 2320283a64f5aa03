//! Short bodies of requests that are kept while they go out, so that what has arrived nowhere can be sent again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hyper::body::Body;

use super::ClientBody;
use crate::l7::gather::{Gathered, Room};

/// Longest body that is kept.
const MOST: u64 = 64 << 10;

/// A body on its way: what has gone out of it, and what has not.
#[derive(Debug)]
pub struct Kept {
    gone: RefCell<Gathered>,
    rest: RefCell<Option<ClientBody>>,
    /// All that has gone out is here.
    complete: Cell<bool>,
}

impl Kept {
    /// For this body, if it is one that is kept.
    pub fn new(body: &ClientBody, room: &Rc<Room>) -> Option<Rc<Self>> {
        Self::is_for(body).then(|| {
            let gone = RefCell::new(Gathered::new(room));
            Rc::new(Kept { gone, rest: RefCell::default(), complete: Cell::new(true) })
        })
    }

    /// Bodies whose length nobody knows are not kept.
    pub fn is_for(body: &ClientBody) -> bool {
        body.size_hint().exact().is_some_and(|length| length <= MOST)
    }

    /// A part goes out.
    pub(super) fn part(&self, data: &[u8], left: Option<u64>) {
        let mut gone = self.gone.borrow_mut();
        if gone.is_full() {
            self.complete.set(false);
        } else {
            gone.take(data, left);
        }
    }

    /// Something goes out that is not kept.
    pub(super) fn lose(&self) {
        self.complete.set(false);
    }

    /// Nobody sends it any more.
    pub(super) fn stop(&self, rest: Option<ClientBody>) {
        self.rest.replace(rest);
    }

    /// What went out, and what is still to come; `None`: it is still on its way, or a part of it is gone.
    pub fn take_back(self: Rc<Self>) -> Option<(Gathered, Option<ClientBody>)> {
        let Kept { gone, rest, complete } = Rc::into_inner(self)?;
        let mut gone = gone.into_inner();
        gone.finish();
        complete.get().then(|| (gone, rest.into_inner().filter(|rest| !rest.is_end_stream())))
    }
}
