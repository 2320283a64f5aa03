//! How long each stage took.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(Default)]
pub(super) struct Stages {
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub(super) fn run<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("== {name}");
        let start = Instant::now();
        let result = stage().context(name);
        self.done.push((name, start.elapsed()));
        result
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.done.iter().map(|(_, time)| *time).sum();
        self.done.iter().try_for_each(|(name, time)| writeln!(f, "{name:<22} {:>7.1} s", time.as_secs_f64()))?;
        write!(f, "{:<22} {:>7.1} s", "total", total.as_secs_f64())
    }
}
