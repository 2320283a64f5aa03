//! Tests that did nothing, since a program that they talk to is not here. A run that was to see to these programs did not do what
//! it was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use ebpf_build::Workspace;
use weir_lab::LACKING;

use super::tally::Tally;

/// Where the tests write which of them did nothing.
pub(super) struct Lacking(PathBuf);

impl Lacking {
    /// None yet.
    pub(super) fn new() -> Result<Self> {
        let file = Workspace::here().target().join("lacking");
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| file.display().to_string())
            }
            _ => Ok(Self(file)),
        }
    }

    /// What tests have to find in their environment.
    pub(super) fn variable(&self) -> (&'static str, String) {
        (LACKING, self.0.display().to_string())
    }

    /// Has the tests of a command write it there.
    pub(super) fn told_by(&self, command: &mut Command) {
        command.env(LACKING, &self.0);
    }

    /// Counts them as what did not run.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.lack(parse(&fs::read_to_string(&self.0).unwrap_or_default()));
    }
}

/// What each test needs.
fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('\t')).map(|(test, needs)| (test.into(), needs.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_did_nothing_did_not_pass() -> Result<()> {
        let mut tally = Tally::default();
        tally.host(Command::new("echo").arg("test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured"))?;
        tally.lack(parse("nginx::one\tnginx\nnginx::one\tnginx\nload::two\th2load\n"));
        assert_eq!(tally.lacking(), 2);
        let told = tally.to_string();
        assert!(told.contains("!! nginx::one did nothing: it needs nginx\n"), "{told}");
        assert!(told.ends_with("7 passed, 0 failed, 2 skipped"), "{told}");
        Ok(())
    }
}
