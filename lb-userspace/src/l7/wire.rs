//! HTTP/1.1 to a backend, one request after the other (RFC 9112). No task belongs to a connection: whoever waits for the head
//! of the answer moves both directions on, and whoever reads its body the other one. Only what is left of a request when the
//! answer to it has begun is sent by a task, as a client that still sends may not read yet.

mod answer;
mod chunks;
mod receiving;
mod request;
mod rest;
mod sending;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite, Empty, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::body::{BodyError, RequestBody};
pub(in crate::l7) use answer::keeps;
pub(in crate::l7) use chunks::{Chunks, Step};
use receiving::Receiving;
pub(in crate::l7) use receiving::cut;
use sending::{Broken, Sending};

/// A connection, with TLS or without.
pub trait Io: AsyncRead + AsyncWrite + Unpin {
    /// Reads on to the end of TCP, where TLS may have ended before, and keeps nothing of what comes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What a connection leaves behind that went elsewhere.
impl Io for Empty {
    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// Why an answer, or the rest of it, did not come.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection failed.
    #[error("the connection to the backend failed")]
    Io(#[from] io::Error),
    /// It ended too early.
    #[error("the backend closed the connection before its answer was complete")]
    Ended,
    /// The head of the answer is no HTTP.
    #[error("the head of the answer is malformed: {0}")]
    Head(#[from] httparse::Error),
    /// It says chunks, but speaks a version that knows none (RFC 9112 section 6.1).
    #[error("the answer is one of HTTP/1.0 in chunks")]
    OldChunks,
    /// It is longer than a head may be.
    #[error("the head of the answer is longer than {MAX_HEAD} bytes")]
    LongHead,
    /// The chunks of the body are malformed.
    #[error("the chunks of the answer are malformed")]
    Chunks,
    /// The body of the request broke off.
    #[error("the request broke off")]
    Request,
}

/// Longest head of an answer.
const MAX_HEAD: usize = 64 << 10;
/// How long after the end of TLS that of TCP is waited for, which backends send at the same time.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no answer to a request.
#[derive(Debug)]
pub enum Failed {
    /// No byte of it was sent: here it is again.
    Unsent(Box<Request<RequestBody>>),
    /// Nobody has seen anything of it, but a part of its body is gone.
    Unseen,
    /// The backend says that it has done nothing with it, and will not.
    Refused,
    /// The same, since this connection ends: that says nothing about another one.
    Ended,
    /// What came is no answer.
    Invalid,
    /// It may have been seen.
    Sent,
}

/// One connection. Its clones are the same connection.
#[derive(Clone, Debug)]
pub struct Wire(Rc<RefCell<Connection>>);

struct Connection {
    io: Box<dyn Io>,
    stage: Stage,
    sending: Sending,
    receiving: Receiving,
    /// The request says that none comes behind it.
    last: bool,
    /// It failed, or ended, under a request.
    broke: bool,
    /// Who sends what is left of the request, and who waits for the answer meanwhile.
    rest: Option<(AbortHandle, Option<Waker>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for a request.
    Idle,
    /// There is a request on it, or its answer.
    Busy,
    /// It takes no request any more.
    Over,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Wire {
    /// Over this connection, on which nothing was said yet.
    pub fn new(io: impl Io + 'static) -> Self {
        let connection = Connection {
            io: Box::new(io),
            stage: Stage::Idle,
            sending: Sending::default(),
            receiving: Receiving::default(),
            last: false,
            broke: false,
            rest: None,
        };
        Wire(Rc::new(RefCell::new(connection)))
    }

    /// It takes a request: the one before is over, and the backend has neither closed it nor said anything unasked. Costs
    /// a system call only if something has come.
    pub fn is_ready(&self) -> bool {
        self.0.borrow_mut().is_quiet()
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<WireBody>, Failed> {
        if !self.is_ready() {
            return Err(Failed::Unsent(Box::new(request)));
        }
        self.0.borrow_mut().begin(request);
        let answer = poll_fn(|cx| self.0.borrow_mut().poll_answer(cx)).await;
        match answer {
            Ok(head) => {
                rest::send(self);
                Ok(head.map(|()| WireBody { wire: self.clone(), failed: None }))
            }
            Err(error) => {
                tracing::debug!(%error, "a backend gave no answer");
                Err(self.0.borrow_mut().fail(&error))
            }
        }
    }

    /// Of a connection that broke: waits for the end of TCP, which may prove something. Without an end nothing is proven.
    pub async fn end(&self) {
        if self.0.borrow().broke {
            // What only few requests need takes no memory of the others.
            let _ = Box::pin(timeout(FAREWELL, poll_fn(|cx| self.0.borrow_mut().io.poll_end(cx)))).await;
        }
    }

    /// The connection, for another protocol after the answer 101, and what of that has come already. It takes no request
    /// any more.
    pub fn take_tunnel(&self) -> (Box<dyn Io>, Bytes) {
        let mut connection = self.0.borrow_mut();
        connection.stage = Stage::Over;
        let io = std::mem::replace(&mut connection.io, Box::new(tokio::io::empty()));
        (io, connection.receiving.take_rest())
    }
}

impl Connection {
    fn is_quiet(&mut self) -> bool {
        if self.stage != Stage::Idle {
            return false;
        }
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        // Whoever looks at many connections in one go would find all of them quiet once the budget of its task is used up.
        let look = poll_fn(|cx| Poll::Ready(Pin::new(&mut self.io).poll_read(cx, &mut byte).is_pending()));
        let looked = std::pin::pin!(tokio::task::unconstrained(look));
        let quiet = looked.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(true);
        if !quiet {
            self.stage = Stage::Over;
        }
        quiet
    }

    fn begin(&mut self, request: Request<RequestBody>) {
        self.stage = Stage::Busy;
        self.rest = None;
        self.receiving.begin(request.method());
        self.last = !answer::keeps(request.headers(), request.version() == Version::HTTP_10);
        self.sending = Sending::new(request);
    }

    /// There is no answer. What kept the request's body ends here.
    fn fail(&mut self, error: &WireError) -> Failed {
        self.stage = Stage::Over;
        self.broke = matches!(error, WireError::Ended | WireError::Io(_));
        let mut sending = std::mem::take(&mut self.sending);
        if matches!(error, WireError::Head(_) | WireError::OldChunks | WireError::LongHead) {
            return Failed::Invalid;
        }
        match (sending.take_back(), sending.sent()) {
            (Some(request), _) => Failed::Unsent(Box::new(request)),
            (None, 0) => Failed::Unseen,
            (None, _) => Failed::Sent,
        }
    }

    /// An answer may come before all of the request is sent, and then the rest of the request may be refused: what the
    /// backend says stands above that it does not listen any more.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, WireError>> {
        if let Poll::Ready(Err(Broken::Body)) = self.sending.poll(&mut self.io, cx) {
            return Poll::Ready(Err(WireError::Request));
        }
        let answer = ready!(self.receiving.poll_head(&mut self.io, cx));
        if answer.is_ok() {
            self.settle();
        }
        Poll::Ready(answer)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        if self.stage == Stage::Busy && self.sending.is_broken_off() {
            self.stage = Stage::Over;
            return Poll::Ready(Some(Err(WireError::Request)));
        }
        let frame = self.receiving.poll_body(&mut self.io, cx);
        match &frame {
            Poll::Ready(Some(Err(_))) => self.stage = Stage::Over,
            Poll::Ready(_) => self.settle(),
            Poll::Pending => {
                self.rest.iter_mut().for_each(|(_, reader)| *reader = Some(cx.waker().clone()));
            }
        }
        frame
    }

    /// After the end of an answer the connection can be used again if all of the request was sent, and if the backend
    /// keeps it.
    fn settle(&mut self) {
        if self.stage == Stage::Busy && self.receiving.is_complete() {
            let again = self.sending.is_complete() && self.receiving.is_kept() && !self.last;
            self.stage = if again { Stage::Idle } else { Stage::Over };
        }
    }
}

/// The body of an answer. A connection on which it was not read to its end closes.
#[derive(Debug)]
pub struct WireBody {
    wire: Wire,
    failed: Option<WireError>,
}

impl Drop for WireBody {
    fn drop(&mut self) {
        let mut connection = self.wire.0.borrow_mut();
        if !connection.receiving.is_complete() {
            connection.stage = Stage::Over;
            connection.rest.take().into_iter().for_each(|(task, _)| task.abort());
        }
    }
}

impl WireBody {
    /// Its connection.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = self.wire.0.borrow_mut().poll_body(cx);
        match ready!(frame) {
            Some(Err(error)) => {
                // hyper throws away what it has not sent when a body fails: first it gets the time to send that.
                self.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.wire.0.borrow().receiving.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        self.wire.0.borrow().receiving.size_hint()
    }
}
