use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command;

/// A named network namespace that this process made.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes the namespace and brings its loopback up. IPv6 is on, and addresses count at once: looking for duplicates
    /// (RFC 4862, section 5.4) takes a second, and nobody else has them.
    pub(crate) fn create(name: String) -> Result<Self> {
        command::ip(&format!("netns add {name}"))?;
        let netns = Self { name };
        for (sysctl, value) in [("disable_ipv6", "0"), ("accept_dad", "0"), ("dad_transmits", "0")] {
            netns.set_sysctl(&format!("net/ipv6/conf/all/{sysctl}"), value)?;
            netns.set_sysctl(&format!("net/ipv6/conf/default/{sysctl}"), value)?;
        }
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `work` on a thread inside of the namespace. Sockets made there stay in it, and so do threads started there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        let enter = || {
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("cannot enter {}", path.display()))?;
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|_| Err(anyhow!("a thread in {path:?} panicked")))
    }

    /// A program inside of the namespace. Not `ip netns exec`: that mounts a new /sys, which hides bpffs and cgroups.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// A program with a line of plain words, run to its end.
    pub fn shell(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        command::run(self.command(words.next().unwrap_or_default()).args(words))
    }

    /// `ip` with this namespace as its own.
    pub fn ip(&self, line: &str) -> Result<String> {
        command::ip(&format!("-n {} {line}", self.name))
    }

    /// Writes a network sysctl, for example `net/ipv4/conf/all/rp_filter`. /proc/sys/net is that of the writing thread.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = PathBuf::from("/proc/sys").join(name);
        self.run(|| fs::write(&path, value).with_context(|| format!("{} = {value}", path.display())))
    }

    /// Reads a network sysctl.
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let path = PathBuf::from("/proc/sys").join(name);
        self.run(|| Ok(fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned()))
    }

    /// The MAC address of an interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let text = self.ip(&format!("-o link show dev {interface}"))?;
        let mac = text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        mac.map(str::to_owned).with_context(|| format!("no MAC address in {text}"))
    }
}

impl Drop for Netns {
    /// Processes first: a namespace lives as long as one of its processes, and with it its interfaces.
    fn drop(&mut self) {
        crate::sweep::end_processes(&self.name);
        // Nothing to be done about a failure; the next run sweeps.
        let _ = command::ip(&format!("netns del {}", self.name));
    }
}
