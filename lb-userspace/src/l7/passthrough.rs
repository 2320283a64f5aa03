//! Connections over TLS that go to a backend as they are.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::worker::Worker;

/// Endpoints that one connection tries.
const MAX_ATTEMPTS: usize = 3;

/// Passes on what was read and then everything, both ways, until both sides have closed.
pub async fn run(worker: &Rc<Worker>, mut client: TcpStream, read: Vec<u8>, upstream: &str) {
    let Some((mut backend, _)) = connect(worker, upstream, MAX_ATTEMPTS).await else {
        return worker.counters.upstream_failures.increment();
    };
    worker.counters.upstream_connections.increment();
    if backend.write_all(&read).await.is_ok() {
        drop(read);
        // How it ended makes no difference: both connections are closed now.
        let _ = copy_bidirectional(&mut client, &mut backend).await;
    }
}

/// A connection to one of the endpoints, of which so many are tried, beginning with the one whose turn it is.
pub(super) async fn connect(worker: &Rc<Worker>, upstream: &str, tries: usize) -> Option<(TcpStream, SocketAddr)> {
    let endpoints = {
        let view = worker.view();
        let index = view.router.upstreams.iter().position(|one| &*one.name == upstream)?;
        let (upstream, turn) = view.upstream(index)?;
        let count = upstream.endpoints.len();
        (0..count.min(tries))
            .filter_map(|step| upstream.endpoints.get(turn.wrapping_add(step) % count).copied())
            .collect::<Vec<_>>()
    };
    for endpoint in endpoints {
        if let Ok(Ok(stream)) = timeout(worker.limits.connect, TcpStream::connect(endpoint)).await {
            // If it fails the connection is broken and the next write says so.
            let _ = stream.set_nodelay(true);
            return Some((stream, endpoint));
        }
    }
    None
}
