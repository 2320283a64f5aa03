//! The certificate for hosts without one: nobody has signed it but itself, and it ends with the process.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::TlsError;

/// What it is called, for whoever looks into it.
const NAME: &str = "weir fallback certificate";

pub(super) fn make() -> Result<CertifiedKey, TlsError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(vec!["weir.invalid".to_owned()])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, NAME);
    parameters.distinguished_name = name;
    let certificate = parameters.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}
