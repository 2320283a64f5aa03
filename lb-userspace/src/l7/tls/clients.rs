//! Certificates of clients. A handshake only makes sure that the client has the key; whether somebody whom we believe has
//! signed the certificate is found out after it, also when a session is resumed: so a client without a good one gets an
//! answer that says so, and a list of authorities that has changed counts at once for new connections.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::model::{Authorities, ClientAsk};
use crate::x509;

/// What a client has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// What it was asked for.
    pub asked: ClientAsk,
    /// The authorities at that time.
    pub authorities: Arc<Authorities>,
    /// `None`: no certificate.
    pub certificate: Option<Shown>,
}

/// A certificate of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Why it is not good, if so.
    pub fault: Option<String>,
    /// Subject in the form of RFC 2253.
    pub subject: String,
    /// Issuer in the same form.
    pub issuer: String,
    /// In PEM, with the escapes of a value of a query.
    pub escaped: String,
}

/// What the subject of a certificate has to match.
#[derive(Clone, Debug)]
pub struct SubjectPattern(Regex);

impl SubjectPattern {
    /// `None`: it is no regular expression, or a very large one.
    pub fn new(text: &str) -> Option<Self> {
        RegexBuilder::new(text).unicode(false).size_limit(1 << 18).build().ok().map(SubjectPattern)
    }

    /// The subject has a match of it somewhere.
    pub fn is_match(&self, subject: &str) -> bool {
        self.0.is_match(subject)
    }
}

impl PartialEq for SubjectPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for SubjectPattern {}

/// Judges the certificates for one host.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    asked: ClientAsk,
    authorities: Arc<Authorities>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Judge {
    /// `None`: the authorities cannot be used, which the agent has found out before.
    pub(super) fn new(asked: &ClientAsk, authorities: &Arc<Authorities>) -> Option<Self> {
        let verifier = x509::client_verifier(authorities).ok()?;
        Some(Judge { asked: asked.clone(), authorities: Arc::clone(authorities), verifier })
    }

    /// What asks for a certificate in the handshake.
    pub(super) fn asking(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Asking {
            hints: self.verifier.root_hint_subjects().to_vec(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
        })
    }

    /// Judges what a client has shown.
    pub(super) fn judge(&self, chain: Option<&[CertificateDer<'_>]>) -> Presented {
        let certificate = chain.and_then(|chain| chain.split_first()).map(|(own, others)| {
            let others = &others[..others.len().min(usize::from(self.asked.depth))];
            let fault = self.verifier.verify_client_cert(own, others, UnixTime::now()).err();
            let (subject, issuer) = x509::names(own).unwrap_or_default();
            Shown { fault: fault.map(|fault| fault.to_string()), subject, issuer, escaped: x509::escaped(own) }
        });
        Presented { asked: self.asked.clone(), authorities: Arc::clone(&self.authorities), certificate }
    }
}

/// Takes any certificate whose key the client has.
#[derive(Debug)]
struct Asking {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
