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
//! the reset itself acknowledges (tcp_validate_incoming() comes before tcp_ack()).

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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
    /// It is one of the connections that there may be.
    _place: Rc<()>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, unacknowledged: Option<Unacknowledged>, place: Rc<()>) -> (Self, Rc<Way>) {
        let way = Rc::default();
        (Watched { stream, way: Rc::clone(&way), unacknowledged, _place: place }, way)
    }

    fn end(&self) {
        let left = self.unacknowledged.and_then(|ask| ask(self.stream.as_fd()).ok());
        left.into_iter().for_each(|left| self.way.ended(left));
    }

    fn written(&self, result: &io::Result<usize>) {
        match result {
            Ok(bytes) => self.way.wrote(*bytes),
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
    use std::io::Read;
    use std::net::{TcpListener, TcpStream as Blocking};
    use std::rc::Rc;
    use std::time::Duration;

    use hyper::Request;
    use socket2::SockRef;
    use tokio::task::LocalSet;

    use super::*;
    use crate::l7::body::{Progress, RequestBody};
    use crate::l7::pool::Pool;
    use crate::l7::secure::Transport;
    use crate::l7::wire::Failed;

    fn reset(far: Blocking) {
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("allowed");
        drop(far);
    }

    /// Whether a request is known to be unseen that is sent on a connection whose other end does this with it.
    async fn is_unseen(then: impl FnOnce(Blocking) -> Option<std::thread::JoinHandle<()>>) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let pool = Pool::new(None, 1);
        let peer = pool.peer(listener.local_addr().expect("bound"));
        let lease = pool.connect(&peer, &Transport::PLAIN, Duration::from_secs(60)).await;
        let mut lease = lease.unwrap_or_else(|error| panic!("{error}"));
        let far = then(listener.accept().expect("a connection").0);
        // The runtime has not looked at its sockets since.
        let body = RequestBody::new(None, Rc::new(Progress::new(u64::MAX)));
        let sent = lease.sender.send(Request::post("/").body(body).expect("a request")).await;
        far.into_iter().for_each(|far| far.join().expect("no panic"));
        !matches!(sent.expect_err("nobody answers"), Failed::Sent)
    }

    #[tokio::test]
    async fn a_reset_before_a_request_is_told_from_one_behind_it() {
        let all = async {
            let before = |far| {
                reset(far);
                None
            };
            assert!(is_unseen(before).await, "nothing of it was sent");
            let behind = |mut far: Blocking| {
                Some(std::thread::spawn(move || {
                    far.read_exact(&mut [0; 10]).expect("a request");
                    reset(far);
                }))
            };
            assert!(!is_unseen(behind).await, "a part of it was read");
        };
        LocalSet::new().run_until(all).await;
    }

    #[test]
    fn a_request_is_unseen_if_nothing_of_it_had_arrived() {
        let way = Way::default();
        let seen = |written: &[usize], unacknowledged| {
            way.begin();
            written.iter().for_each(|bytes| way.wrote(*bytes));
            way.ended(unacknowledged);
            !way.is_unseen()
        };
        assert!(!seen(&[100, 20], 120) && !seen(&[5], 6), "nothing had arrived");
        assert!(seen(&[100, 20], 119) && seen(&[100], 0), "a part had");
        assert!(!seen(&[], 0), "nothing was sent");
        way.wrote(1);
        way.ended(1);
        way.begin();
        way.wrote(1);
        assert!(!way.is_unseen(), "that was another request");
    }
}
