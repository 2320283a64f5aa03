use std::env;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A deadline for what takes a moment: generous, because test machines are slow; nothing waits longer than it must.
pub const SOON: Duration = Duration::from_secs(30);

/// How many times slower this machine is than deadlines take for granted: an emulated one is.
const SLOWNESS: &str = "WEIR_LAB_SLOWNESS";

/// Tries `check` until it succeeds; after `deadline` its last error is the answer.
pub fn eventually<T>(what: &str, deadline: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = deadline * slowness();
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= deadline => {
                return Err(error).with_context(|| format!("waited {deadline:?} for {what}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn slowness() -> u32 {
    env::var(SLOWNESS).ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}
