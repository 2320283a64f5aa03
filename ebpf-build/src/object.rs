use std::path::PathBuf;

use crate::environment::clean_cargo;
use crate::error::Error;
use crate::rustc::CoreLibrary;
use crate::toolchain::Choice;
use crate::workspace::Workspace;

/// The kernel runs in the byte order of the machine, and so does the object for it.
pub(crate) const TARGET: &str =
    if cfg!(target_endian = "little") { "bpfel-unknown-none" } else { "bpfeb-unknown-none" };

/// The objects that `lb-ebpf` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// The product's programs, embedded in the binary.
    Weir,
    /// Programs for tests and benchmarks; never part of the product.
    Lab,
}

impl Object {
    fn binary(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Lab => "lab",
        }
    }
}

/// Builds `object` and gives its path; cargo decides whether there is anything to do.
///
/// `features` are features of `lb-ebpf`, for example `log`.
pub fn build(workspace: &Workspace, choice: &Choice, object: Object, features: &[&str]) -> Result<PathBuf, Error> {
    let target_dir = features.iter().fold(workspace.bpf_target(), |dir, feature| dir.join(feature));
    let mut command = clean_cargo();
    command
        .current_dir(workspace.root())
        .args(["build", "--package", "lb-ebpf", "--profile", "bpf", "--locked"])
        .args(["--bin", object.binary(), "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .args(features.iter().flat_map(|feature| ["--features", feature]))
        .env("RUSTC", &choice.rustc.path)
        // aya-ebpf and core for BPF use unstable features; host crates are built without this.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(choice).join("\u{1f}"));
    if choice.rustc.core == CoreLibrary::Source {
        command.args(["-Z", "build-std=core"]);
    }
    let status = command.status().map_err(|source| Error::Spawn { program: command.get_program().into(), source })?;
    if !status.success() {
        let command = format!("cargo build --package lb-ebpf --bin {} --target {TARGET}", object.binary());
        return Err(Error::Failed { command, status: status.to_string() });
    }
    Ok(target_dir.join(TARGET).join("bpf").join(object.binary()))
}

/// `--btf` makes the linker keep the types, without which the kernel knows neither maps nor programs by name.
fn rustflags(choice: &Choice) -> Vec<String> {
    let linker = format!("linker={}", choice.linker.path.display());
    ["-C", "debuginfo=2", "-C", "link-arg=--btf", "-C"].map(str::to_owned).into_iter().chain([linker]).collect()
}
