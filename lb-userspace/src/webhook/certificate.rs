//! The certificate of the webhook, from two files that are replaced now and then.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;

use crate::x509;

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What they hold is no certificate with its key.
    #[error("{key} is not good: {message}")]
    Contents {
        /// `tls.crt` or `tls.key`.
        key: &'static str,
        /// Why not.
        message: String,
    },
    /// The TLS library refuses.
    #[error("the certificate is refused")]
    Refused(#[from] rustls::Error),
}

/// The files, and what they held when they were last read.
pub(super) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    modified: [Option<SystemTime>; 2],
    config: Arc<ServerConfig>,
}

impl CertificateFiles {
    /// Reads both.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let modified = [certificate, key].map(modified);
        let config = config(certificate, key)?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), modified, config })
    }

    /// What they hold now. Two that do not fit together, perhaps because one of them was not replaced yet, are not used, and
    /// looked at again when one changes.
    pub(super) fn current(&mut self) -> Arc<ServerConfig> {
        let modified = [&*self.certificate, &*self.key].map(modified);
        if modified != self.modified {
            self.modified = modified;
            match config(&self.certificate, &self.key) {
                Ok(config) => self.config = config,
                Err(error) => tracing::warn!(%error, "the certificate of before stays"),
            }
        }
        Arc::clone(&self.config)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let read = |path: &Path| fs::read(path).map_err(|source| CertificateError::File { path: path.to_owned(), source });
    let certified = x509::certified(&read(certificate)?, &read(key)?);
    let certified = certified.map_err(|fault| CertificateError::Contents { key: fault.key, message: fault.what })?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(Arc::new(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
        fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_new_certificate_is_used_and_half_of_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        assert!(matches!(CertificateFiles::read(&certificate, &key), Err(CertificateError::File { .. })));
        write(dir.path(), "a.test");
        let mut files = CertificateFiles::read(&certificate, &key).unwrap();
        let first = files.current();
        let later = |path: &Path, seconds| {
            let time = SystemTime::now() + std::time::Duration::from_secs(seconds);
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        fs::write(&certificate, "none").unwrap();
        later(&certificate, 10);
        assert!(Arc::ptr_eq(&first, &files.current()), "what cannot be used is not used");
        write(dir.path(), "b.test");
        later(&certificate, 20);
        assert!(!Arc::ptr_eq(&first, &files.current()), "the new one is used");
    }
}
