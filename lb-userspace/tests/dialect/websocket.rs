//! WebSocket with a client and a server that people use (tungstenite).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress_over_tls};
use crate::pod::Pod;

/// Says back what it hears, until the client closes.
pub(crate) fn echo() -> Pod {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Pod::at(address)
}

/// Messages there and back, and a farewell.
pub(crate) fn talk<S: Read + Write>(mut socket: WebSocket<S>) {
    let large = vec![7; 1 << 20];
    for message in [Message::text("grüße"), Message::binary(large), Message::text("")] {
        socket.send(message.clone()).expect("sent");
        assert_eq!(socket.read().expect("an answer"), message);
    }
    socket.send(Message::Ping(vec![1, 2].into())).expect("sent");
    assert_eq!(socket.read().expect("an answer"), Message::Pong(vec![1, 2].into()));
    socket.close(None).expect("sent");
    assert!(socket.read().expect("the farewell").is_close());
}

/// A client that believes this authority.
pub(crate) fn client(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// A connection over TLS.
pub(crate) fn secured(site: &Site, authority: &Authority) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", site.tls_port())).expect("the front listens");
    secured_over(stream, authority)
}

/// The same over one that stands.
pub(crate) fn secured_over(stream: TcpStream, authority: &Authority) -> StreamOwned<ClientConnection, TcpStream> {
    let connection = ClientConnection::new(client(authority), ServerName::try_from("a.example").expect("a name"))
        .expect("a connection");
    StreamOwned::new(connection, stream)
}

#[test]
fn messages_go_both_ways_plain_and_over_tls() {
    let authority = Authority::new();
    let pod = echo();
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false")]);
    let site = Site::start(&manifests, &[("web", &pod)]);
    let ask = |url: &str| url.into_client_request().expect("a URL");
    let stream = TcpStream::connect(site.address()).expect("the front listens");
    let (socket, answer) = tungstenite::client(ask("ws://a.example/chat"), stream).expect("a handshake");
    assert_eq!(answer.status(), 101);
    talk(socket);
    let (socket, _) =
        tungstenite::client(ask("wss://a.example/chat"), secured(&site, &authority)).expect("a handshake over TLS");
    talk(socket);
    assert!(
        tungstenite::client(
            ask("ws://nobody.example/"),
            TcpStream::connect(site.address()).expect("the front listens")
        )
        .is_err()
    );
}
