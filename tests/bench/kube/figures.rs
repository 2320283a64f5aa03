//! What processes and wires say of themselves.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use weir_lab::Node;

/// What a process has used up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time, of kernel and process together.
    pub(crate) cpu: Duration,
    /// Resident memory in MiB.
    pub(crate) resident: u64,
    /// The most that it ever was.
    pub(crate) peak: u64,
}

impl Usage {
    /// Of a process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mebibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
            let kibibytes: u64 = line.split_whitespace().next().context("a number")?.parse()?;
            anyhow::Ok(kibibytes / 1024)
        };
        Ok(Self { cpu: weir_lab::cpu_time(pid)?, resident: mebibytes("VmRSS:")?, peak: mebibytes("VmHWM:")? })
    }
}

/// Bytes that came in by the node's link.
pub(crate) fn received(node: &Node) -> Result<u64> {
    let text = node.netns.shell("cat /proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("eth0")?;
    Ok(line.split_whitespace().next().context("bytes")?.parse()?)
}

/// When a line with these words was written to a log, in seconds of its day.
pub(crate) fn logged(log: &str, words: &str) -> Result<f64> {
    let line =
        log.lines().find(|line| line.contains(words)).with_context(|| format!("the log does not say: {words}"))?;
    let time = line.split_whitespace().next().and_then(|stamp| stamp.split_once('T')).context("a time stamp")?.1;
    let numbers = time.trim_end_matches('Z').split(':').map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    Ok(numbers.iter().fold(0.0, |sum, number| sum * 60.0 + number))
}
