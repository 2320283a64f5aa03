//! Tests that run their host half as anybody, and leave the rest to root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use ebpf_build::Workspace;
use weir_lab::LEFT_TO_ROOT;

use super::executables::Executable;
use super::tally::Tally;
use crate::host;

/// Where the tests write which of them left a part out.
pub(super) struct Halves(PathBuf);

impl Halves {
    /// None yet.
    pub(super) fn new() -> Result<Self> {
        let file = Workspace::here().target().join("left-to-root");
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| file.display().to_string())
            }
            _ => Ok(Self(file)),
        }
    }

    /// Has the tests of a command write it there.
    pub(super) fn told_by(&self, command: &mut Command) {
        command.env(LEFT_TO_ROOT, &self.0);
    }

    /// Counts them as not run.
    pub(super) fn count(&self, tally: &mut Tally) {
        let tests: usize = self.read().values().map(BTreeSet::len).sum();
        tally.halve(tests);
    }

    /// Runs them once more, as root.
    pub(super) fn run_as_root(&self, executables: &[Executable], tally: &mut Tally) -> Result<()> {
        for (program, tests) in self.read() {
            println!("\n     Running {} once more, as root", program.display());
            let mut command = host::as_root(&program, &[]);
            command.arg("--exact").args(&tests);
            if let Some(executable) = executables.iter().find(|executable| executable.path == program) {
                command.current_dir(&executable.package);
            }
            tally.root(&mut command)?;
        }
        Ok(())
    }

    /// By program. No file: nobody left anything out.
    fn read(&self) -> BTreeMap<PathBuf, BTreeSet<String>> {
        parse(&fs::read_to_string(&self.0).unwrap_or_default())
    }
}

fn parse(text: &str) -> BTreeMap<PathBuf, BTreeSet<String>> {
    let mut halves = BTreeMap::<_, BTreeSet<String>>::new();
    for (program, test) in text.lines().filter_map(|line| line.split_once('\t')) {
        halves.entry(PathBuf::from(program)).or_default().insert(test.to_owned());
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_left_two_parts_out_is_one_test() {
        let halves = parse("/a/datapath-1\tv6::one\n/a/datapath-1\tv6::one\n/b/lib-2\tx\n/a/datapath-1\ttwo\n");
        let tests: Vec<_> = halves.values().map(BTreeSet::len).collect();
        assert_eq!(tests, [2, 1], "{halves:?}");
    }

    #[test]
    fn what_left_a_part_out_is_skipped_until_root_has_run_it() -> Result<()> {
        let file = std::env::temp_dir().join(format!("weir-left-to-root-{}", std::process::id()));
        fs::write(&file, "/a\tone\n/a\ttwo\n")?;
        let (halves, mut tally) = (Halves(file.clone()), Tally::default());
        tally.host(Command::new("echo").arg("test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured"))?;
        halves.count(&mut tally);
        fs::remove_file(&file)?;
        assert_eq!(tally.skipped(), 2);
        tally.root(Command::new("echo").arg("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured"))?;
        assert_eq!(tally.skipped(), 0);
        Ok(())
    }
}
