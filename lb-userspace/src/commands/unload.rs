//! `weir unload`: takes everything back.

use std::io;
use std::path::Path;

use super::{failed, print};
use crate::cli::{Exit, UnloadArgs};
use crate::config::Unload;
use crate::dataplane::{self, DataplaneError};
use crate::l7::supervisor;

pub(super) fn run(args: &UnloadArgs) -> Exit {
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

/// A front goes on when its agent is killed.
fn end_fronts(run_dir: &Path) -> io::Result<Vec<String>> {
    let ended = supervisor::end_left(run_dir)?;
    Ok(ended.iter().map(|pid| format!("front, process {pid}")).collect())
}
