//! Connections that have had one request and wait for the next.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::process::Process;
use super::site::HOST;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// KB of the process per connection.
pub(crate) fn cost(tls: bool, port: u16, connections: u32, process: &Process) -> Result<f64> {
    // What the first ones make the proxy take for good is not theirs.
    let warm: Vec<_> = (0..connections / 10).map(|_| used(tls, port)).collect::<Result<_>>()?;
    let before = process.memory()?;
    let idle: Vec<_> = (0..connections).map(|_| used(tls, port)).collect::<Result<_>>()?;
    let after = process.memory()?;
    drop((warm, idle));
    Ok((after - before) / f64::from(connections))
}

/// A connection after its first answer.
fn used(tls: bool, port: u16) -> Result<Box<dyn Stream>> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream: Box<dyn Stream> = if tls {
        let connection = ClientConnection::new(client(), ServerName::try_from(HOST)?)?;
        Box::new(StreamOwned::new(connection, socket))
    } else {
        Box::new(socket)
    };
    // In one piece: the second of two small writes waits for the acknowledgement of the first, 40 ms for each connection.
    stream.write_all(format!("GET /1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "answered with {}", String::from_utf8_lossy(&head));
    stream.read_exact(&mut [0; 1024]).context("the body")?;
    Ok(stream)
}

fn client() -> Arc<ClientConfig> {
    Arc::new(trusting::config())
}

mod trusting {
    //! The certificate is the bench's own, made a moment ago.

    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    struct Anybody(Arc<CryptoProvider>);

    pub(super) fn config() -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has the default versions").dangerous();
        builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
    }

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
