//! What can be known of a request that got no answer: whether the other side closed before it arrived there.
//!
//! A backend that closes an idle connection may do so in the moment in which a request is on its way to it. Its FIN then
//! acknowledges nothing of the request, so no process can have read any of it, and it may be sent again, whatever its method
//! (RFC 9112 section 9.3.1). A reset proves nothing: it also ends connections of backends that have read the request, and
//! says in no way that is kept what had arrived before.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Asks the kernel how many bytes of those written to a connection its other side has not acknowledged.
pub type Unacknowledged = fn(BorrowedFd<'_>) -> io::Result<usize>;

/// A connection's last request on its way.
#[derive(Debug, Default)]
pub struct Wire {
    /// Bytes since it began.
    written: AtomicUsize,
    unseen: AtomicBool,
}

impl Wire {
    /// Another request begins. The one before was answered, so all of it had arrived.
    pub(super) fn begin(&self) {
        self.written.store(0, Ordering::Relaxed);
        self.unseen.store(false, Ordering::Relaxed);
    }

    /// The other side has closed, and not a byte of the request had arrived before.
    pub(super) fn is_unseen(&self) -> bool {
        self.unseen.load(Ordering::Relaxed)
    }

    fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The other side has closed. Bytes are acknowledged in their order: as many as the request has means all of it.
    fn ended(&self, unacknowledged: usize) {
        let written = self.written.load(Ordering::Relaxed);
        self.unseen.store(written > 0 && unacknowledged >= written, Ordering::Relaxed);
    }
}

/// A connection that notes what becomes of requests.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    wire: Arc<Wire>,
    unacknowledged: Option<Unacknowledged>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, unacknowledged: Option<Unacknowledged>) -> (Self, Arc<Wire>) {
        let wire = Arc::default();
        (Watched { stream, wire: Arc::clone(&wire), unacknowledged }, wire)
    }

    fn end(&self) {
        let left = self.unacknowledged.and_then(|ask| ask(self.stream.as_fd()).ok());
        left.into_iter().for_each(|left| self.wire.ended(left));
    }

    fn written(&self, result: &io::Result<usize>) {
        match result {
            Ok(bytes) => self.wire.wrote(*bytes),
            // The kernel says so only behind a FIN (tcp_reset() in net/ipv4/tcp_input.c); else it is ECONNRESET.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.end(),
            Err(_) => {}
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if result.is_ok() && buf.filled().len() == before && buf.remaining() > 0 {
            self.end();
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
mod tests {
    use super::*;

    #[test]
    fn a_request_is_unseen_if_nothing_of_it_had_arrived() {
        let wire = Wire::default();
        let seen = |written: &[usize], unacknowledged| {
            wire.begin();
            written.iter().for_each(|bytes| wire.wrote(*bytes));
            wire.ended(unacknowledged);
            !wire.is_unseen()
        };
        assert!(!seen(&[100, 20], 120) && !seen(&[5], 6), "nothing had arrived");
        assert!(seen(&[100, 20], 119) && seen(&[100], 0), "a part had");
        assert!(seen(&[], 0), "nothing was sent");
        wire.wrote(1);
        wire.ended(1);
        wire.begin();
        assert!(!wire.is_unseen(), "that was another request");
    }
}
