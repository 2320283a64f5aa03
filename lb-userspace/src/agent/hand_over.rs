//! From one agent to the next on the same pin path, while the first still runs: an upgrade.
//!
//! The next one asks whoever holds the lock, by SIGUSR2, and starts when the lock is free. The one that is asked ends
//! everything but its front, which goes on answering until the next agent's front is ready and tells it to drain. It
//! becomes a small process with the same pid, by exec(2), which also closes what a thread of it may still hold. That
//! process waits for the front's end, since in a container no front outlives it. Then it ends, or stands by: if there
//! comes to be no agent, it is one again.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, wait};
use tokio::time::{sleep, timeout};

use super::error::AgentError;
use super::service_manager;
use super::{Reason, Stop};
use crate::clock;
use crate::config::Config;
use crate::dataplane::{lock_holder, run_dir};

/// The flag of the small process.
const RETIRED: &str = "--retired";
/// The flag that says that it is to end.
const TOLD: &str = "--told";
/// A signal that has come is heard of at once.
const AT_ONCE: Duration = Duration::from_millis(20);
/// An agent that is asked leaves when its pass is over and its Lease given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the next one looks whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// How often the small process looks around.
const LOOK_NOW_AND_THEN: Duration = Duration::from_millis(200);
/// Who takes the lock over does it at once; who has crashed is perhaps started again.
const VACANCY: Duration = Duration::from_secs(5);

/// Has the agent that holds the pin path leave, if one does. Who holds it and does not leave, or is no agent, is named when
/// the lock cannot be had.
pub(super) async fn ask(pin_path: &Path) {
    let run_dir = run_dir(pin_path);
    let Some(holder) = lock_holder(&run_dir) else { return };
    match tell(holder) {
        Ok(true) => tracing::info!(pid = holder, "taking over from the agent that runs"),
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(pid = holder, %error, "the agent that runs cannot be asked to leave");
            return;
        }
    }
    let begun = clock::now();
    while clock::since(begun) < PATIENCE && lock_holder(&run_dir) == Some(holder) {
        sleep(LOOK).await;
    }
}

/// Signals a process if it is an agent. First the handle, then the question who it is: what it names cannot change.
fn tell(pid: i32) -> io::Result<bool> {
    let handle = pidfd_open(Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::empty())?;
    let arguments = Process::new(pid).and_then(|process| process.cmdline()).unwrap_or_default();
    if arguments.get(1).is_none_or(|command| command != "agent") {
        return Ok(false);
    }
    pidfd_send_signal(&handle, Signal::USR2)?;
    Ok(true)
}

/// Becomes the small process. Returns only if that cannot be.
pub(super) fn retire(stop: Stop) -> AgentError {
    let flags = [Some(RETIRED), is_told(stop).then_some(TOLD)];
    again(flags.into_iter().flatten())
}

/// Whether the agent was told to end while it was ending for another one: what becomes of it would not know. The runtime has
/// ended, so another one has to look.
fn is_told(mut stop: Stop) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.is_ok_and(|runtime| runtime.block_on(async { timeout(AT_ONCE, stop.told()).await.is_ok() }))
}

/// Is the small process.
pub(super) async fn wait_for_front(config: &Config) -> Result<(), AgentError> {
    let mut stop = Stop::new()?;
    let run_dir = run_dir(&config.pin_path);
    let (mut told_to_end, mut occupied) = (config.told, clock::now());
    tracing::info!("another agent takes over: the front drains");
    service_manager::status("another agent has taken over: the front drains");
    loop {
        if !has_children() && (told_to_end || !config.stands_by) {
            tracing::info!("ended: another agent has taken over");
            return Ok(());
        }
        if lock_holder(&run_dir).is_some() {
            occupied = clock::now();
        }
        if config.stands_by && !told_to_end && is_vacant(occupied) {
            tracing::warn!("the agent that took over has ended: going on");
            return Err(again([]));
        }
        // it is the same process to the service manager
        service_manager::watchdog();
        tokio::select! {
            () = sleep(LOOK_NOW_AND_THEN) => {}
            // What is in flight keeps its time; a second signal does not wait for it.
            reason = stop.asked() => match reason {
                Reason::Told if told_to_end => return Ok(()),
                Reason::Told => told_to_end = true,
                _ => {}
            },
        }
    }
}

fn is_vacant(occupied: Instant) -> bool {
    clock::since(occupied) >= VACANCY
}

/// Whether a child is left; those that have ended are taken notice of.
fn has_children() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The same program with the same arguments in the place of this process.
fn again<'a>(flags: impl IntoIterator<Item = &'a str>) -> AgentError {
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != RETIRED && argument != TOLD);
    let arguments: Vec<OsString> = arguments.chain(flags.into_iter().map(OsString::from)).collect();
    AgentError::Runtime(Command::new("/proc/self/exe").arg0("weir").args(arguments).exec())
}
