//! One server: plain HTTP/1.1, the same answer to whatever is asked. Everything about a connection is bounded.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Check, Healthy};

/// Connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 32;
/// However slowly somebody asks.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST_HEAD: usize = 16 << 10;
const BACKLOG: i32 = 128;
/// How long the pause is after accept failed, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Load balancers that know weights read this one.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// A server; it ends when it is dropped.
pub(super) struct Server {
    check: Arc<ArcSwap<Check>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Listens on a port, on all addresses of both families.
    pub(super) fn start(port: u16, check: Check, healthy: Healthy, only: Arc<[IpNet]>) -> io::Result<Self> {
        let listener = TcpListener::from_std(listen(port)?.into())?;
        let check = Arc::new(ArcSwap::from_pointee(check));
        let task = tokio::spawn(serve(listener, Arc::clone(&check), healthy, only));
        Ok(Self { check, task })
    }

    /// What is told from now on.
    pub(super) fn tell(&self, check: Check) {
        self.check.store(Arc::new(check));
    }
}

/// One socket for both families, or for IPv4 where the kernel has no IPv6.
fn listen(port: u16) -> io::Result<Socket> {
    let (socket, address) = match Socket::new(Domain::IPV6, Type::STREAM, None) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            (socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        }
        Err(_) => (Socket::new(Domain::IPV4, Type::STREAM, None)?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    };
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

async fn serve(listener: TcpListener, check: Arc<ArcSwap<Check>>, healthy: Healthy, only: Arc<[IpNet]>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) if is_served(&stream, &only) => {
                let (check, healthy) = (Arc::clone(&check), Arc::clone(&healthy));
                tokio::spawn(async move {
                    connection(stream, &check, &healthy).await;
                    drop(slot);
                });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "health checks: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Health is told on the addresses on which NodePorts answer.
fn is_served(stream: &TcpStream, only: &[IpNet]) -> bool {
    let on = |address: SocketAddr| only.iter().any(|network| network.contains(&address.ip().to_canonical()));
    only.is_empty() || stream.local_addr().is_ok_and(on)
}

async fn connection(stream: TcpStream, check: &ArcSwap<Check>, healthy: &Healthy) {
    let service = service_fn(|_request| async { Ok::<_, Infallible>(answer(&check.load(), healthy())) });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(CONNECTION_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        tracing::debug!(%error, "health checks: connection failed");
    }
}

/// 200 where there is a local endpoint and this node forwards, else 503.
pub(super) fn answer(check: &Check, healthy: bool) -> Response<Full<Bytes>> {
    let body = json!({
        "service": {"namespace": check.namespace, "name": check.name},
        "localEndpoints": check.local,
        "serviceProxyHealthy": healthy,
    });
    let mut answer = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    if check.local == 0 || !healthy {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(WEIGHT, HeaderValue::from(check.local));
    answer
}
