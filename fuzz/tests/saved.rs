//! The saved inputs as tests: what once reached something new, and what once failed.

use std::fs;
use std::path::{Path, PathBuf};

use weir_fuzz::{TARGETS, Target};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut files: Vec<PathBuf> = entries.unwrap_or_default();
    files.sort();
    files
}

/// Runs every input of a target; the name of the file that fails stands above the message of its panic.
fn replay(target: &Target) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["corpus", "failed-once"].map(|folder| root.join(folder).join(target.name));
    let inputs: Vec<_> = folders.iter().flat_map(|folder| files(folder)).collect();
    for input in &inputs {
        println!("{}", input.display());
        (target.run)(&fs::read(input).unwrap());
    }
    inputs.len()
}

#[test]
fn every_target_passes_its_saved_inputs() {
    for target in TARGETS.iter().filter(|target| !target.needs_root || rustix::process::geteuid().is_root()) {
        assert!(replay(target) > 10, "the saved inputs of {} are gone", target.name);
    }
}
