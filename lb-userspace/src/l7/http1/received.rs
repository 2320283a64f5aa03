//! The body of a request, as it comes from the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::rest::Rest;
use crate::l7::body::BodyError;
use crate::l7::wire::WireError;

/// Where a body comes from.
pub(super) trait Source {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>>;
    fn rest(&self) -> Rest;
    /// Nobody reads it any more.
    fn forget(&self);
}

/// The body of a request, as it comes from the client. It lets go of the connection when it has come to its end: what comes then
/// belongs to the next request, whoever still holds this one.
pub struct Received(Option<Rc<dyn Source>>);

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Received").field(&self.rest()).finish()
    }
}

impl Received {
    /// `None`: there is none.
    pub(super) fn new(source: Option<Rc<dyn Source>>) -> Self {
        Received(source)
    }

    fn rest(&self) -> Rest {
        self.0.as_ref().map_or(Rest::Over, |source| source.rest())
    }

    fn let_go(&mut self) {
        self.0.take().into_iter().for_each(|source| source.forget());
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = &self.0 else { return Poll::Ready(None) };
        let frame = source.poll_frame(cx).map_err(|_| BodyError::Left);
        if self.rest().is_over() {
            self.let_go();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest().size_hint()
    }
}
