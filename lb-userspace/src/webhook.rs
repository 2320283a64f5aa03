//! `weir webhook`: an admission webhook that tells who applies an object what `weir check` would say of it.
//!
//! It parses and answers. It has no credentials, asks nobody, renders and runs nothing, and no other part of weir needs it:
//! with `failurePolicy: Ignore` the API server goes on without it.

mod certificate;
mod review;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::config::WebhookCommand;
use crate::model::Severity;
use crate::translate::Settings;
pub use certificate::CertificateError;
use certificate::CertificateFiles;

/// Connections at a time; more wait in the kernel. An API server keeps few.
const CONNECTIONS: u32 = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// However slowly somebody sends; the API server makes a new connection then.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// A review holds an object twice, and etcd takes none of more than 1.5 MiB.
const LARGEST_BODY: usize = 8 << 20;
/// What is in flight at the end is given so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How long the pause is after accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The webhook cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Its certificate cannot be used.
    #[error("cannot use the certificate")]
    Certificate(#[from] CertificateError),
    /// The address is taken, or not ours.
    #[error("--listen {address}: cannot listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The runtime does not start.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// How objects are judged.
struct Judge {
    settings: Settings,
    deny: Option<Severity>,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(command: &WebhookCommand) -> Result<(), WebhookError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(WebhookError::Runtime)?.block_on(serve(command))
}

async fn serve(command: &WebhookCommand) -> Result<(), WebhookError> {
    let mut files = CertificateFiles::read(&command.certificate, &command.key)?;
    let judge = Arc::new(Judge { settings: command.manifests.settings(None, &[]), deny: command.deny });
    let listen = TcpListener::bind(command.listen).await;
    let listener = listen.map_err(|source| WebhookError::Listen { address: command.listen, source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(WebhookError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WebhookError::Runtime)?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS as usize));
    tracing::info!(listen = %command.listen, "answering");
    loop {
        let accepted = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let serving = connection(stream, peer, TlsAcceptor::from(files.current()), Arc::clone(&judge));
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_ANSWERS, slots.acquire_many(CONNECTIONS)).await;
    Ok(())
}

/// The next connection, once there is a slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // Nobody closes the semaphore.
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, judge: Arc<Judge>) {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::warn!(%peer, %error, "no TLS handshake"),
        Err(_) => return,
    };
    let service = service_fn(move |request| {
        let judge = Arc::clone(&judge);
        async move { Ok::<_, Infallible>(answer(&judge, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%peer, %error, "connection failed");
    }
}

async fn answer(judge: &Judge, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
        (&Method::POST, "/validate") => {
            let Ok(body) = Limited::new(request.into_body(), LARGEST_BODY).collect().await else {
                return text(StatusCode::PAYLOAD_TOO_LARGE, format!("expected at most {LARGEST_BODY} bytes\n"));
            };
            match review::answer(&body.to_bytes(), &judge.settings, judge.deny) {
                Ok(answer) => json(&answer),
                Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "expected POST /validate or GET /healthz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, value.to_string());
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
