//! TLS towards backends.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::proxy_protocol::{Told, Version};
use super::tls::{H2, HTTP11};
use crate::model::filters::BackendTls;

/// Suites by OpenSSL's names (for TLS 1.3, RFC 8446 appendix B.4): all that have forward secrecy and authenticated
/// encryption.
pub const SUITES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Settings that are kept prepared.
const MOST: usize = 256;

/// How to speak to one kind of backend.
#[derive(Clone, Debug)]
pub struct Transport {
    /// HTTP/2.
    pub http2: bool,
    /// TLS, and the name of the other side.
    pub tls: Option<(Arc<BackendTls>, Arc<str>)>,
    /// Whom the connection is for, where it begins with the PROXY protocol.
    pub proxied: Option<(Version, Told)>,
}

impl Transport {
    /// HTTP/1.1, as it is.
    pub const PLAIN: Self = Transport { http2: false, tls: None, proxied: None };
}

impl PartialEq for Transport {
    /// Settings that have not changed are mostly the very same.
    fn eq(&self, other: &Self) -> bool {
        let tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some((one, name)), Some((two, other))) => name == other && (Arc::ptr_eq(one, two) || one == two),
            _ => false,
        };
        self.http2 == other.http2 && self.proxied == other.proxied && tls
    }
}

/// Settings as the library has them, for one worker.
#[derive(Debug, Default)]
pub struct Connectors {
    prepared: RefCell<Vec<Prepared>>,
}

/// What was asked for, whether for HTTP/2, and what came of it.
type Prepared = (Arc<BackendTls>, bool, Arc<ClientConfig>);

impl Connectors {
    /// The prepared settings.
    pub fn get(&self, tls: &Arc<BackendTls>, http2: bool) -> Result<Arc<ClientConfig>, Error> {
        let mut prepared = self.prepared.borrow_mut();
        let known = prepared.iter().find(|(one, h2, _)| *h2 == http2 && (Arc::ptr_eq(one, tls) || one == tls));
        if let Some((_, _, config)) = known {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(config(tls, http2)?);
        if prepared.len() >= MOST {
            prepared.remove(0);
        }
        prepared.push((Arc::clone(tls), http2, Arc::clone(&config)));
        Ok(config)
    }
}

fn config(tls: &BackendTls, http2: bool) -> Result<ClientConfig, Error> {
    let mut provider = aws_lc_rs::default_provider();
    if !tls.suites.is_empty() {
        let named = |suite| SUITES.iter().any(|(name, one)| *one == suite && tls.suites.iter().any(|own| own == name));
        // Suites of TLS 1.2 say nothing of those of 1.3, as with OpenSSL.
        let is_13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
        let any_13 = provider.cipher_suites.iter().any(|suite| is_13(suite) && named(suite.suite()));
        provider.cipher_suites.retain(|suite| named(suite.suite()) || (is_13(suite) && !any_13));
    }
    let provider = Arc::new(provider);
    let versions = match (tls.v12, tls.v13) {
        (true, false) => &[&TLS12][..],
        (false, true) => &[&TLS13],
        _ => &[&TLS13, &TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier(tls, &provider)?);
    let mut config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let malformed = |_| Error::General("our certificate cannot be read".to_owned());
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(own.chain.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(malformed)?;
            builder.with_client_auth_cert(chain.map_err(malformed)?, key)?
        }
    };
    config.enable_sni = tls.tells_name;
    config.alpn_protocols = vec![if http2 { H2.to_vec() } else { HTTP11.to_vec() }];
    Ok(config)
}

fn verifier(tls: &BackendTls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let Some(authorities) = &tls.authorities else {
        return Ok(Arc::new(Unchecked(Arc::clone(provider))));
    };
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_slice_iter(authorities.as_bytes()).filter_map(Result::ok);
    roots.add_parsable_certificates(read);
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    let inner = inner.map_err(|error| Error::General(error.to_string()))?;
    Ok(Arc::new(Checked { inner, depth: tls.depth as usize }))
}

/// By authorities, and no longer than allowed.
#[derive(Debug)]
struct Checked {
    inner: Arc<WebPkiServerVerifier>,
    depth: usize,
}

/// Not at all (`proxy-ssl-verify: off` and services of `auth-url`, as ingress-nginx has it by default): whoever answers at
/// the address is trusted, as with plain HTTP. That it holds the key of what it shows is still checked.
#[derive(Debug)]
pub(super) struct Unchecked(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Servers may send more than is needed: an authority that is known here anyway.
        let others = &others[..others.len().min(self.depth)];
        self.inner.verify_server_cert(own, others, name, staple, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _staple: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The name of the other side as the library has it; an address where it is none.
pub fn server_name(name: &str, address: IpAddr) -> ServerName<'static> {
    ServerName::try_from(name.trim_end_matches('.').to_owned()).unwrap_or_else(|_| ServerName::from(address))
}
