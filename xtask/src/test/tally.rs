//! Counts what test programs report.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The sum of all `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    host: Counts,
    root: Counts,
    /// Programs that ended badly; more than failed tests if one did not get to its summary.
    pub(super) broken: usize,
    summaries: Vec<String>,
    failures: Vec<String>,
    /// Tests of root that were left out, because what they run is not to be had here.
    left_out: usize,
    /// Tests that passed by doing nothing, and what they need.
    lacking: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Tally {
    /// Runs test programs on the host's side; what they ignore is left to root.
    pub(super) fn host(&mut self, command: &mut Command) -> Result<()> {
        let counts = self.watch(command)?;
        self.host.add(counts);
        Ok(())
    }

    /// Runs a test program as root.
    pub(super) fn root(&mut self, command: &mut Command) -> Result<()> {
        let counts = self.watch(command)?;
        self.root.add(counts);
        Ok(())
    }

    /// Counts a fuzz target; those that need root count as tests of the host, since none of them is ignored there.
    pub(super) fn fuzz(&mut self, target: &str, passed: bool) {
        self.host.add(Counts { passed: usize::from(passed), failed: usize::from(!passed), ignored: 0 });
        if !passed {
            self.failures.push(format!("fuzz target {target} ... FAILED"));
        }
    }

    /// Counts tests that left a part to root.
    pub(super) fn halve(&mut self, tests: usize) {
        self.host.ignored += tests;
    }

    /// Counts tests of root that do not run, for a reason that was said.
    pub(super) fn leave_out(&mut self, tests: usize) {
        self.left_out += tests;
    }

    /// Counts tests that did nothing for lack of a program.
    pub(super) fn lack(&mut self, tests: BTreeMap<String, String>) {
        self.lacking.extend(tests);
    }

    pub(super) fn lacking(&self) -> usize {
        self.lacking.len()
    }

    pub(super) fn failed(&self) -> usize {
        self.host.failed + self.root.failed
    }

    /// What the host ignored and root did not run.
    pub(super) fn skipped(&self) -> usize {
        self.host.ignored.saturating_sub(self.root.passed + self.root.failed + self.left_out)
    }

    fn watch(&mut self, command: &mut Command) -> Result<Counts> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {program}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut sum = Counts::default();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            if line.starts_with("test ") && line.ends_with(" ... FAILED") {
                self.failures.push(line.clone());
            }
            if let Some(counts) = parse(&line) {
                sum.add(counts);
                self.summaries.push(line);
            }
        }
        self.broken += usize::from(!child.wait()?.success());
        Ok(sum)
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn parse(line: &str) -> Option<Counts> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        rest.split("; ").find_map(|part| part.strip_suffix(name)).and_then(|number| number.trim().parse().ok())
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failures.iter().chain(&self.summaries).try_for_each(|line| writeln!(f, "{line}"))?;
        if self.left_out > 0 {
            writeln!(f, "!! {} tests against a real API server did not run: see above why", self.left_out)?;
        }
        for (test, needs) in &self.lacking {
            writeln!(f, "!! {test} did nothing: it needs {needs}")?;
        }
        let passed = (self.host.passed + self.root.passed).saturating_sub(self.lacking());
        write!(f, "{passed} passed, {} failed, {} skipped", self.failed(), self.skipped() + self.lacking())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    #[test]
    fn reads_a_summary() {
        assert_eq!(parse(LINE), Some(Counts { passed: 5, failed: 1, ignored: 2 }));
        assert_eq!(parse("test foo ... ok"), None);
    }

    #[test]
    fn a_fuzz_target_that_fails_is_a_test_that_fails() {
        let mut tally = Tally::default();
        tally.fuzz("parse", true);
        tally.fuzz("pipeline", false);
        assert_eq!((tally.failed(), tally.skipped()), (1, 0));
        assert!(tally.to_string().contains("fuzz target pipeline ... FAILED"), "{tally}");
    }

    #[test]
    fn what_root_runs_is_not_skipped() -> Result<()> {
        let mut tally = Tally::default();
        tally.host(Command::new("echo").arg(LINE))?;
        assert_eq!(tally.skipped(), 2);
        tally.root(Command::new("echo").arg("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured"))?;
        assert_eq!((tally.skipped(), tally.broken), (0, 0));
        assert!(tally.to_string().ends_with("7 passed, 1 failed, 0 skipped"), "{tally}");
        Ok(())
    }

    #[test]
    fn what_is_left_out_is_said_and_not_skipped() -> Result<()> {
        let mut tally = Tally::default();
        tally.host(Command::new("echo").arg(LINE))?;
        tally.leave_out(2);
        assert_eq!(tally.skipped(), 0);
        assert!(tally.to_string().contains("!! 2 tests against a real API server did not run"), "{tally}");
        Ok(())
    }
}
