//! `cargo xtask test`: host tests, then the tests that need root (marked `#[ignore = "needs root"]`).

pub(crate) mod executables;
mod halves;
mod lacking;
mod stages;
mod tally;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::exit::Exit;
use crate::fuzz::Engine;
use crate::host::{self, Root};
use crate::peers::{self, Peers};
use crate::setup::{self, Use};
use crate::{build_ebpf, helm, kube, tidy};
use executables::Executable;
use halves::Halves;
use lacking::Lacking;
use stages::Stages;
use tally::Tally;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leave out the tests that need root, and call that a success
    #[arg(long)]
    host_only: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::default();
    let mut tally = Tally::default();
    let rootless = args.host_only || host::root() == Root::No;
    stages.run("set-up", || setup::ensure(if rootless { Use::Build } else { Use::Tests }))?;
    let executables = stages.run("build", || executables::build(&[]))?;
    stages.run("rules", tidy::run)?;
    let peers = stages.run("peers of the front", || Ok(peers::find()))?;
    let (halves, lacking) = (Halves::new()?, Lacking::new()?);
    stages.run("host tests", || host_tests(args, &peers, &halves, &lacking, &mut tally))?;
    stages.run("tests of features", || feature_tests(args, &peers, &lacking, &mut tally))?;
    if args.filter.is_none() {
        stages.run("fuzz", || fuzz_shortly(rootless, &mut tally))?;
    }
    if !rootless {
        let (kube, helm) = stages.run("Kubernetes for tests", || Ok((control_plane(), chart_renderer())))?;
        let programs = stages.run("build for scenarios", || Programs::build(args, kube, helm))?;
        stages.run("scenario tests", || root_tests(args, &executables, &programs, (&peers, &lacking), &mut tally))?;
        stages.run("what host tests left to root", || halves.run_as_root(&executables, &mut tally))?;
    }
    lacking.count(&mut tally);
    println!("\n{stages}\n\n{tally}");
    verdict(args, &tally)
}

fn verdict(args: &Args, tally: &Tally) -> Result<()> {
    if tally.failed() > 0 || tally.broken > 0 {
        return Err(Exit::Failed(format!("{} tests failed", tally.failed().max(tally.broken))).into());
    }
    if tally.lacking() > 0 && !args.host_only {
        return Err(Exit::Unavailable(format!("{} tests did nothing: programs are missing", tally.lacking())).into());
    }
    if tally.skipped() > 0 && !args.host_only {
        let reason =
            "they make network namespaces and load programs into the kernel, and there is neither root nor sudo";
        return Err(Exit::NoPermission(format!("{} tests did not run: {reason}", tally.skipped())).into());
    }
    Ok(())
}

fn host_tests(args: &Args, peers: &Peers, halves: &Halves, lacking: &Lacking, tally: &mut Tally) -> Result<()> {
    let mut command = host::cargo();
    command.args(["test", "--no-fail-fast"]).args(&args.filter);
    command.envs(peers.variables.iter().map(|(name, value)| (name, value)));
    halves.told_by(&mut command);
    lacking.told_by(&mut command);
    tally.host(&mut command)?;
    halves.count(tally);
    Ok(())
}

/// What is off where nobody asks for it, and the tests of it.
const FEATURES: [&str; 2] = ["http3", "otlp"];

/// Those whose tests are asked for: their names begin so.
fn features(args: &Args) -> Vec<&'static str> {
    let wanted = |feature: &&str| args.filter.as_ref().is_none_or(|filter| filter.contains(*feature));
    FEATURES.into_iter().filter(wanted).collect()
}

/// A second build of the front, with everything on; all other tests are of what is built by default.
fn feature_tests(args: &Args, peers: &Peers, lacking: &Lacking, tally: &mut Tally) -> Result<()> {
    let tests = features(args);
    if tests.is_empty() {
        return Ok(());
    }
    let mut command = host::cargo();
    command.args(["test", "--no-fail-fast", "--package", "lb-userspace", "--lib", "--test", "dialect", "--features"]);
    command.arg(FEATURES.join(",")).arg("--").args(tests);
    command.envs(peers.variables.iter().map(|(name, value)| (name, value)));
    lacking.told_by(&mut command);
    tally.host(&mut command)
}

/// How long all targets together get new inputs.
const FUZZ: Duration = Duration::from_secs(20);
/// Of the new inputs; any number would do.
const SEED: u32 = 1;

/// The saved inputs and a few seconds of new ones, which are always the same: a tree that passed is not to fail by chance.
/// `cargo xtask fuzz` is what looks for defects.
fn fuzz_shortly(rootless: bool, tally: &mut Tally) -> Result<()> {
    let engine = Engine::build()?;
    let targets = engine.runnable(rootless);
    let each = (FUZZ / u32::try_from(targets.len().max(1))?).max(Duration::from_secs(1));
    for target in &targets {
        tally.fuzz(&target.name, engine.fuzz(target, each, Some(SEED))?);
    }
    Ok(())
}

/// weir with everything on, kept beside the one that is built by default. Empty: nobody asks for it.
fn weir_with_features(args: &Args) -> Result<PathBuf> {
    if features(args).is_empty() {
        return Ok(PathBuf::new());
    }
    let features = FEATURES.join(",");
    let built = ["build", "--package", "lb-userspace", "--bin", "weir", "--features", &features];
    host::run(host::cargo().args(built))?;
    let workspace = ebpf_build::Workspace::here();
    let kept = workspace.target().join("weir-with-features");
    std::fs::copy(workspace.target().join("debug/weir"), &kept)?;
    Ok(kept)
}

/// What the scenario tests run.
struct Programs {
    weir: PathBuf,
    /// The same with everything on.
    with_features: PathBuf,
    lab_object: PathBuf,
    /// The folder of a Kubernetes control plane, where there is one.
    kube: Option<PathBuf>,
    /// The folder of Helm, where there is one.
    helm: Option<PathBuf>,
}

impl Programs {
    fn build(args: &Args, kube: Option<PathBuf>, helm: Option<PathBuf>) -> Result<Self> {
        // The default one last: it is what stays at its usual place.
        let with_features = weir_with_features(args)?;
        Ok(Self { weir: build_weir()?, with_features, lab_object: build_ebpf::lab_object()?, kube, helm })
    }
}

/// Without one, the tests that need it do not run, which is said here and at the end.
fn control_plane() -> Option<PathBuf> {
    kube::ensure().inspect_err(|why| println!("!! tests against a real API server do not run: {why}")).ok()
}

/// The same for the test of the Helm chart.
fn chart_renderer() -> Option<PathBuf> {
    helm::ensure().inspect_err(|why| println!("!! the test of the Helm chart does not run: {why}")).ok()
}

/// Part of the name of each test that needs a Kubernetes control plane: its module.
const NEEDS_KUBE: &str = "kube::";
/// The same for Helm.
const NEEDS_HELM: &str = "kube::chart::";

/// The product in a debug build: its dependencies are optimised, and it is built for the host tests anyway.
pub(crate) fn build_weir() -> Result<PathBuf> {
    host::run(host::cargo().args(["build", "--package", "lb-userspace", "--bin", "weir"]))?;
    let weir = ebpf_build::Workspace::here().target().join("debug/weir");
    ensure!(weir.exists(), "cargo built no {}", weir.display());
    Ok(weir)
}

fn root_tests(
    args: &Args,
    executables: &[Executable],
    programs: &Programs,
    (peers, lacking): (&Peers, &Lacking),
    tally: &mut Tally,
) -> Result<()> {
    let with_features = programs.with_features.to_string_lossy();
    let (weir, lab) = (programs.weir.to_string_lossy(), programs.lab_object.to_string_lossy());
    let kube = programs.kube.as_ref().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    let helm = programs.helm.as_ref().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    let [nginx, pycurl] = peers.variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let lacking = lacking.variable();
    let variables = [
        nginx,
        pycurl,
        (lacking.0, lacking.1.as_str()),
        ("WEIR_BINARY", weir.as_ref()),
        ("WEIR_WITH_FEATURES", with_features.as_ref()),
        ("WEIR_LAB_OBJECT", lab.as_ref()),
        ("WEIR_KUBE", kube.as_str()),
        ("WEIR_HELM", helm.as_str()),
    ];
    for executable in executables {
        let tests = root_tests_of(executable)?;
        if tests.is_empty() {
            continue;
        }
        println!("\n     Running {} as root", executable.path.display());
        let mut command = host::as_root(&executable.path, &variables);
        command.args(["--ignored", "--test-threads=1"]).args(&args.filter).current_dir(&executable.package);
        let lacking = match (&programs.kube, &programs.helm) {
            (None, _) => Some(NEEDS_KUBE),
            (_, None) => Some(NEEDS_HELM),
            _ => None,
        };
        if let Some(lacking) = lacking {
            let wanted = |test: &&String| args.filter.as_ref().is_none_or(|filter| test.contains(filter));
            tally.leave_out(tests.iter().filter(wanted).filter(|test| test.contains(lacking)).count());
            command.args(["--skip", lacking]);
        }
        tally.root(&mut command)?;
    }
    Ok(())
}

/// The names of the tests that need root.
fn root_tests_of(executable: &Executable) -> Result<Vec<String>> {
    let mut command = Command::new(&executable.path);
    command.args(["--ignored", "--list"]).current_dir(&executable.package).stderr(Stdio::null());
    let list = String::from_utf8_lossy(&command.output()?.stdout).into_owned();
    Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}
