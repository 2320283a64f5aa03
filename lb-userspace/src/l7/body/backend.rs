//! The body of an answer as it comes from a backend, whatever the backend speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::BodyError;
use crate::l7::wire::WireBody;

/// A body that is still to come.
#[derive(Debug)]
pub enum BackendBody {
    /// Over HTTP/1.1.
    Wire(WireBody),
    /// Over HTTP/2.
    Hyper(Incoming),
}

impl Body for BackendBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            BackendBody::Wire(body) => Pin::new(body).poll_frame(cx),
            BackendBody::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            BackendBody::Wire(body) => body.is_end_stream(),
            BackendBody::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            BackendBody::Wire(body) => body.size_hint(),
            BackendBody::Hyper(body) => body.size_hint(),
        }
    }
}
