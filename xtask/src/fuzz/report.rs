//! What the engine tells, in few words.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    runs: Option<u64>,
    /// Edges of the program that were reached.
    edges: Option<u64>,
    /// Inputs that are kept since each reaches something of its own.
    inputs: Option<u64>,
}

impl Figures {
    /// Reads them from what libFuzzer prints: `stat::number_of_executed_units: 7`, and lines
    /// `#7\tNEW    cov: 10 ft: 12 corp: 5/18b ...`.
    pub(super) fn read(told: &str) -> Self {
        let mut figures = Self::default();
        for line in told.lines() {
            if let Some(runs) = line.strip_prefix("stat::number_of_executed_units:") {
                figures.runs = runs.trim().parse().ok();
            }
            let number = |name: &str| {
                let rest = line.split_once(name)?.1.trim_start();
                rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            if line.starts_with('#') {
                figures.edges = number(" cov:").or(figures.edges);
                figures.inputs = number(" corp:").or(figures.inputs);
            }
        }
        figures
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let (runs, edges, inputs) = (shown(self.runs), shown(self.edges), shown(self.inputs));
        write!(f, "{runs:>9} runs  {edges:>6} edges  {inputs:>5} inputs")
    }
}

/// The message of a failure, without the frames of the engine.
pub(super) fn reason(told: &str) -> String {
    let lines = told.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR"));
    lines.take_while(|line| !line.starts_with("stack backtrace")).take(20).collect::<Vec<_>>().join("\n")
}

/// Tells how to see a failure again, on the terminal and in a file beside the input.
pub(super) fn explain(name: &str, input: &Path) -> Result<()> {
    let input_name = input.display();
    let text = format!(
        "{name} fails on the input {input_name}\n\
         see it again:        cargo xtask fuzz {name} --input {input_name}\n\
         make it smaller:     WEIR_FUZZ_TARGET={name} target/fuzz/weir-fuzz -minimize_crash=1 -runs=100000 {input_name}\n\
         when it is mended:   cp {input_name} fuzz/failed-once/{name}/, where it runs as a test from then on\n"
    );
    println!("{text}");
    let beside = input.with_extension("txt");
    fs::write(&beside, text).with_context(|| beside.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "#2\tINITED cov: 152 ft: 585 corp: 1/1b exec/s: 0 rss: 29Mb\n\
        #112365\tDONE   cov: 1071 ft: 7746 corp: 1584/48Kb lim: 68 exec/s: 7022 rss: 33Mb\n\
        Done 112365 runs in 16 second(s)\nstat::number_of_executed_units: 112365\n";

    #[test]
    fn reads_what_a_run_came_to() {
        let figures = Figures { runs: Some(112_365), edges: Some(1_071), inputs: Some(1_584) };
        assert_eq!(Figures::read(TOLD), figures);
        assert_eq!(Figures::read(""), Figures::default());
    }

    #[test]
    fn a_failure_is_told_without_its_frames() {
        let told = format!("{TOLD}\nthread 'x' panicked at src/a.rs:3:1:\nwrong\nstack backtrace:\n   0: f\n");
        assert_eq!(reason(&told), "thread 'x' panicked at src/a.rs:3:1:\nwrong");
    }
}
