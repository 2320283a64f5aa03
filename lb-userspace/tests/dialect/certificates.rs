//! Authorities, certificates and the Secrets that hold them.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// An authority of a test's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What comes with all that it issues.
    chain: String,
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
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(of_authority("authority"), key).expect("a certificate");
        Self::of(issuer, String::new())
    }

    /// One that this one has signed. What it issues comes with its certificate.
    pub(crate) fn below(&self) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(of_authority("below"), key, &self.issuer).expect("a certificate");
        let chain = issuer.pem() + &self.chain;
        Self::of(issuer, chain)
    }

    fn of(issuer: CertifiedIssuer<'static, KeyPair>, chain: String) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.crt");
        std::fs::write(&path, issuer.pem()).expect("written");
        Authority { issuer, chain, directory, path: path.to_str().expect("text").to_owned() }
    }

    /// A list of clients whose certificates do not hold any more.
    pub(crate) fn revoke(&self, clients: &[&str]) -> String {
        let revoked = |name: &&str| RevokedCertParams {
            serial_number: SerialNumber::from_slice(name.as_bytes()),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: clients.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).and_then(|list| list.pem()).expect("a list")
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
        let mut parameters = parameters(&[], name);
        parameters.serial_number = Some(SerialNumber::from_slice(name.as_bytes()));
        let chain = parameters.signed_by(&key, &self.issuer).expect("a certificate").pem() + &self.chain;
        let files = [(format!("{name}.crt"), chain), (format!("{name}.key"), key.serialize_pem())];
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
        (certificate.pem() + &self.chain, key.serialize_pem())
    }
}

fn of_authority(name: &str) -> CertificateParams {
    let mut parameters = parameters(&[], name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
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
