//! `cargo xtask kernels`: the programs on kernels other than this machine's.
//!
//! Debian's kernels, from the oldest that weir runs on to the newest, are unpacked into the user's cache and booted under
//! qemu, emulated, so that it works on any machine. A guest sees this machine's files, with a layer of memory over them, and
//! runs the finished test programs as root: every program before its verifier, packet fixtures, scenarios.

mod guest;
mod initramfs;
mod packages;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ebpf_build::Workspace;

use crate::exit::Exit;
use crate::test::{self, executables};
use crate::{build_ebpf, host};
use guest::Guest;
use packages::{Kernel, Tools};
use report::Report;

/// The kernels: name and suite of Debian.
const KERNELS: [(&str, &str); 4] =
    [("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "bookworm-backports"), ("newest", "sid")];
/// Fixtures that together go most ways through the programs; all of them would take an hour, emulated.
const FIXTURES: [&str; 3] = ["bond::", "random::", "tunnel::"];
/// Scenarios: what the kernel lacks, devices that modules make, and a service each way.
const SCENARIOS: [&str; 4] = ["devices::", "kernel::", "sctp::", "seeds_layer4::"];
/// How long a guest may take for everything, for one line, and for one scenario.
const WHOLE: Duration = Duration::from_secs(2 * 3_600);
const SILENCE: Duration = Duration::from_secs(1_200);
const SCENARIO: Duration = Duration::from_secs(900);
/// How many times longer than elsewhere tests wait there: loading the programs alone takes minutes where the machine is busy.
const SLOWNESS: u32 = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel: 5.10, 6.1, 6.12 or newest; docs/kernels.md is left as it is
    #[arg(long, value_name = "KERNEL")]
    only: Option<String>,
    /// Fetch qemu and kernels anew
    #[arg(long)]
    update: bool,
    /// Only fixtures and scenarios whose name contains this; docs/kernels.md is left as it is
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted: Vec<_> =
        KERNELS.into_iter().filter(|(name, _)| args.only.as_ref().is_none_or(|only| only == name)).collect();
    if wanted.is_empty() {
        return Err(
            Exit::Failed(format!("no such kernel; there are {}", KERNELS.map(|(name, _)| name).join(", "))).into()
        );
    }
    let folder = host::cache().map(|cache| cache.join("kernels")).context("there is no home for a cache")?;
    let (tools, kernels) = packages::ensure(&folder, &wanted, args.update)
        .map_err(|error| Exit::Unavailable(format!("no kernels to boot: {error:#}")))?;
    let programs = Programs::build()?;
    let mut reports = Vec::new();
    for kernel in &kernels {
        reports.push(try_out(&tools, kernel, &programs, args.filter.as_deref())?);
    }
    if args.only.is_none() && args.filter.is_none() {
        report::write(&Workspace::here().root().join("docs/kernels.md"), &reports)?;
    }
    reports.iter().for_each(|report| println!("{report}"));
    let failed: Vec<_> = reports.iter().filter(|report| !report.is_good()).map(|report| report.name.clone()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Exit::Failed(format!("failed on {}", failed.join(", "))).into()) }
}

/// What guests run.
struct Programs {
    datapath: PathBuf,
    scenarios: PathBuf,
    package: PathBuf,
    weir: PathBuf,
    lab_object: PathBuf,
}

impl Programs {
    fn build() -> Result<Self> {
        let built = executables::build(&["--package", "weir-lab", "--test", "datapath", "--test", "scenarios"])?;
        let find = |name: &str| {
            let is_it = |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
            built.iter().find(|executable| is_it(&executable.path)).with_context(|| format!("cargo built no {name}"))
        };
        let (datapath, scenarios) = (find("datapath-")?, find("scenarios-")?);
        let kept = Workspace::here().target().join("kernels");
        fs::create_dir_all(&kept)?;
        Ok(Self {
            datapath: keep(&kept, "datapath", &datapath.path)?,
            scenarios: keep(&kept, "scenarios", &scenarios.path)?,
            package: scenarios.package.clone(),
            weir: keep(&kept, "weir", &test::build_weir()?)?,
            lab_object: keep(&kept, "lab", &build_ebpf::lab_object()?)?,
        })
    }
}

/// Copies a program out of the way of builds: guests run for long, and what they run must not change meanwhile.
fn keep(folder: &Path, name: &str, program: &Path) -> Result<PathBuf> {
    let copy = folder.join(name);
    fs::copy(program, &copy).with_context(|| program.display().to_string())?;
    Ok(copy)
}

fn try_out(tools: &Tools, kernel: &Kernel, programs: &Programs, filter: Option<&str>) -> Result<Report> {
    println!("== {} ({})", kernel.name, kernel.release);
    let script = script(programs, filter);
    let mut report = Report::new(&kernel.name, &kernel.release);
    let guest = Guest::boot(tools, kernel, &script)?;
    guest.watch(WHOLE, SILENCE, |line| {
        if report.read(line) {
            println!("{}: {line}", kernel.name);
        }
    })?;
    Ok(report)
}

/// Headings tell the report where it is. Tests run one at a time: a guest has one processor. Each scenario is a process of its
/// own, so that what it says is seen at once, and one that hangs ends by its deadline and is no end of the others.
fn script(programs: &Programs, filter: Option<&str>) -> String {
    let names = |all: &[&str]| filter.map_or_else(|| all.join(" "), str::to_owned);
    // the console is a terminal to them: colours would stand around the results
    let run = "--test-threads=1 --show-output --color=never";
    format!(
        "ulimit -l unlimited\ncd {package}\nexport WEIR_BINARY={weir} WEIR_LAB_OBJECT={lab} WEIR_LAB_SLOWNESS={SLOWNESS}\n\
         echo '@ programs'; {datapath} {run} verifier::each 2>&1\n\
         echo '@ fixtures'; {datapath} {run} {fixtures} 2>&1\n\
         echo '@ scenarios'\n\
         for name in $({scenarios} --list --ignored {smoke} | sed -n 's/: test$//p'); do\n\
         timeout -k 10 {seconds} {scenarios} {run} --ignored --exact $name 2>&1\n\
         [ $? -lt 124 ] || echo \"test $name ... FAILED\"\n\
         done\n",
        package = programs.package.display(),
        weir = programs.weir.display(),
        lab = programs.lab_object.display(),
        datapath = programs.datapath.display(),
        scenarios = programs.scenarios.display(),
        fixtures = names(&FIXTURES),
        smoke = names(&SCENARIOS),
        seconds = SCENARIO.as_secs(),
    )
}
