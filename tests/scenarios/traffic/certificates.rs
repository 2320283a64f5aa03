//! An authority, and the certificates that it issues.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::HOST;

/// Of a test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut parameters = parameters("authority")?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Authority(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?))
    }

    /// A Secret with a new certificate for the site; `name` is in it.
    pub(crate) fn secret(&self, name: &str) -> Result<String> {
        let key = KeyPair::generate()?;
        let mut parameters = parameters(name)?;
        parameters.subject_alt_names = CertificateParams::new([HOST.to_owned()])?.subject_alt_names;
        let certificate = parameters.signed_by(&key, &self.0)?;
        Ok(format!(
            "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: site}}\n\
             stringData: {{tls.crt: {:?}, tls.key: {:?}}}\n",
            certificate.pem(),
            key.serialize_pem()
        ))
    }

    /// Clients that trust it, make a whole handshake each time, and speak `protocol`.
    pub(crate) fn clients(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).ok().context("no certificate")?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

fn parameters(name: &str) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}
