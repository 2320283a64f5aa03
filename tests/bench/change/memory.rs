//! What processes take.

use std::fs;

use anyhow::{Context, Result};

/// Bytes of memory that belong to a process alone: pages of the program that all of them share do not count.
pub(crate) fn own(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let number = |name: &str| {
        let words = line(name).with_context(|| format!("no {name} in {path}"))?;
        words.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).context("a number of kB")
    };
    Ok((number("Private_Clean:")? + number("Private_Dirty:")?) * 1024)
}
