//! Short bodies of requests that are kept while they go out, so that what has arrived nowhere can be sent again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use hyper::body::Body;

use super::ClientBody;
use crate::l7::gather::{Gathered, Room};

/// Longest body that is kept.
const MOST: u64 = 64 << 10;
/// Room for more behind each piece of a body whose length nobody knows.
const MORE: u64 = 256;

/// A body on its way: what has gone out of it, and what has not.
#[derive(Debug)]
pub struct Kept {
    /// `None`: not all of it is here.
    gone: RefCell<Option<Gathered>>,
    rest: RefCell<Option<ClientBody>>,
    /// Who waits until nobody sends it any more.
    waiting: RefCell<Option<Waker>>,
}

impl Kept {
    /// For this body, if it is one that is kept; or may be one, where its length does not matter.
    pub fn new(body: &ClientBody, room: &Rc<Room>, any_length: bool) -> Option<Rc<Self>> {
        let unknown = any_length && body.size_hint().exact().is_none();
        (unknown || Self::is_for(body)).then(|| {
            let gone = RefCell::new(Some(Gathered::new(room)));
            Rc::new(Kept { gone, rest: RefCell::default(), waiting: RefCell::default() })
        })
    }

    /// It is known to be one that is kept.
    pub fn is_for(body: &ClientBody) -> bool {
        body.size_hint().exact().is_some_and(|length| length <= MOST)
    }

    /// A part goes out.
    pub(super) fn part(&self, data: &[u8], left: Option<u64>) {
        let mut gone = self.gone.borrow_mut();
        match gone.as_mut() {
            Some(kept) if !kept.is_full() && kept.bytes() + data.len() as u64 <= MOST => {
                kept.take(data, left.or(Some(MORE)));
            }
            _ => *gone = None,
        }
    }

    /// Something goes out that is not kept.
    pub(super) fn lose(&self) {
        self.gone.replace(None);
    }

    /// Nobody sends it any more.
    pub(super) fn stop(&self, rest: Option<ClientBody>) {
        self.rest.replace(rest);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// It would be in vain: nobody is left who could take it back.
    pub(super) fn is_forgotten(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1
    }

    /// Waits until nobody sends it any more, which is soon after its connection, or its stream, has ended.
    pub async fn stopped(self: &Rc<Self>) {
        poll_fn(|cx| {
            if Rc::strong_count(self) == 1 {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// What went out, and what is still to come; `None`: it is still on its way, or a part of it is gone.
    pub fn take_back(self: Rc<Self>) -> Option<(Gathered, Option<ClientBody>)> {
        let Kept { gone, rest, .. } = Rc::into_inner(self)?;
        let mut gone = gone.into_inner()?;
        gone.finish();
        Some((gone, rest.into_inner().filter(|rest| !rest.is_end_stream())))
    }
}
