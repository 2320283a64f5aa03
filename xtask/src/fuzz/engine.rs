//! The instrumented program, and what it is asked to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ebpf_build::Workspace;

use super::report::{self, Figures};
use crate::exit::Exit;
use crate::host::{self, Root};

/// A run of one input that takes longer than so many seconds has failed. The first of `kernel` loads all programs of both
/// families, which takes 7 of an idle machine.
const TIMEOUT: u64 = 60;
/// Runs of a target with a seed, those of the saved inputs among them.
const SEEDED: u32 = 2_000;
/// Longest input, in bytes.
const LONGEST: u64 = 4096;

/// The instrumented program.
pub(crate) struct Engine {
    program: PathBuf,
    targets: Vec<Target>,
}

/// One target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    needs_root: bool,
}

impl Engine {
    /// Builds it, which asks for a C++ compiler: libFuzzer comes as source with its crate.
    pub(crate) fn build() -> Result<Self> {
        let program = super::build()?;
        let listed = super::output(Command::new(&program).env("WEIR_FUZZ_TARGET", "list"))?;
        let target = |line: &str| {
            let (name, rights) = line.split_once(' ')?;
            Some(Target { name: name.to_owned(), needs_root: rights == "root" })
        };
        Ok(Self { program, targets: listed.lines().filter_map(target).collect() })
    }

    /// All targets, without those that need root where there is none.
    pub(crate) fn runnable(&self, rootless: bool) -> Vec<Target> {
        self.targets.iter().filter(|target| !rootless || !target.needs_root).cloned().collect()
    }

    /// The target of that name, or all that can run.
    pub(crate) fn chosen(&self, name: Option<&str>) -> Result<Vec<Target>> {
        let named = |target: &&Target| name.is_none_or(|name| name == target.name);
        let chosen: Vec<_> = self.targets.iter().filter(named).cloned().collect();
        if let (Some(name), true) = (name, chosen.is_empty()) {
            let names: Vec<_> = self.targets.iter().map(|target| target.name.as_str()).collect();
            bail!("there is no target {name}; there are {}", names.join(", "));
        }
        let refused = |target: &&Target| target.needs_root && host::root() == Root::No;
        match chosen.iter().find(refused) {
            Some(target) if name.is_some() => {
                let why = "loads programs into the kernel, and there is neither root nor sudo";
                Err(Exit::NoPermission(format!("{} {why}", target.name)).into())
            }
            Some(target) => {
                println!("skipped: {} needs root", target.name);
                Ok(self.runnable(true))
            }
            None => Ok(chosen),
        }
    }

    /// Runs a target for that long on the saved inputs and on new ones; false if it failed. With a seed the new inputs are
    /// the same in every run, and so few that the time does not bound them.
    pub(crate) fn fuzz(&self, target: &Target, time: Duration, seed: Option<u32>) -> Result<bool> {
        let (found, failed) = (folder("found", target)?, folder("failed", target)?);
        let log = folder("log", target)?.join("last.txt");
        let before = files(&failed)?;
        let mut command = self.command(target);
        command
            .args(["-print_final_stats=1", "-use_value_profile=1", "-reload=0", "-len_control=0"])
            .arg(format!("-max_total_time={}", time.as_secs()))
            .args(seed.map(|seed| format!("-seed={seed}")))
            .args(seed.map(|_| format!("-runs={SEEDED}")))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/", failed.display()))
            .arg(&found)
            .args(saved(target).iter().filter(|folder| folder.exists()))
            .stderr(fs::File::create(&log).with_context(|| log.display().to_string())?);
        let ended_well = command.status().context("cannot start the engine")?.success();
        let told = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        println!("{:<10} {}", target.name, Figures::read(&told));
        if ended_well {
            return Ok(true);
        }
        println!("{}", report::reason(&told));
        for input in files(&failed)?.iter().filter(|file| !before.contains(file)) {
            report::explain(&target.name, input)?;
        }
        Ok(false)
    }

    /// Runs one input.
    pub(crate) fn replay(&self, target: &Target, input: &Path) -> Result<()> {
        let status = self.command(target).arg(input).env("RUST_BACKTRACE", "1").status()?;
        if status.success() {
            return Ok(());
        }
        Err(Exit::Failed(format!("{} fails on {}", target.name, input.display())).into())
    }

    /// Makes the saved inputs anew: the fewest that reach what the saved and the found ones reach.
    pub(crate) fn save(&self, target: &Target) -> Result<()> {
        let (found, fewest) = (folder("found", target)?, folder("fewest", target)?);
        fs::remove_dir_all(&fewest)?;
        fs::create_dir_all(&fewest)?;
        let [corpus, _] = saved(target);
        fs::create_dir_all(&corpus)?;
        let mut command = self.command(target);
        // by edges alone, which needs a fifth of the inputs that telling their counts apart does
        command
            .args(["-set_cover_merge=1", "-use_counters=0", &format!("-max_len={LONGEST}")])
            .args([&fewest, &found, &corpus]);
        host::run(&mut command)?;
        fs::remove_dir_all(&corpus)?;
        fs::create_dir_all(&corpus)?;
        for file in files(&fewest)? {
            fs::copy(&file, corpus.join(file.file_name().context("a file has a name")?))?;
        }
        Ok(())
    }

    fn command(&self, target: &Target) -> Command {
        let variables = [("WEIR_FUZZ_TARGET", target.name.as_str())];
        if target.needs_root {
            return host::as_root(&self.program, &variables);
        }
        let mut command = Command::new(&self.program);
        command.envs(variables);
        command
    }
}

/// A folder under target/ for what a target leaves.
fn folder(kind: &str, target: &Target) -> Result<PathBuf> {
    let folder = Workspace::here().target().join("fuzz").join(kind).join(&target.name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Where the inputs of a target are saved: those that reached something new, and those that failed once.
fn saved(target: &Target) -> [PathBuf; 2] {
    ["corpus", "failed-once"].map(|kind| Workspace::here().root().join("fuzz").join(kind).join(&target.name))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}
