use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment;

/// The oldest release that compiles the workspace (`rust-version` in Cargo.toml).
const OLDEST: (u32, u32) = (1, 95);

/// A compiler, as `rustc -vV` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rustc {
    /// The compiler itself.
    pub path: PathBuf,
    /// For example `1.96.0`.
    pub release: String,
    /// Major version of its LLVM.
    pub llvm: u32,
    /// Where its `core` for BPF comes from.
    pub core: CoreLibrary,
}

/// Where `core` for the BPF target comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreLibrary {
    /// Already compiled, as in Debian's `libstd-rust-web-dev-bpf`.
    Prebuilt,
    /// Source in the sysroot (`rust-src`), compiled by `-Z build-std=core`.
    Source,
}

impl Rustc {
    /// Asks the compiler at `path`; an error text says why it cannot build for `target`.
    pub(crate) fn inspect(path: &Path, target: &str) -> Result<Self, String> {
        let version = ask(path, &["-vV"])?;
        let (release, llvm) = parse_version(&version)?;
        if major_minor(&release) < Some(OLDEST) {
            return Err(format!("is {release}, needed is {}.{}", OLDEST.0, OLDEST.1));
        }
        let sysroot = PathBuf::from(ask(path, &["--print", "sysroot"])?.trim());
        let core = core_library(&sysroot, target)
            .ok_or_else(|| format!("has neither core for {target} nor rust-src in {}", sysroot.display()))?;
        Ok(Self { path: path.to_path_buf(), release, llvm, core })
    }
}

fn ask(rustc: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(rustc);
    environment::clean(&mut command);
    let output = command.args(args).output().map_err(|e| format!("does not start: {e}"))?;
    if !output.status.success() {
        return Err(format!("{args:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parse_version(text: &str) -> Result<(String, u32), String> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .ok_or_else(|| format!("does not print `{name}`"))
    };
    let release = field("release:")?.to_owned();
    let llvm = field("LLVM version:")?;
    let major = llvm.split('.').next().and_then(|m| m.parse().ok());
    Ok((release, major.ok_or_else(|| format!("has an LLVM version that cannot be read: {llvm}"))?))
}

fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.').map(|p| p.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn core_library(sysroot: &Path, target: &str) -> Option<CoreLibrary> {
    let rustlib = sysroot.join("lib/rustlib");
    if rustlib.join(target).join("lib").is_dir() {
        return Some(CoreLibrary::Prebuilt);
    }
    rustlib.join("src/rust/library/core").is_dir().then_some(CoreLibrary::Source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_release_and_llvm() {
        let text =
            "rustc 1.96.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_version(text), Ok(("1.96.0".to_owned(), 22)));
    }

    #[test]
    fn names_what_is_missing() {
        let problem = parse_version("release: 1.96.0\n").expect_err("no LLVM line");
        assert!(problem.contains("LLVM version:"), "{problem}");
    }

    #[test]
    fn compares_releases_by_number() {
        assert!(major_minor("1.100.0-nightly") > Some(OLDEST));
        assert!(major_minor("1.94.1") < Some(OLDEST));
    }
}
