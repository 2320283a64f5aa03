//! What processes take, as time goes by.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::Node;

/// Of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// kB that belong to it alone.
    pub(super) memory: u64,
    /// Open files and sockets.
    pub(super) descriptors: u64,
}

/// Of both at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) agent: Usage,
    pub(super) front: Usage,
}

/// What is looked at.
pub(super) struct Processes {
    agent: u32,
    pub(super) front: u32,
}

impl Processes {
    pub(super) fn of(node: &Node) -> Result<Self> {
        let fronts = node.processes("front")?;
        ensure!(fronts.len() == 1, "fronts on {}: {fronts:?}", node.name);
        Ok(Processes { agent: node.agent.as_ref().context("there is an agent")?.pid(), front: fronts[0] })
    }

    pub(super) fn look(&self) -> Result<Sample> {
        Ok(Sample { agent: usage(self.agent)?, front: usage(self.front)? })
    }
}

fn usage(pid: u32) -> Result<Usage> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        number.with_context(|| format!("no {name} in {path}"))
    };
    let memory = number("Private_Clean:")? + number("Private_Dirty:")?;
    Ok(Usage { memory, descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64 })
}

/// A quantity that must not grow.
struct Watched {
    name: &'static str,
    of: fn(&Sample) -> u64,
    /// More than that, and than a tenth, is growth.
    slack: u64,
}

/// Memory goes up and down by what is in flight when it is looked at, and by what the allocator keeps; so do descriptors.
const WATCHED: [Watched; 4] = [
    Watched { name: "agent, kB", of: |sample| sample.agent.memory, slack: 3_000 },
    Watched { name: "agent, descriptors", of: |sample| sample.agent.descriptors, slack: 4 },
    Watched { name: "front, kB", of: |sample| sample.front.memory, slack: 3_000 },
    Watched { name: "front, descriptors", of: |sample| sample.front.descriptors, slack: 30 },
];

/// Parts of the time that are compared, behind the first, in which everything comes to be as large as it will be.
const PARTS: u32 = 4;

pub(super) struct Series {
    length: Duration,
    samples: Vec<(Duration, Sample)>,
}

impl Series {
    pub(super) fn new(length: Duration) -> Self {
        Series { length, samples: Vec::new() }
    }

    pub(super) fn add(&mut self, at: Duration, sample: Sample) {
        self.samples.push((at, sample));
    }

    /// The latest in words.
    pub(super) fn last(&self) -> String {
        let sample = self.samples.last().map(|(_, sample)| *sample).unwrap_or_default();
        let words = WATCHED.map(|watched| format!("{} {}", watched.name, (watched.of)(&sample)));
        words.join(", ")
    }

    /// The median of a quantity in each of the parts.
    fn medians(&self, watched: &Watched) -> Vec<u64> {
        let part = |number: u32| {
            let (from, to) = (self.length * number / PARTS, self.length * (number + 1) / PARTS);
            let within = self.samples.iter().filter(|(at, _)| (from..to).contains(at));
            let mut values: Vec<_> = within.map(|(_, sample)| (watched.of)(sample)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        (0..PARTS).map(part).collect()
    }

    /// An error if something is larger in the last part than in the second one.
    pub(super) fn check(&self) -> Result<()> {
        for watched in &WATCHED {
            let medians = self.medians(watched);
            let (early, late) = (medians[1], medians[medians.len() - 1]);
            ensure!(early > 0 && late > 0, "{}: nobody looked", watched.name);
            let most = early + watched.slack.max(early / 10);
            ensure!(late <= most, "{} grew from {early} to {late}, and {most} is the most\n{self}", watched.name);
        }
        Ok(())
    }
}

/// The medians of all parts.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for watched in &WATCHED {
            writeln!(f, "{:>20}: {:?}, the quarters' medians", watched.name, self.medians(watched))?;
        }
        Ok(())
    }
}
