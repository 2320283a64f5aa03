//! The body of a request as it comes from a client, whatever the client speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::BodyError;
use crate::l7::http1;
#[cfg(feature = "http3")]
use crate::l7::http3;

/// A body that is still to come.
#[derive(Debug)]
pub enum ClientBody {
    /// Over HTTP/1.
    Http1(http1::Received),
    /// Over HTTP/2.
    Hyper(Incoming),
    /// Over HTTP/3.
    #[cfg(feature = "http3")]
    Http3(http3::Received),
}

impl From<Incoming> for ClientBody {
    fn from(body: Incoming) -> Self {
        ClientBody::Hyper(body)
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            ClientBody::Http1(body) => Pin::new(body).poll_frame(cx),
            ClientBody::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            #[cfg(feature = "http3")]
            ClientBody::Http3(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Http1(body) => body.is_end_stream(),
            ClientBody::Hyper(body) => body.is_end_stream(),
            #[cfg(feature = "http3")]
            ClientBody::Http3(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ClientBody::Http1(body) => body.size_hint(),
            ClientBody::Hyper(body) => body.size_hint(),
            #[cfg(feature = "http3")]
            ClientBody::Http3(body) => body.size_hint(),
        }
    }
}
