//! The request that is asked about, as a client would send it and the front would read it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::http::request::Parts;

use super::Session;
use crate::l7::forward::Ends;
use crate::l7::guard::{Framer, Refusal, refuse};
use crate::status::explain::{ExplainQuery, Scheme};

/// A request.
pub(super) struct Asked {
    /// Its head.
    pub(super) head: Parts,
    /// What it says of its body.
    pub(super) length: Length,
}

impl Asked {
    /// Writes the request and lets the guard look at it.
    pub(super) fn new(query: &ExplainQuery) -> Result<Self, Refusal> {
        let target = &query.target;
        let usual = if target.scheme == Scheme::Https { 443 } else { 80 };
        let host = if target.port == usual { target.host.clone() } else { format!("{}:{}", target.host, target.port) };
        let given = query.headers.iter().any(|(name, _)| name == "host");
        let host = (HOST.as_str(), host.as_str());
        let headers = query.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = (!given).then_some(host).into_iter().chain(headers).collect();
        let mut bytes = format!("{} {} HTTP/1.1\r\n", query.method, target.path);
        bytes.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        Framer::default().step((bytes + "\r\n").as_bytes())?;
        let request = Request::builder().method(query.method.clone()).uri(&target.path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (head, ()) = request.body(()).map_err(|_| refuse(400, "the request line is malformed"))?.into_parts();
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Asked { head, length: Length(length.unwrap_or(0)) })
    }
}

/// Both ends of the connection on which it comes. The front's address is not known where the target is a name.
pub(super) fn ends(query: &ExplainQuery, session: Session) -> Ends {
    let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), query.target.port);
    let front = query.target.address().unwrap_or(unknown);
    match session {
        Some(session) => Ends::secured(query.client(), front, session),
        None => Ends::new(query.client(), front),
    }
}

/// A body of which only the length is known.
pub(super) struct Length(u64);

impl Body for Length {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
