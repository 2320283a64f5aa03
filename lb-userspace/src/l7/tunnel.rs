//! Bytes both ways: WebSocket and other protocols after the answer 101 (RFC 9110 section 7.8), and connections that are
//! passed on as they are.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::http2::activity;
use super::limiter::Flight;
use super::pool::Place;
use super::wire::Io;
use super::worker::Open;

/// Bytes that are on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// What carries bytes both ways.
pub trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

/// The client's side, which is there when the answer has gone out.
pub enum Side {
    /// A connection of HTTP/1.
    Http1(oneshot::Receiver<Box<dyn Both>>),
    /// A stream of HTTP/2.
    Hyper(OnUpgrade),
}

impl Side {
    /// `None`: the answer has not gone out.
    async fn wait(self) -> Option<Box<dyn Both>> {
        match self {
            Side::Http1(client) => client.await.ok(),
            Side::Hyper(client) => Some(Box::new(TokioIo::new(client.await.ok()?))),
        }
    }
}

/// Who takes over a connection of HTTP/1 when the answer has gone out, if anybody does.
#[derive(Default)]
pub struct Heir(Cell<Option<oneshot::Sender<Box<dyn Both>>>>);

impl fmt::Debug for Heir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heir").finish_non_exhaustive()
    }
}

impl Heir {
    /// From now on somebody does.
    pub(super) fn expect(&self) -> Side {
        let (heir, side) = oneshot::channel();
        self.0.set(Some(heir));
        Side::Http1(side)
    }

    /// The answer has gone out.
    pub(super) fn hand_over(&self, connection: Box<dyn Both>) {
        // Who waited for it may be gone, and then it closes.
        let _ = self.0.take().map(|heir| heir.send(connection));
    }
}

/// A connection that becomes a tunnel when the answer 101 has gone out.
pub struct Tunnel {
    /// The client's side.
    pub client: Side,
    /// The backend's side, and what it has said already.
    pub backend: (Box<dyn Io>, Bytes),
    /// It ends when nothing has come of either side for so long.
    pub idle: Duration,
    /// Its place at the endpoint, where places are counted.
    pub place: Option<Place>,
    /// Its place on a connection that has other requests as well.
    pub(super) stream: Option<activity::Place>,
    /// A draining worker waits for it.
    pub open: Open,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Starts to copy; to the end of it the request is one in flight.
    pub fn start(self, flight: Option<Flight>) {
        tokio::task::spawn_local(async move {
            let Tunnel { client, backend: (backend, said), idle, place, stream, open } = self;
            if let Some(mut client) = client.wait().await {
                let begin = async {
                    client.write_all(&said).await?;
                    client.flush().await
                };
                if matches!(timeout(idle, begin).await, Ok(Ok(()))) {
                    both_ways(client, backend, idle).await;
                }
            }
            drop((flight, place, stream, open));
        });
    }
}

/// Copies until both sides have closed, one breaks, or nothing comes for too long; bytes from the client and to it.
pub async fn both_ways(
    client: impl AsyncRead + AsyncWrite,
    backend: impl AsyncRead + AsyncWrite,
    idle: Duration,
) -> (u64, u64) {
    let last = Cell::new(Instant::now());
    let (received, sent) = (Cell::new(0), Cell::new(0));
    let (from_client, to_client) = split(client);
    let (from_backend, to_backend) = split(backend);
    let copying = async {
        tokio::try_join!(copy(from_client, to_backend, &received, &last), copy(from_backend, to_client, &sent, &last))
    };
    let stalled = async {
        while last.get() + idle > Instant::now() {
            sleep_until(last.get() + idle).await;
        }
    };
    tokio::select! {
        // How it ended makes no difference: both connections are closed now.
        _ = copying => {}
        () = stalled => {}
    }
    (received.get(), sent.get())
}

/// One direction; its end is passed on, and the other direction goes on.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: &Cell<u64>,
    last: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        last.set(Instant::now());
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        // TLS may keep a part of it in a buffer of its own, while the socket is full
        to.flush().await?;
        bytes.set(bytes.get() + count as u64);
        last.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_buffer_holds_back_goes_out() {
        let (mut client, near) = tokio::io::duplex(64);
        let (far, mut backend) = tokio::io::duplex(64);
        let near = tokio::io::BufWriter::new(near);
        let talk = async {
            backend.write_all(b"ping").await.expect("open");
            let mut heard = [0; 4];
            client.read_exact(&mut heard).await.expect("open");
            drop((client, backend));
            heard
        };
        let (_, heard) = tokio::join!(both_ways(near, far, Duration::from_secs(60)), talk);
        assert_eq!(&heard, b"ping");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_when_nothing_comes_of_either_side() {
        let (mut client, near) = tokio::io::duplex(64);
        let (far, mut backend) = tokio::io::duplex(64);
        let idle = Duration::from_secs(60);
        let start = Instant::now();
        let talk = async {
            // One side alone keeps it.
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                backend.write_all(b"ping").await.expect("open");
            }
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.expect("closed in the end");
            heard.len()
        };
        let ((received, sent), heard) = tokio::join!(both_ways(near, far, idle), talk);
        assert_eq!((received, sent, heard), (0, 20, 20));
        assert_eq!((Instant::now() - start).as_secs(), 5 * 50 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_side_is_passed_on() {
        let (mut client, near) = tokio::io::duplex(64);
        let (far, mut backend) = tokio::io::duplex(64);
        let talk = async {
            client.write_all(b"bye").await.expect("open");
            client.shutdown().await.expect("open");
            let mut heard = String::new();
            backend.read_to_string(&mut heard).await.expect("its end");
            backend.write_all(b"and you").await.expect("open still");
            backend.shutdown().await.expect("open");
            client.read_to_string(&mut heard).await.expect("its end");
            heard
        };
        let (counted, heard) = tokio::join!(both_ways(near, far, Duration::from_secs(60)), talk);
        assert_eq!((counted, heard.as_str()), ((3, 7), "byeand you"));
    }
}
