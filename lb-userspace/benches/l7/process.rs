//! A process that is measured, pinned to a core.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lb_userspace::clock::now;

/// Core of the proxies.
pub(crate) const PROXY: &str = "0";
/// Core of the client and the backend.
pub(crate) const REST: &str = "1";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    pid: u32,
    child: Option<Child>,
}

impl Process {
    /// Starts a program on a core, with a file for what it prints, and waits until it accepts connections at a port.
    pub(crate) fn start(core: &str, command: &[&str], output: &Path, port: u16) -> Result<Self> {
        let output = fs::OpenOptions::new().create(true).append(true).open(output)?;
        let child = Command::new("taskset")
            .args(["--cpu-list", core])
            .args(command)
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("cannot start {}", command[0]))?;
        let mut process = Process { pid: child.id(), child: Some(child) };
        process.wait_for(command[0], port)?;
        Ok(process)
    }

    /// One that somebody else started and ends; its threads are moved to the proxies' core.
    pub(crate) fn of_pid(pid: u32) -> Result<Self> {
        let taskset =
            Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", PROXY, &pid.to_string()]).output();
        ensure!(taskset.context("cannot start taskset")?.status.success(), "process {pid} cannot be pinned");
        Ok(Process { pid, child: None })
    }

    /// CPU time of all its threads so far; to the nanosecond, from the scheduler.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds =
                text.split(' ').next().and_then(|n| n.parse().ok()).context("schedstat without a number")?;
            total += Duration::from_nanos(nanoseconds);
        }
        Ok(total)
    }

    /// Memory that is its own, in KB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let of = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok())
        };
        of("Private_Clean:")
            .zip(of("Private_Dirty:"))
            .map(|(clean, dirty)| clean + dirty)
            .context("smaps_rollup without its lines")
    }

    fn wait_for(&mut self, name: &str, port: u16) -> Result<()> {
        let until = now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                bail!("{name} ended with {}", status?);
            }
            ensure!(now() < until, "{name} does not listen at port {port}");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
