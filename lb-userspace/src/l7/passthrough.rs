//! Connections over TLS that go to a backend as they are.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection;
use super::tunnel::both_ways;
use super::worker::Worker;

/// Endpoints that one connection tries.
const MAX_ATTEMPTS: usize = 3;

/// Passes on what was read and then everything, both ways, until both sides have closed or nothing comes for as long as it may
/// take on a TCP port.
pub async fn run(worker: &Rc<Worker>, client: TcpStream, read: Vec<u8>, upstream: &str) {
    let Some((mut backend, _)) = connect(worker, upstream, MAX_ATTEMPTS).await else {
        return worker.counters.upstream_failures.increment();
    };
    worker.counters.upstream_connections.increment();
    if backend.write_all(&read).await.is_ok() {
        drop(read);
        let idle = worker.view().router.settings.asked.streams.idle;
        both_ways(client, backend, Duration::from_millis(idle)).await;
    }
}

/// A connection to one of the endpoints, of which so many are tried, beginning with the one whose turn it is.
pub(super) async fn connect(worker: &Rc<Worker>, upstream: &str, tries: usize) -> Option<(TcpStream, SocketAddr)> {
    let endpoints = {
        let view = worker.view();
        let index = view.router.upstream(upstream)?;
        let (upstream, turn) = view.upstream(index)?;
        let count = upstream.endpoints.len();
        (0..count.min(tries))
            .filter_map(|step| upstream.endpoints.get(turn.wrapping_add(step) % count).copied())
            .collect::<Vec<_>>()
    };
    for endpoint in endpoints {
        if let Ok(Ok(stream)) = timeout(worker.limits.connect, TcpStream::connect(endpoint)).await {
            connection::prepare(&stream);
            return Some((stream, endpoint));
        }
    }
    None
}
