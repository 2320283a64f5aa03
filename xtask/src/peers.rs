//! `cargo xtask setup-peers`: nginx as a backend, and a client of HTTP/3, for the tests of the front.
//!
//! Debian's nginx is unpacked and not installed, so that no service starts. No curl of Debian 12 speaks HTTP/3; the package
//! `pycurl` of PyPI holds a libcurl that does.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::apt::Apt;
use crate::exit::Exit;
use crate::host;
use crate::pypi::Package;

const CLIENT: Package = Package { name: "pycurl", version: "7.49.0" };
/// Where the package has the program.
const NGINX: &str = "usr/sbin/nginx";

/// What tests find in their environment: the program nginx, and the folder of pycurl; empty: there is none.
pub(crate) struct Peers {
    pub(crate) variables: [(&'static str, String); 2],
}

pub(crate) fn run() -> Result<()> {
    let nginx = nginx().map_err(|why| Exit::Unavailable(format!("no nginx for the tests: {why}")))?;
    let client = CLIENT.ensure().map_err(|why| Exit::Unavailable(format!("no client of HTTP/3: {why}")))?;
    println!("nginx: {}\nclient of HTTP/3: {}", nginx.display(), client.display());
    Ok(())
}

/// Without one, the tests that need it do nothing, which is said here.
pub(crate) fn find() -> Peers {
    let path = |found: Result<PathBuf, String>, what| {
        found.inspect_err(|why| println!("!! tests with {what} do nothing: {why}")).unwrap_or_default()
    };
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let nginx = text(path(nginx(), "nginx"));
    let client = text(path(CLIENT.ensure(), "a client of HTTP/3"));
    Peers { variables: [("WEIR_NGINX", nginx), ("WEIR_PYCURL", client)] }
}

fn nginx() -> Result<PathBuf, String> {
    if let Some(installed) = host::find("nginx") {
        return Ok(installed);
    }
    let folder = host::cache().ok_or("there is no home for a cache")?.join("nginx");
    let program = folder.join(NGINX);
    if program.is_file() {
        return Ok(program);
    }
    if !host::is_debian() {
        return Err("it is unpacked from a package of Debian, and this is something else".to_owned());
    }
    let part = folder.with_extension(std::process::id().to_string());
    let unpacked = unpack(&part, &folder);
    let _ = std::fs::remove_dir_all(&part);
    unpacked.map_err(|error| format!("{error:#}")).map(|()| program)
}

/// In one step: another checkout may do the same now.
fn unpack(part: &Path, folder: &Path) -> Result<()> {
    Apt::as_configured(part)?.unpack("nginx-light", &part.join("unpacked"))?;
    if std::fs::rename(part.join("unpacked"), folder).is_err() {
        ensure!(folder.is_dir(), "{} cannot be made", folder.display());
    }
    Ok(())
}
