//! Authorities, certificates and the Secrets that hold them.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// An authority of a test's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
    path: String,
}

/// What a key is of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Rsa,
    Ecdsa,
    Ed25519,
}

/// Chain and key in PEM.
pub(crate) type Pair = (String, String);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = parameters(&[], "authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.crt");
        std::fs::write(&path, issuer.pem()).expect("written");
        Authority { issuer, directory, path: path.to_str().expect("text").to_owned() }
    }

    /// A file with its certificate.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Files with a certificate for a client of this name, and its key.
    pub(crate) fn client(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters(&[], name).signed_by(&key, &self.issuer).expect("a certificate");
        let files = [(format!("{name}.crt"), certificate.pem()), (format!("{name}.key"), key.serialize_pem())];
        let [chain, key] = files.map(|(file, text)| {
            let path = self.directory.path().join(file);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("text").to_owned()
        });
        (chain, key)
    }

    /// A certificate for these hosts.
    pub(crate) fn issue(&self, hosts: &[&str], kind: Kind) -> Pair {
        let key = KeyPair::generate_for(match kind {
            Kind::Rsa => &rcgen::PKCS_RSA_SHA256,
            Kind::Ecdsa => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::Ed25519 => &rcgen::PKCS_ED25519,
        });
        let key = key.expect("a key");
        let certificate = parameters(hosts, "server").signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn parameters(hosts: &[&str], name: &str) -> CertificateParams {
    let mut parameters =
        CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).expect("names");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

/// A Secret with a certificate.
pub(crate) fn secret(name: &str, (chain, key): &Pair) -> String {
    values(name, "kubernetes.io/tls", &[("tls.crt", chain), ("tls.key", key)])
}

/// A Secret with these values.
pub(crate) fn values(name: &str, kind: &str, values: &[(&str, &str)]) -> String {
    let values: String = values.iter().map(|(key, value)| format!("  {key}: {value:?}\n")).collect();
    format!("---\napiVersion: v1\nkind: Secret\ntype: {kind}\nmetadata: {{name: {name}}}\nstringData:\n{values}")
}
