//! Backends that speak TLS or HTTP/2.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Pair;
use crate::pod::Pod;

/// What a backend knows of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The name of SNI.
    pub(crate) name: Option<String>,
    /// The front showed a certificate.
    pub(crate) certified: bool,
    /// TLS, as the library calls its version and suite.
    pub(crate) version: String,
    pub(crate) suite: String,
    pub(crate) trailers: HeaderMap,
}

/// A backend on a runtime of its own, which ends with the test process.
pub(crate) struct SecurePod {
    pub(crate) pod: Pod,
    told: Arc<Mutex<Vec<Told>>>,
}

/// How it speaks.
pub(crate) struct Speech<'a> {
    pub(crate) http2: bool,
    /// Its certificate; `None`: no TLS.
    pub(crate) pair: Option<&'a Pair>,
    /// The authority of clients; `None`: they need no certificate.
    pub(crate) clients: Option<&'a str>,
}

impl SecurePod {
    pub(crate) fn start(speech: &Speech<'_>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let pod = Pod::at(listener.local_addr().expect("bound"));
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let acceptor = speech.pair.map(|pair| TlsAcceptor::from(Arc::new(config(pair, speech))));
        let (http2, remembered) = (speech.http2, Arc::clone(&told));
        std::thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, remembered) = (acceptor.clone(), Arc::clone(&remembered));
                    tokio::spawn(async move {
                        let Some(acceptor) = acceptor else {
                            return serve(stream, http2, Told::default(), remembered).await;
                        };
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let session = stream.get_ref().1;
                        let told = Told {
                            name: session.server_name().map(str::to_owned),
                            certified: session.peer_certificates().is_some(),
                            version: format!("{:?}", session.protocol_version()),
                            suite: session.negotiated_cipher_suite().map_or_else(String::new, |one| format!("{one:?}")),
                            ..Told::default()
                        };
                        serve(stream, http2, told, remembered).await;
                    });
                }
            });
        });
        SecurePod { pod, told }
    }

    /// All requests so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn config((chain, key): &Pair, speech: &Speech<'_>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let builder = match speech.clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add_parsable_certificates(CertificateDer::pem_slice_iter(authority.as_bytes()).filter_map(Result::ok));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let mut config = builder.with_single_cert(chain, key).expect("a certificate");
    config.alpn_protocols = vec![if speech.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    config
}

async fn serve<I>(stream: I, http2: bool, told: Told, remembered: Arc<Mutex<Vec<Told>>>)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (told, remembered) = (told.clone(), Arc::clone(&remembered));
        async move { Ok::<_, Infallible>(answer(request, told, &remembered).await) }
    });
    if http2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
    } else {
        let connection = hyper::server::conn::http1::Builder::new();
        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
    }
}

/// Says back what it was sent, with a trailer as gRPC has one.
async fn answer(request: Request<Incoming>, told: Told, remembered: &Mutex<Vec<Told>>) -> Response<Trailed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap_or_default();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let (target, body) = (head.uri.to_string(), body.to_bytes().to_vec());
    let told = Told { target, headers: head.headers, body, trailers, ..told };
    remembered.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Response::new(Trailed(vec![Frame::trailers(trailers), Frame::data(Bytes::from_static(b"done"))]))
}

/// Frames, the last one first.
struct Trailed(Vec<Frame<Bytes>>);

impl Body for Trailed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop().map(Ok))
    }
}
