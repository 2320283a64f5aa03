//! One client connection from accept to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::forward::Ends;
use super::guard::{Guard, MAX_HEAD};
use super::proxy::{self, Client};
use super::worker::{Stage, Worker};

/// Starts to serve a connection on this worker.
pub fn spawn(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    worker.counters.connections.increment();
    let (worker, open) = (Rc::clone(worker), worker.opened());
    tokio::task::spawn_local(async move {
        serve(&worker, stream, peer).await;
        worker.counters.connections_ended.increment();
        drop(open);
    });
}

async fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    // The address that the client connected to: the VIP.
    let Ok(front) = stream.local_addr() else { return };
    prepare(&stream);
    let (guard, handle) = Guard::new(stream, worker.limits.client);
    let client = Rc::new(Client::new(Ends::new(peer, front), handle));
    let service_client = Rc::clone(&client);
    let service = service_fn(move |request| {
        let answer = proxy::answer(Rc::clone(worker), Rc::clone(&service_client), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        // Clients may close their side after the request and still want the answer.
        .half_close(true)
        // The guard keeps the time.
        .header_read_timeout(None)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(TokioIo::new(guard), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // An error here concerns this connection only, and who caused it knows.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = to_be_closed(worker, &client) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Waits until the connection may be closed between two requests. One that has not had its first request yet gets time
/// to send it: a client that connects and sees the connection close does not try again by itself.
async fn to_be_closed(worker: &Rc<Worker>, client: &Client) {
    let mut stage = worker.stage.subscribe();
    let closing = |stage: &Stage| *stage == Stage::Closing || (*stage == Stage::Draining && client.has_been_served());
    if stage.wait_for(closing).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Small answers go out at once; dead clients are noticed even in tunnels.
fn prepare(stream: &TcpStream) {
    // If it fails the connection is broken and the next read says so.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
