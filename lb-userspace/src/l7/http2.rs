//! HTTP/2 towards clients (RFC 9113), by ALPN over TLS and with prior knowledge without.
//!
//! A request of HTTP/2 becomes one that the rest of the front knows: with a Host, checked as strictly as the guard checks
//! those of HTTP/1. What h2 itself refuses: pseudo-headers that are wrong, headers that concern only a connection, a `TE`
//! that is not `trailers`, a body that is not as long as it says.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::body::ClientBody;
use super::connection::to_be_closed;
use super::forward::Ends;
use super::guard::MAX_HEAD;
use super::proxy::{self, Client};
use super::worker::Worker;

pub(super) mod activity;
pub(super) mod extended;
pub(super) mod request;

use activity::{Activity, Watched};

/// Streams that the client has reset and nobody has looked at; with more the connection ends (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we had to reset for mistakes of the client; with more the connection ends (CVE-2025-8671).
const OWN_RESETS: usize = 1024;
/// Bytes of a body that may be on their way on one stream, and on all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers that wait for one client.
const SEND_BUFFER: usize = 64 * 1024;
/// A client that says nothing for so long is asked whether it is still there, and has as long to answer.
const PING: Duration = Duration::from_secs(30);
/// For the client to take note that the connection ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves a connection until its end.
pub async fn serve<I>(worker: &Rc<Worker>, io: I, ends: Ends)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    worker.counters.http2_connections.increment();
    let activity = Rc::new(Activity::default());
    let client = Rc::new(Client::over_streams(ends, Rc::clone(&activity)));
    let (service_client, service_activity) = (Rc::clone(&client), Rc::clone(&activity));
    let service = service_fn(move |request: Request<Incoming>| {
        let place = service_activity.enter();
        let request = request::prepare(request, service_client.ends.is_secured());
        let is_extended = request.extensions().get::<extended::Extended>().is_some();
        let answer = proxy::answer(Rc::clone(worker), Rc::clone(&service_client), request.map(ClientBody::from));
        async move {
            let mut answer = answer.await;
            if is_extended {
                extended::deny(&mut answer);
            }
            Ok::<_, Infallible>(answer.map(|body| Watched::new(body, place)))
        }
    });
    // Requests of one connection at a time.
    let streams = worker.view().router.settings.asked.tls.http2_streams;
    let mut connection = std::pin::pin!(builder(streams).serve_connection(TokioIo::new(io), service));
    let limits = worker.client_limits();
    tokio::select! {
        // An error here concerns this connection only, and who caused it knows.
        _ = connection.as_mut() => return,
        () = to_be_closed(worker, &client) => {}
        () = client.last() => {}
        () = activity.idle(limits.idle) => {}
        () = activity.stalled(limits.stall) => return,
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => {}
        () = activity.done(FAREWELL) => {}
        () = activity.stalled(limits.stall) => {}
    }
}

fn builder(streams: u32) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Runs what hyper wants to run on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// What every connection of HTTP/2 begins with, as far as no request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI ";
/// Nobody wakes us when more bytes have come behind those that are still unread.
const SECOND_LOOK: Duration = Duration::from_millis(10);

/// Waits for the first bytes, which stay unread, and tells whether the client speaks HTTP/2.
pub async fn begins(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        let found = &first[..count];
        if !PREFACE.starts_with(found) || count == 0 {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        sleep(SECOND_LOOK).await;
    }
}
