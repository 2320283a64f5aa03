use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// An LLVM that `bpf-linker` can be linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Llvm {
    /// Major version.
    pub major: u32,
    /// The folder that holds `bin/`, `include/` and `lib/`.
    pub prefix: PathBuf,
}

impl Llvm {
    /// The oldest installed LLVM that is at least `wanted`: the nearest to what wrote the bitcode.
    pub fn find(wanted: u32) -> Option<Self> {
        let mut found: Vec<Self> = installed().into_iter().filter(|llvm| llvm.major >= wanted).collect();
        found.sort_by_key(|llvm| llvm.major);
        found.into_iter().next()
    }

    /// Folder of `libLLVM.so`.
    pub fn lib(&self) -> PathBuf {
        self.prefix.join("lib")
    }
}

/// `LLVM_PREFIX` if it is set, else all that stand where Debian puts them.
fn installed() -> Vec<Llvm> {
    if let Some(prefix) = env::var_os("LLVM_PREFIX") {
        return at(Path::new(&prefix)).into_iter().collect();
    }
    let Ok(entries) = fs::read_dir("/usr/lib") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"))
        .filter_map(|entry| at(&entry.path()))
        .collect()
}

/// The development files are what counts: the run-time library alone cannot be linked with.
fn at(prefix: &Path) -> Option<Llvm> {
    let header = fs::read_to_string(prefix.join("include/llvm/Config/llvm-config.h")).ok()?;
    let major = parse_major(&header)?;
    prefix.join("lib/libLLVM.so").exists().then(|| Llvm { major, prefix: prefix.to_path_buf() })
}

fn parse_major(header: &str) -> Option<u32> {
    header.lines().find_map(|line| line.strip_prefix("#define LLVM_VERSION_MAJOR "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(parse_major("/* x */\n#define LLVM_VERSION_MAJOR 22\n#define LLVM_VERSION_MINOR 1\n"), Some(22));
        assert_eq!(parse_major("#define OTHER 1\n"), None);
    }
}
