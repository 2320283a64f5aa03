//! What a guest said, and docs/kernels.md made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What came of one kernel.
#[derive(Default)]
pub(super) struct Report {
    pub(super) name: String,
    release: String,
    part: Part,
    /// Instructions that the verifier walked through, or why it refused.
    programs: BTreeMap<String, Result<Option<u32>, String>>,
    fixtures: Counts,
    scenarios: Counts,
    /// What the agent misses there: the version that brought it, and what.
    lacks: BTreeSet<(String, String)>,
    /// Tests that say why they did not run.
    left_out: BTreeSet<String>,
    /// The last line began to say why a test failed.
    said_why: bool,
}

/// Which part of the script speaks.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Boot,
    Programs,
    Fixtures,
    Scenarios,
    End,
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    pub(super) fn new(name: &str, release: &str) -> Self {
        Self { name: name.to_owned(), release: release.to_owned(), ..Self::default() }
    }

    /// Reads a line; says whether it is worth showing.
    pub(super) fn read(&mut self, line: &str) -> bool {
        if let Some(part) = line.strip_prefix("@ ") {
            self.part = match part {
                "programs" => Part::Programs,
                "fixtures" => Part::Fixtures,
                "scenarios" => Part::Scenarios,
                _ => Part::End,
            };
            return true;
        }
        if let Some((name, rest)) = line.strip_prefix("program ").and_then(|line| line.split_once(' ')) {
            let told = match rest.strip_prefix("refused: ") {
                Some(why) => Err(why.to_owned()),
                None => Ok(rest.parse().ok()),
            };
            self.programs.insert(name.to_owned(), told);
            return true;
        }
        if let Some((since, what)) = line.strip_prefix("lacks ").and_then(|line| line.split_once(' ')) {
            self.lacks.insert((since.to_owned(), what.to_owned()));
        }
        if let Some(why) = line.strip_prefix("skipped: ") {
            self.left_out.insert(why.to_owned());
        }
        // a failure says why over several lines
        let cause = line.starts_with("Caused by:") || (self.said_why && line.starts_with("    "));
        self.said_why = line.starts_with("Error: ") || (cause && line.starts_with("Caused by:"));
        self.count(line) || self.said_why || cause || line.starts_with("thread '")
    }

    fn count(&mut self, line: &str) -> bool {
        let counts = match self.part {
            Part::Fixtures => &mut self.fixtures,
            Part::Scenarios => &mut self.scenarios,
            Part::Boot | Part::Programs | Part::End => return false,
        };
        let Some((name, result)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) else {
            return false;
        };
        match result {
            "ok" => counts.passed += 1,
            "FAILED" => counts.failed.push(name.to_owned()),
            _ => {}
        }
        true
    }

    /// Every program was accepted, and nothing failed.
    pub(super) fn is_good(&self) -> bool {
        let accepted = !self.programs.is_empty() && self.programs.values().all(Result::is_ok);
        accepted && self.part == Part::End && self.fixtures.failed.is_empty() && self.scenarios.failed.is_empty()
    }

    /// Of fixtures only their kernel half counts here.
    fn fixtures(&self) -> String {
        let without_kernel = self.left_out.iter().any(|why| why.starts_with("the kernel half"));
        if without_kernel { "–".to_owned() } else { self.fixtures.to_string() }
    }

    fn accepted(&self) -> String {
        let accepted = self.programs.values().filter(|told| told.is_ok()).count();
        format!("{accepted} of {}", self.programs.len())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.passed)?;
        match self.failed.len() {
            0 => Ok(()),
            failed => write!(f, ", {failed} failed: {}", self.failed.join(", ")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (programs, fixtures, scenarios) = (self.accepted(), self.fixtures(), &self.scenarios);
        write!(f, "{}: programs {programs}; fixtures passed {fixtures}; scenarios passed {scenarios}", self.release)
    }
}

/// Writes the page.
pub(super) fn write(path: &Path, reports: &[Report]) -> Result<()> {
    fs::write(path, page(reports)).with_context(|| path.display().to_string())
}

fn page(reports: &[Report]) -> String {
    let mut text = String::from(HEAD);
    text += "| kernel | programs accepted | fixtures passed | scenarios passed |\n|---|---|---|---|\n";
    for report in reports {
        let (programs, fixtures, scenarios) = (report.accepted(), report.fixtures(), &report.scenarios);
        let _ = writeln!(text, "| {} | {programs} | {fixtures} | {scenarios} |", report.release);
    }
    text += "\n## What they lack\n\n";
    text += "What the agent says there in the log, in `weir status` and as Problems `kernel-lacks`.\n\n";
    text += "| since Linux | what | lacking in |\n|---|---|---|\n";
    let lacks: BTreeSet<_> = reports.iter().flat_map(|report| &report.lacks).collect();
    let mut lacks: Vec<_> = lacks.into_iter().collect();
    lacks.sort_by_key(|(since, _)| version(since));
    for lack in lacks {
        let lacking = reports.iter().filter(|report| report.lacks.contains(lack)).map(|report| &*report.release);
        let _ = writeln!(text, "| {} | {} | {} |", lack.0, lack.1, lacking.collect::<Vec<_>>().join(", "));
    }
    text += "\n## What did not run there\n\n";
    for report in reports {
        for why in &report.left_out {
            let _ = writeln!(text, "- {}: {why}", report.release);
        }
    }
    text +=
        "\n## Instructions for the verifier\n\nOf a million at most; kernels before 5.16 do not tell.\n\n| program |";
    let _ = writeln!(text, "{}", reports.iter().map(|report| format!(" {} |", report.release)).collect::<String>());
    let _ = writeln!(text, "|---|{}", "---|".repeat(reports.len()));
    let names: BTreeSet<_> = reports.iter().flat_map(|report| report.programs.keys()).collect();
    for name in names {
        let cell = |report: &Report| match report.programs.get(name) {
            Some(Ok(Some(count))) => format!(" {count} |"),
            Some(Ok(None)) => " yes |".to_owned(),
            Some(Err(_)) => " refused |".to_owned(),
            None => " |".to_owned(),
        };
        let _ = writeln!(text, "| `{name}` |{}", reports.iter().map(cell).collect::<String>());
    }
    text
}

const HEAD: &str = "\
# Kernels

weir runs on Linux 5.10 and newer. `cargo xtask kernels` boots Debian's kernels under qemu, emulated, and tries there every
program before its verifier, packet fixtures (the same packets through the host's pipeline and through the kernel), and
scenarios with agents and clients; it wrote this page. Everything else is tested on the kernel of the machine that runs
`./run test`.

";

/// `6.12` is newer than `6.6`.
fn version(text: &str) -> Vec<u32> {
    text.split('.').filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_a_page() {
        let mut report = Report::new("6.1", "6.1.0-x");
        let lines = "@ programs\nprogram a 5\nprogram b refused: too large\ntest x ... ok\n@ fixtures\ntest f::a ... ok\n\
                     test f::b ... FAILED\n@ scenarios\ntest s ... ok\nlacks 6.6 tcx\nlacks 6.12 x\nskipped: no y\n@ end";
        for line in lines.lines() {
            report.read(line);
        }
        assert!(!report.is_good());
        assert_eq!(
            report.to_string(),
            "6.1.0-x: programs 1 of 2; fixtures passed 1, 1 failed: f::b; scenarios passed 1"
        );
        let page = page(&[report]);
        assert!(page.contains("| `a` | 5 |\n| `b` | refused |\n"), "{page}");
        assert!(page.contains("| 6.6 | tcx | 6.1.0-x |\n| 6.12 | x | 6.1.0-x |\n"), "{page}");
        assert!(page.contains("- 6.1.0-x: no y\n"), "{page}");
    }

    #[test]
    fn a_guest_that_did_not_end_is_no_success() {
        let mut report = Report::new("6.1", "6.1.0-x");
        for line in ["@ programs", "program a 5", "@ scenarios"] {
            report.read(line);
        }
        assert!(!report.is_good());
        report.read("@ end");
        assert!(report.is_good());
    }
}
