//! HTTP/2 towards clients (RFC 9113), by ALPN over TLS and with prior knowledge without.
//!
//! A request of HTTP/2 becomes one that the rest of the front knows: with a Host, checked as strictly as the guard checks
//! those of HTTP/1. What h2 itself refuses: pseudo-headers that are wrong, headers that concern only a connection, a `TE`
//! that is not `trailers`, a body that is not as long as it says.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::ClientBody;
use super::connection::to_be_closed;
use super::forward::Ends;
use super::guard::Limits;
use super::proxy::{self, Client};
use super::worker::Worker;
use crate::model::settings::FrontSettings;

pub(super) mod activity;
pub(super) mod extended;
pub mod frames;
mod opening;
pub(super) mod request;

use activity::{Activity, Watched};
use frames::{Budget, Counted};
pub(super) use opening::Opening;

/// Streams that we had to reset for mistakes of the client; with more the connection ends (CVE-2025-8671).
const OWN_RESETS: usize = 1024;
/// Bytes of a body that may be on their way on one stream, and on all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer that wait for the client.
const SEND_BUFFER: usize = 16 * 1024;
/// A client that says nothing for so long is asked whether it is still there, and has as long to answer.
const PING: Duration = Duration::from_secs(30);
/// For the client to take note that the connection ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves a connection until its end; `first` was read of it before.
pub async fn serve<I>(worker: &Rc<Worker>, io: I, ends: Ends, first: BytesMut)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    worker.counters.http2_connections.increment();
    let limits = worker.client_limits();
    let activity = Rc::new(Activity::new(limits.floor(), worker.counters.clone()));
    let client = Rc::new(Client::over_streams(ends, Rc::clone(&activity)));
    let (service_client, service_activity) = (Rc::clone(&client), Rc::clone(&activity));
    let service = service_fn(move |request: Request<Incoming>| {
        let place = service_activity.enter();
        let request = request::prepare(request, service_client.ends.is_secured(), &limits);
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
    let asked = Arc::clone(&worker.view().router.settings.asked);
    let budget = Budget::new(&asked.clients, limits.head_size);
    let (io, cut) = Counted::new(io, first, budget, limits.head);
    let builder = builder(Driver(Rc::clone(&activity)), &asked, &limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        // An error here concerns this connection only, and who caused it knows.
        _ = connection.as_mut() => return worker.counters.hit(cut.get()),
        () = to_be_closed(worker, &client) => {}
        () = client.last() => {}
        () = activity.idle(limits.idle) => {}
        () = activity.watch() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => worker.counters.hit(cut.get()),
        () = activity.done(FAREWELL) => {}
        () = activity.watch() => {}
    }
}

fn builder(driver: Driver, asked: &FrontSettings, limits: &Limits) -> http2::Builder<Driver> {
    let mut builder = http2::Builder::new(driver);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(asked.tls.http2_streams)
        .enable_connect_protocol()
        // Those that the client has reset and nobody has looked at: the count of frames comes first.
        .max_pending_accept_reset_streams(asked.clients.resets as usize)
        .max_local_error_reset_streams(OWN_RESETS)
        .max_header_list_size(limits.head_size as u32)
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

/// Runs what answers on the streams of one connection, each until it is cut off.
#[derive(Clone, Debug)]
struct Driver(Rc<Activity>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Driver {
    fn execute(&self, future: F) {
        // hyper runs a request's future right after it has got it from the service.
        let Some(stream) = self.0.take_entered() else { return Local.execute(future) };
        tokio::task::spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|cx| if stream.poll_cut(cx).is_ready() { Poll::Ready(()) } else { future.as_mut().poll(cx) }).await;
        });
    }
}
