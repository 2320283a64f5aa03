//! What can be known of a request that got no answer: whether the other side closed before it arrived there.
//!
//! A backend that closes an idle connection may do so in the moment in which a request is on its way to it. Two things prove
//! that no process can have read any of it, so that it may be sent again, whatever its method (RFC 9112 section 9.3.1):
//!
//! - the connection broke before a byte of the request was written, be it by FIN or by a reset that had come before;
//! - a FIN that acknowledges nothing of the request. The reset that follows it, where the backend's socket is gone when the
//!   request gets there, takes nothing away from that: the kernel keeps both the end of what was received and the count of
//!   what was acknowledged (tcp_recvmsg_locked(), tcp_ioctl(), Linux 6.12).
//!
//! A reset alone, after bytes were written, proves nothing. It also ends connections of backends that have read the request
//! and then leave a rest of it unread, or abort (SO_LINGER of 0), acknowledgements are delayed, and the kernel throws away what
//! the reset itself acknowledges (tcp_validate_incoming() comes before tcp_ack()). The kernel tells of it once, by ECONNRESET;
//! whoever asks again is told of an end, as after a FIN (tcp_recvmsg_locked(), sk_stream_error()), so that first answer is noted.
//!
//! Over TLS a backend says that it closes before its FIN goes out, in one segment with it or in another. What proves something
//! is the FIN, which is waited for then.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::l7::wire::Io;

/// Asks the kernel how many bytes of those written to a connection its other side has not acknowledged.
pub type Unacknowledged = fn(BorrowedFd<'_>) -> io::Result<usize>;

/// A connection's last request on its way.
#[derive(Debug, Default)]
pub struct Way {
    /// Bytes since it began.
    written: Cell<usize>,
    unseen: Cell<bool>,
}

impl Way {
    /// Another request begins. The one before was answered, so all of it had arrived.
    pub(super) fn begin(&self) {
        self.written.set(0);
        self.unseen.set(false);
    }

    /// Of a connection that broke: not a byte of the request was sent, or the other side had closed before one arrived.
    pub(super) fn is_unseen(&self) -> bool {
        self.written.get() == 0 || self.unseen.get()
    }

    fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes);
    }

    /// The other side has closed. Bytes are acknowledged in their order: as many as the request has means all of it.
    fn ended(&self, unacknowledged: usize) {
        let written = self.written.get();
        self.unseen.set(unacknowledged >= written);
    }
}

/// A connection that notes what becomes of requests.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    way: Rc<Way>,
    unacknowledged: Option<Unacknowledged>,
    /// It ended by something else than a FIN.
    is_cut: bool,
    /// It is one of the connections that there may be.
    _place: Rc<()>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, unacknowledged: Option<Unacknowledged>, place: Rc<()>) -> (Self, Rc<Way>) {
        let way = Rc::default();
        (Watched { stream, way: Rc::clone(&way), unacknowledged, is_cut: false, _place: place }, way)
    }

    fn end(&self) {
        let asked = self.unacknowledged.filter(|_| !self.is_cut);
        let left = asked.and_then(|ask| ask(self.stream.as_fd()).ok());
        left.into_iter().for_each(|left| self.way.ended(left));
    }

    /// Behind a FIN the first error is EPIPE (tcp_reset() in net/ipv4/tcp_input.c); else it is another one.
    fn failed(&mut self, error: &io::Error) {
        if error.kind() == ErrorKind::BrokenPipe {
            self.end();
        } else {
            self.is_cut = true;
        }
    }

    fn written(&mut self, result: &io::Result<usize>) {
        match result {
            Ok(bytes) => self.way.wrote(*bytes),
            Err(error) => self.failed(error),
        }
    }
}

impl Io for Watched {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; 1024];
            let mut bytes = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *self).poll_read(cx, &mut bytes));
            if read.is_err() || bytes.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl Io for TlsStream<Watched> {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().0.poll_end(cx)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        match &result {
            Ok(()) if buf.filled().len() == before && buf.remaining() > 0 => self.end(),
            Ok(()) => {}
            Err(error) => self.failed(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.written(&result);
        Poll::Ready(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        self.written(&result);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
