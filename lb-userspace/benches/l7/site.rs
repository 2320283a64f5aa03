//! What all proxies serve: 10,000 hosts that lead to one backend, and a certificate for the one that is asked.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Hosts in the table.
pub(crate) const HOSTS: usize = 10_000;
/// The one that is asked.
pub(crate) const HOST: &str = "host5000.bench.example";

pub(crate) struct Site {
    directory: tempfile::TempDir,
    /// Port of the backend.
    pub(crate) backend: u16,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Site {
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // Proxies give up their rights before they open files.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let signed = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
        let site = Site { directory, backend: free_port()?, certificate, key };
        site.file("certificate.pem", &site.certificate)?;
        site.file("key.pem", &site.key)?;
        site.file("both.pem", &format!("{}{}", site.certificate, site.key))?;
        for (name, size) in [("1k", 1 << 10), ("100k", 100 << 10), ("10m", 10 << 20)] {
            site.file(&format!("content/{name}"), &"x".repeat(size))?;
        }
        Ok(site)
    }

    /// Writes a file, readable to all.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }
}

pub(crate) fn hosts() -> impl Iterator<Item = String> {
    (0..HOSTS).map(|number| format!("host{number}.bench.example"))
}

/// A port of loopback that nobody listens at just now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
