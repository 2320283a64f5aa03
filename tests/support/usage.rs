use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Time of the processor that a process has used up to now, of kernel and process together.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // proc_pid_stat(5): utime and stime are the fields 14 and 15; the name, which is in brackets, is the second.
    let fields: Vec<_> = stat.rsplit_once(')').context("a name")?.1.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|&index| fields[index].parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
