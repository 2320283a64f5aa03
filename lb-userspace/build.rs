//! Builds the kernel object and tells the crate where it is (`WEIR_EBPF_OBJECT`).
//!
//! `WEIR_EBPF_OBJECT=path` in the environment of cargo takes a finished object instead and builds nothing.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ebpf_build::{Choice, LINKER_VARIABLE, Object, TOOLCHAIN_VARIABLE, Workspace};

const OBJECT_VARIABLE: &str = "WEIR_EBPF_OBJECT";

fn main() -> ExitCode {
    let Err(error) = embed() else { return ExitCode::SUCCESS };
    for line in error.to_string().lines() {
        println!("cargo::error={line}");
    }
    ExitCode::FAILURE
}

fn embed() -> Result<(), Box<dyn Error>> {
    for variable in [OBJECT_VARIABLE, TOOLCHAIN_VARIABLE, LINKER_VARIABLE] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let object = match env::var_os(OBJECT_VARIABLE) {
        Some(path) => given(Path::new(&path))?,
        None => built()?,
    };
    // A copy of our own: the nested build may write its file while rustc embeds this one.
    let embedded = Path::new(&env::var("OUT_DIR")?).join("weir.bpf.o");
    let bytes = fs::read(&object).map_err(|e| format!("{}: {e}", object.display()))?;
    fs::write(&embedded, bytes)?;
    println!("cargo::rustc-env={OBJECT_VARIABLE}={}", embedded.display());
    Ok(())
}

fn given(path: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let path = path.canonicalize().map_err(|e| format!("{OBJECT_VARIABLE}={}: {e}", path.display()))?;
    println!("cargo::rerun-if-changed={}", path.display());
    Ok(path)
}

fn built() -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Workspace::here();
    for part in ["lb-ebpf", "lb-common", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.root().join(part).display());
    }
    let choice = Choice::make(&workspace, None)?;
    println!("cargo::rerun-if-changed={}", choice.linker.path.display());
    let features: &[&str] = if env::var_os("CARGO_FEATURE_BPF_LOG").is_some() { &["log"] } else { &[] };
    Ok(ebpf_build::build(&workspace, &choice, Object::Weir, features)?)
}
