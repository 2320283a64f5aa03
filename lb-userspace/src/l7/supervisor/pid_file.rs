//! Which process is the front: remembered across agents, and never mistaken for another process with the same id.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::clock;

/// The kernel ends what was killed at once.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// The file: a line for each front that was not told to end yet, the newest first, with process id and start time in
/// clock ticks since boot. There is more than one while a front takes over, and if the agent dies meanwhile.
#[derive(Clone, Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    pub(super) fn new(run_dir: &Path) -> Self {
        PidFile(run_dir.join("front.pid"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Remembers these processes, as far as they run, and forgets all others.
    pub(super) fn write(&self, pids: impl IntoIterator<Item = u32>) -> io::Result<()> {
        let pids = pids.into_iter().filter_map(|pid| i32::try_from(pid).ok());
        let lines: String = pids.filter_map(|pid| Some(format!("{pid} {}\n", start_time(pid)?))).collect();
        if lines.is_empty() {
            return match std::fs::remove_file(&self.0) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = self.0.with_extension("pid.new");
        std::fs::write(&new, lines)?;
        std::fs::rename(&new, &self.0)
    }

    /// The fronts that the file names, as far as they run.
    pub(super) fn running(&self) -> Vec<RunningFront> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(running).collect()
    }
}

fn running(line: &str) -> Option<RunningFront> {
    let (pid, started) = line.trim().split_once(' ')?;
    let (pid, started): (u32, u64) = (pid.parse().ok()?, started.parse().ok()?);
    let raw = i32::try_from(pid).ok()?;
    // First the handle, then the question who it is: what it names cannot change any more.
    let handle = pidfd_open(Pid::from_raw(raw)?, PidfdFlags::empty()).ok()?;
    let is_front = start_time(raw) == Some(started) && is_weir_front(raw);
    is_front.then_some(RunningFront { pid, handle })
}

/// Ends these fronts: they drain, and those that take longer than `patience` are killed.
pub(super) fn end(fronts: &[RunningFront], patience: Duration) -> io::Result<()> {
    fronts.iter().try_for_each(RunningFront::drain)?;
    let deadline = clock::now() + patience;
    for front in fronts {
        if !front.ends_within(deadline.saturating_duration_since(clock::now()))? {
            front.signal(Signal::KILL)?;
            front.ends_within(AFTER_KILL)?;
        }
    }
    Ok(())
}

/// A front of an earlier agent.
#[derive(Debug)]
pub(super) struct RunningFront {
    pub(super) pid: u32,
    handle: OwnedFd,
}

impl RunningFront {
    /// Tells it to finish what is in flight and end.
    pub(super) fn drain(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end; false if it takes longer. The handle becomes readable then, whoever its parent is.
    fn ends_within(&self, patience: Duration) -> io::Result<bool> {
        let deadline = clock::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&timeout)) {
                Err(Errno::INTR) => {}
                ended => return Ok(ended? > 0),
            }
        }
    }
}

fn start_time(pid: i32) -> Option<u64> {
    Some(Process::new(pid).ok()?.stat().ok()?.starttime)
}

fn is_weir_front(pid: i32) -> bool {
    let arguments = Process::new(pid).and_then(|process| process.cmdline()).unwrap_or_default();
    matches!(arguments.as_slice(), [program, command, ..] if program == super::process::NAME && command == "front")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_front_is_taken_for_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = PidFile::new(dir.path());
        assert!(file.running().is_empty());
        // This very process runs and is no front.
        let own = std::process::id();
        file.write([own, u32::MAX]).expect("written");
        let text = std::fs::read_to_string(file.path()).expect("the file");
        assert!(text.starts_with(&format!("{own} ")) && text.lines().count() == 1, "{text}");
        assert!(file.running().is_empty());
        for nonsense in ["", "1", "x y", "0 0", "-1 5", "1 0"] {
            std::fs::write(file.path(), nonsense).expect("written");
            assert!(file.running().is_empty(), "{nonsense:?}");
        }
        for _ in 0..2 {
            file.write([]).expect("removed");
            assert!(!file.path().exists());
        }
    }

    /// A process that ignores SIGTERM for as long as the shell is told to.
    fn shell(script: &str) -> (std::process::Child, RunningFront) {
        let child = std::process::Command::new("sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let raw = Pid::from_child(&child);
        let front = RunningFront { pid: child.id(), handle: pidfd_open(raw, PidfdFlags::empty()).expect("it runs") };
        (child, front)
    }

    #[test]
    fn who_drains_is_waited_for_and_who_does_not_is_killed() {
        use std::os::unix::process::ExitStatusExt;

        let (mut polite, first) = shell("trap 'exit 3' TERM; echo; while :; do sleep 0.01; done");
        let (mut deaf, second) = shell("trap '' TERM; echo; while :; do sleep 0.01; done");
        for child in [&mut polite, &mut deaf] {
            // The line comes once the trap is set.
            io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut [0]).expect("a line");
        }
        end(&[first, second], Duration::from_secs(1)).expect("ended");
        assert_eq!(polite.wait().expect("ended").code(), Some(3));
        assert_eq!(deaf.wait().expect("ended").signal(), Some(Signal::KILL.as_raw()));
    }
}
