use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::environment::clean_cargo;
use crate::error::Error;
use crate::llvm::Llvm;
use crate::workspace::Workspace;

/// The release of `bpf-linker` that set-up builds.
pub const LINKER_VERSION: &str = "0.13.0";

/// A `bpf-linker` that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linker {
    /// The program.
    pub path: PathBuf,
    /// Where it came from, in words.
    pub origin: String,
}

impl Linker {
    /// The linker that goes with `llvm`, if set-up has built it.
    pub(crate) fn find(workspace: &Workspace, llvm: &Llvm) -> Option<Self> {
        [Self::path(workspace, llvm), cache(llvm)?]
            .into_iter()
            .find(|path| runs(path))
            .map(|path| Self { path, origin: format!("{LINKER_VERSION} with LLVM {}", llvm.major) })
    }

    /// Where set-up puts the linker: the name says its version and LLVM, so that a change of either builds a new one.
    pub(crate) fn path(workspace: &Workspace, llvm: &Llvm) -> PathBuf {
        workspace.tools().join(stamp(llvm))
    }

    /// Builds the linker, or takes it from the user's cache of built tools.
    pub fn install(workspace: &Workspace, llvm: &Llvm) -> Result<Self, Error> {
        if let Some(linker) = Self::find(workspace, llvm).filter(|l| l.path.starts_with(workspace.tools())) {
            return Ok(linker);
        }
        let path = Self::path(workspace, llvm);
        match cache(llvm).filter(|cached| runs(cached)) {
            Some(cached) => copy(&cached, &path)?,
            None => {
                compile(workspace, llvm, &path)?;
                if let Some(cached) = cache(llvm) {
                    // Only saves time in the next checkout; a home that cannot be written is no reason to stop.
                    let _ = copy(&path, &cached);
                }
            }
        }
        Self::find(workspace, llvm).ok_or(Error::NoLinker { expected: path })
    }
}

fn stamp(llvm: &Llvm) -> String {
    format!("bpf-linker-{LINKER_VERSION}-llvm-{}", llvm.major)
}

/// Outside of the checkout, so that a fresh clone does not build the tool again.
fn cache(llvm: &Llvm) -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home)?;
    Some(base.join("weir").join(stamp(llvm)))
}

/// Present is not enough: the library it was linked with may have been upgraded away.
fn runs(path: &Path) -> bool {
    let mut command = Command::new(path);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn compile(workspace: &Workspace, llvm: &Llvm, to: &Path) -> Result<(), Error> {
    let build = workspace.tools().join("build");
    let mut command = clean_cargo();
    command
        .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", llvm.major)])
        .arg("--root")
        .arg(&build)
        .arg("--target-dir")
        .arg(build.join("target"))
        .env("LLVM_PREFIX", &llvm.prefix)
        .env("LIBRARY_PATH", llvm.lib())
        // The tool is not ours to debug, and half of its build time is debug information.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let status = command.status().map_err(|source| Error::Spawn { program: command.get_program().into(), source })?;
    if !status.success() {
        return Err(Error::Failed { command: "cargo install bpf-linker".to_owned(), status: status.to_string() });
    }
    copy(&build.join("bin/bpf-linker"), to)?;
    // Some hundred MB that nobody needs again.
    fs::remove_dir_all(&build).map_err(|source| Error::File { path: build, source })
}

/// Copies under a temporary name first: another build may be looking.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::File { path, source }
    };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(file(parent))?;
    }
    let part = to.with_extension(format!("part-{}", std::process::id()));
    fs::copy(from, &part).map_err(file(from))?;
    fs::rename(&part, to).map_err(file(to))
}
