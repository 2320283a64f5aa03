//! What the kernel charges for maps.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Bytes of the maps that a process has open, as the kernel counts them (`memlock` in `/proc/PID/fdinfo`).
pub(crate) fn memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/fdinfo");
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(&path).with_context(|| path.clone())? {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(bytes)) = (number("map_id:"), number("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.values().sum())
}
