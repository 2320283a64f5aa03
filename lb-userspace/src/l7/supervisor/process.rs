//! Starting the process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use tokio::process::Child;

use super::{FrontConfig, SupervisorError};
use crate::l7::control::{self, Hello, Listeners};
use crate::l7::front::NAME_SERVERS;
use crate::l7::names::Files;

/// What the process calls itself.
pub(super) const NAME: &str = "weir";
/// `nobody` and `nogroup`: owns no files.
const NOBODY: u32 = 65534;

/// As [`crate::l7::front`] reads them.
fn name_servers(config: &FrontConfig) -> String {
    let servers = config.name_servers.iter().map(ToString::to_string);
    servers.chain(config.local_names.then(|| "local".to_owned())).collect::<Vec<_>>().join(",")
}

/// Starts a front and hands it the listeners.
pub(super) fn spawn(
    config: &FrontConfig,
    listeners: &Listeners,
) -> Result<(Child, tokio::net::UnixStream), SupervisorError> {
    let error = |source| SupervisorError::Spawn { program: config.program.clone(), source };
    let (ours, theirs) = UnixStream::pair().map_err(error)?;
    let mut command = Command::new(&config.program);
    command
        .arg0(NAME)
        .arg("front")
        .env_clear()
        .env(NAME_SERVERS, name_servers(config))
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // Ctrl-C in a terminal is for the agent, which drains the front in its own order.
        .process_group(0);
    if rustix::process::geteuid().is_root() {
        // The standard library gives up the supplementary groups as well.
        command.uid(NOBODY).gid(NOBODY);
    }
    let child = tokio::process::Command::from(command).spawn().map_err(error)?;
    let FrontConfig { access_log, in_detail, collector, .. } = config.clone();
    control::send_hello(
        &ours,
        Hello { access_log, in_detail, collector, files: Files::read(), ..Hello::default() },
        listeners,
    )?;
    ours.set_nonblocking(true).map_err(error)?;
    Ok((child, tokio::net::UnixStream::from_std(ours).map_err(error)?))
}
