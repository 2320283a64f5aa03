//! `weir unload`: takes everything back.

use std::io;
use std::path::Path;

use super::{failed, print};
use crate::cli::{Exit, UnloadArgs};
use crate::config::Unload;
use crate::dataplane::{self, DataplaneError, kube_proxy};
use crate::l7::supervisor;

pub(super) fn run(args: &UnloadArgs) -> Exit {
    if args.kube_proxy {
        return kube_proxys();
    }
    let Unload { pin_path, force } = match Unload::try_from(args) {
        Ok(unload) => unload,
        Err(error) => return failed(Exit::Usage, &error),
    };
    match dataplane::unload(&pin_path, force, end_fronts) {
        Ok(report) if report.removed.is_empty() => print(&format!("nothing is loaded at {}\n", pin_path.display())),
        Ok(report) => print(&report.removed.iter().map(|line| format!("removed {line}\n")).collect::<String>()),
        Err(error @ DataplaneError::Permission { .. }) => failed(Exit::NoPermission, &error),
        Err(error) => failed(Exit::Unavailable, &error),
    }
}

/// Removes the leftovers of kube-proxy.
fn kube_proxys() -> Exit {
    match kube_proxy::remove() {
        Ok(lines) if lines.is_empty() => print("kube-proxy has left nothing here\n"),
        Ok(lines) => print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
        Err(error) => failed(Exit::Unavailable, &error),
    }
}

/// A front goes on when its agent is killed.
fn end_fronts(run_dir: &Path) -> io::Result<Vec<String>> {
    let ended = supervisor::end_left(run_dir)?;
    Ok(ended.iter().map(|pid| format!("front, process {pid}")).collect())
}
