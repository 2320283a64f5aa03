//! Reads certificates and keys in PEM: checked as far as that is possible without knowing who will connect.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};
use zeroize::Zeroizing;

use crate::model::{Authorities, Certificate};

/// Key of a Secret with the chain.
pub const CHAIN: &str = "tls.crt";
/// Key of a Secret with the private key.
pub const KEY: &str = "tls.key";
/// Key of a Secret with an OCSP response in DER, to be stapled.
pub const STAPLE: &str = "tls.ocsp-staple";
/// Key of a Secret with authorities.
pub const AUTHORITIES: &str = "ca.crt";
/// Key of a Secret with lists of what they have revoked.
pub const REVOKED: &str = "ca.crl";

/// What is wrong with a certificate or key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// The key of the Secret that is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub what: String,
    /// What would be right.
    pub expected: &'static str,
}

const EXPECTED_CHAIN: &str = "certificates in PEM, the server's own first";
const EXPECTED_AUTHORITIES: &str = "certificates of authorities in PEM";
const EXPECTED_KEY: &str =
    "the private key of the certificate in PEM, unencrypted: RSA, ECDSA on P-256, P-384 or P-521, or Ed25519";

fn fault(key: &'static str, what: impl Into<String>, expected: &'static str) -> Fault {
    Fault { key, what: what.into(), expected }
}

/// Reads the chain and key of a server, and what is to be stapled to them.
pub fn certificate(chain: &[u8], key: &[u8], staple: Option<&[u8]>) -> Result<Certificate, Fault> {
    let certified = certified(chain, key)?;
    let own = certified.cert.first().ok_or_else(|| fault(CHAIN, "there is no certificate in it", EXPECTED_CHAIN))?;
    let (names, [not_before, not_after]) = facts(own).ok_or_else(|| malformed(CHAIN))?;
    let text =
        |key, bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| fault(key, "it is not text", EXPECTED_CHAIN));
    Ok(Certificate {
        chain: text(CHAIN, chain)?,
        key: Zeroizing::new(text(KEY, key)?),
        staple: staple.filter(|staple| !staple.is_empty()).map(<[u8]>::to_vec),
        names,
        not_before,
        not_after,
    })
}

/// The chain with a key that can sign.
pub fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, Fault> {
    let chain = chain_of(CHAIN, chain)?;
    let der = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => fault(KEY, "there is no private key in it", EXPECTED_KEY),
        error => fault(KEY, format!("it is not valid PEM: {error}"), EXPECTED_KEY),
    })?;
    let signing =
        any_supported_type(&der).map_err(|_| fault(KEY, "the key is of no kind that can be used", EXPECTED_KEY))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(fault(KEY, "the key belongs to another certificate", EXPECTED_KEY)),
        Err(_) => Err(malformed(CHAIN)),
    }
}

fn malformed(key: &'static str) -> Fault {
    fault(key, "a certificate in it is malformed", EXPECTED_CHAIN)
}

/// Certificates in PEM, at least one, each well-formed.
pub fn chain_of(key: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|error| fault(key, format!("it is not valid PEM: {error}"), EXPECTED_CHAIN))?;
    if chain.is_empty() {
        return Err(fault(key, "there is no certificate in it", EXPECTED_CHAIN));
    }
    if chain.iter().any(|one| X509Certificate::from_der(one).is_err()) {
        return Err(malformed(key));
    }
    Ok(chain)
}

/// Reads authorities, and what they have revoked.
pub fn authorities(certificates: &[u8], revoked: Option<&[u8]>) -> Result<Authorities, Fault> {
    chain_of(AUTHORITIES, certificates)?;
    let text = |key, bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| fault(key, "it is not text", EXPECTED_AUTHORITIES))
    };
    let authorities = Authorities {
        certificates: text(AUTHORITIES, certificates)?,
        revoked: revoked.map(|revoked| text(REVOKED, revoked)).transpose()?,
    };
    client_verifier(&authorities).map(|_| authorities)
}

/// What checks certificates of clients.
pub fn client_verifier(authorities: &Authorities) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for root in chain_of(AUTHORITIES, authorities.certificates.as_bytes())? {
        let add = roots.add(root);
        add.map_err(|error| fault(AUTHORITIES, format!("an authority cannot be used: {error}"), EXPECTED_AUTHORITIES))?;
    }
    let text = authorities.revoked.as_deref().unwrap_or_default();
    let revoked: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
    let wrong = |what: String| fault(REVOKED, what, "lists of revoked certificates in PEM");
    let revoked = revoked.map_err(|error| wrong(format!("it is not valid PEM: {error}")))?;
    if revoked.is_empty() && !text.trim().is_empty() {
        // Whoever put something there wants somebody to be refused.
        return Err(wrong("there is no list in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    // Authorities without a list have revoked nothing.
    let builder = builder.with_crls(revoked).allow_unknown_revocation_status();
    builder.build().map_err(|error| wrong(format!("a list cannot be used: {error}")))
}

/// Subject and issuer of a certificate (RFC 2253).
pub fn names(der: &[u8]) -> Option<(String, String)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some((name(certificate.subject()), name(certificate.issuer())))
}

/// What tells a certificate from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The common name of who signed it.
    pub issuer: String,
    /// Its organization.
    pub organization: String,
    /// Its number, in decimal.
    pub serial: String,
    /// What its key is of: `RSA`, `ECDSA` or `Ed25519`.
    pub algorithm: &'static str,
}

/// The marks of the first certificate of a chain in PEM.
pub fn marks(chain: &str) -> Option<Marks> {
    let der = CertificateDer::pem_slice_iter(chain.as_bytes()).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let text = |part: Option<&AttributeTypeAndValue<'_>>| {
        part.and_then(|part| part.as_str().ok()).unwrap_or_default().to_owned()
    };
    let algorithm = match certificate.public_key().algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.10045.2.1" => "ECDSA",
        "1.3.101.112" => "Ed25519",
        _ => "",
    };
    Some(Marks {
        issuer: text(certificate.issuer().iter_common_name().next()),
        organization: text(certificate.issuer().iter_organization().next()),
        serial: certificate.serial.to_string(),
        algorithm,
    })
}

/// The last part first, between commas, with escapes.
fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name.iter().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let key = match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(short) => short.to_owned(),
        Err(_) => attribute.attr_type().to_id_string(),
    };
    let mut text = format!("{key}=");
    for (index, character) in attribute.as_str().unwrap_or_default().chars().enumerate() {
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (index == 0 && matches!(character, '#' | ' '));
        match character {
            _ if special => text.extend(['\\', character]),
            // No header can carry it.
            _ if character.is_control() => text.push('?'),
            _ => text.push(character),
        }
    }
    text
}

/// A certificate in PEM, with the escapes of a value of a query.
pub fn escaped(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    let mut escaped = String::new();
    crate::l7::parameters::escape(&text, &mut escaped);
    escaped
}

/// The hosts that a certificate is for, and since and until when: names are subject alternative names alone, as browsers
/// have it (RFC 9525 section 2).
fn facts(der: &[u8]) -> Option<(Vec<String>, [i64; 2])> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let validity = certificate.validity();
    Some((names.collect(), [validity.not_before.timestamp(), validity.not_after.timestamp()]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A certificate that has signed itself, and its key.
    pub(crate) fn self_signed(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = rcgen::CertificateParams::new(names).expect("names");
        (parameters.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn kinds_of_keys() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let (chain, key) = self_signed(&["A.example", "*.b.example"], algorithm);
            let read = certificate(chain.as_bytes(), key.as_bytes(), Some(b"")).expect("good");
            assert_eq!(read.names, ["a.example", "*.b.example"]);
            assert!(read.not_before < read.not_after && read.staple.is_none());
        }
    }

    #[test]
    fn faults_name_the_key_of_the_secret() {
        let (chain, key) = self_signed(&["a.example"], &rcgen::PKCS_ED25519);
        let (_, other) = self_signed(&["a.example"], &rcgen::PKCS_ED25519);
        let (chain, key, other) = (chain.as_bytes(), key.as_bytes(), other.as_bytes());
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (chain, key, at, part) in [
            (&b""[..], key, CHAIN, "no certificate"),
            (key, key, CHAIN, "no certificate"),
            (b"-----BEGIN CERTIFICATE-----\n%\n", key, CHAIN, "PEM"),
            (broken, key, CHAIN, "malformed"),
            (chain, b"", KEY, "no private key"),
            (chain, chain, KEY, "no private key"),
            (chain, other, KEY, "another certificate"),
            (chain, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", KEY, "no kind"),
        ] {
            let fault = certificate(chain, key, None).expect_err(part);
            assert!(fault.key == at && fault.what.contains(part), "{fault:?}");
        }
    }
}
