use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::linker::Linker;
use crate::llvm::Llvm;
use crate::object::TARGET;
use crate::rustc::{CoreLibrary, Rustc};
use crate::workspace::Workspace;

/// Overrides the choice of compiler: the name of a rustup toolchain, or the path of a `rustc`.
pub const TOOLCHAIN_VARIABLE: &str = "WEIR_BPF_TOOLCHAIN";
/// Overrides the choice of `bpf-linker`: its path.
pub const LINKER_VARIABLE: &str = "WEIR_BPF_LINKER";

/// A compiler and a linker that fit together.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The compiler.
    pub rustc: Rustc,
    /// The linker.
    pub linker: Linker,
    /// Why this compiler was taken.
    pub why: &'static str,
}

/// The compiler that would be taken, whether or not its linker is there yet; what set-up works from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The compiler and why it was taken, or none.
    pub rustc: Option<(Rustc, &'static str)>,
    /// The LLVM that the linker is or will be linked with.
    pub llvm: Option<Llvm>,
    /// Compilers that do not do.
    pub rejected: Vec<Rejected>,
}

/// A compiler that was looked at and does not do.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Its path.
    pub rustc: PathBuf,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rustc.display(), self.why)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.rustc.core {
            CoreLibrary::Prebuilt => "core prebuilt",
            CoreLibrary::Source => "core from rust-src",
        };
        let (rustc, linker) = (&self.rustc, &self.linker);
        write!(f, "{} ({}, LLVM {}, {core}; {})", rustc.path.display(), rustc.release, rustc.llvm, self.why)?;
        write!(f, " and {} ({})", linker.path.display(), linker.origin)
    }
}

impl Choice {
    /// The pair to build with. `toolchain` (a flag) is stronger than the environment variable.
    pub fn make(workspace: &Workspace, toolchain: Option<&str>) -> Result<Self, Error> {
        let plan = Plan::make(toolchain);
        let Some((rustc, why)) = plan.rustc else { return Err(Error::NoToolchain { rejected: plan.rejected }) };
        let linker = match (given_linker(), &plan.llvm) {
            (Some(linker), _) => linker,
            (None, Some(llvm)) => Linker::find(workspace, llvm)
                .ok_or_else(|| Error::NoLinker { expected: Linker::path(workspace, llvm) })?,
            (None, None) => return Err(Error::NoToolchain { rejected: plan.rejected }),
        };
        Ok(Self { rustc, linker, why })
    }
}

impl Plan {
    /// Looks at every compiler of this machine; takes the first that can build for BPF *and* has an LLVM to link with,
    /// else the first that only lacks the LLVM.
    pub fn make(toolchain: Option<&str>) -> Self {
        let over = toolchain.map(str::to_owned).or_else(|| env::var(TOOLCHAIN_VARIABLE).ok());
        let candidates = over.map_or_else(candidates, |name| vec![(named(&name), "asked for")]);
        let mut plan = Self { rustc: None, llvm: None, rejected: Vec::new() };
        for (path, why) in candidates {
            match Rustc::inspect(&path, TARGET) {
                Ok(rustc) => plan.consider(rustc, why),
                Err(why) => plan.rejected.push(Rejected { rustc: path, why }),
            }
        }
        plan
    }

    fn consider(&mut self, rustc: Rustc, why: &'static str) {
        let llvm = Llvm::find(rustc.llvm);
        if self.llvm.is_some() || (self.rustc.is_some() && llvm.is_none()) {
            let why = "would do, but another one is preferred".to_owned();
            self.rejected.push(Rejected { rustc: rustc.path, why });
            return;
        }
        self.rustc = Some((rustc, why));
        self.llvm = llvm;
    }
}

fn given_linker() -> Option<Linker> {
    let path = PathBuf::from(env::var_os(LINKER_VARIABLE)?);
    Some(Linker { path, origin: format!("from {LINKER_VARIABLE}") })
}

/// In order of preference: rustup's with `rust-src` first, because that is what a developer keeps up to date.
fn candidates() -> Vec<(PathBuf, &'static str)> {
    let rustup = rustup_toolchains().into_iter().map(|path| (path, "a rustup toolchain with rust-src"));
    let system = [Path::new("/usr/bin/rustc"), Path::new("/usr/local/bin/rustc")];
    let system = system.into_iter().filter(|path| path.exists()).map(|path| (path.to_path_buf(), "the system's"));
    rustup.chain(system).collect()
}

/// Read from the folder, not asked of rustup, which may start to download.
fn rustup_toolchains() -> Vec<PathBuf> {
    let Some(home) = rustup_home() else { return Vec::new() };
    let Ok(entries) = fs::read_dir(home.join("toolchains")) else { return Vec::new() };
    // By name, so that the choice does not depend on the order of the folder; nightly comes before stable.
    let sorted: BTreeSet<PathBuf> = entries.flatten().map(|entry| entry.path().join("bin/rustc")).collect();
    sorted.into_iter().filter(|path| path.exists()).collect()
}

fn rustup_home() -> Option<PathBuf> {
    env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")))
}

/// A path stays a path; anything else is the name of a rustup toolchain.
fn named(name: &str) -> PathBuf {
    if name.contains('/') {
        return PathBuf::from(name);
    }
    let toolchains = rustup_home().unwrap_or_default().join("toolchains");
    let starts = |entry: &fs::DirEntry| {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        file == name || file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    };
    let found = fs::read_dir(&toolchains).ok().and_then(|entries| entries.flatten().find(starts));
    found.map_or_else(|| toolchains.join(name), |entry| entry.path()).join("bin/rustc")
}
