//! WebSocket and other protocols after the answer 101: bytes both ways until one side closes (RFC 9110 section 7.8).

use std::future::Future;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Copies until both sides have closed; `guard` lives as long.
pub async fn run<G>(
    client: impl Future<Output = hyper::Result<Upgraded>>,
    backend: impl Future<Output = hyper::Result<Upgraded>>,
    guard: G,
) {
    if let (Ok(client), Ok(backend)) = tokio::join!(client, backend) {
        // How it ended makes no difference: both connections are closed now.
        let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await;
    }
    drop(guard);
}
