use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// A cargo whose environment says nothing of the cargo, rustup or build script that runs us.
pub fn clean_cargo() -> Command {
    let mut command = Command::new(cargo());
    clean(&mut command);
    command
}

/// The cargo that runs us (a real one, not rustup's proxy), else the one in the path.
fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Removes from the child's environment what cargo, rustup and build scripts hand down.
pub(crate) fn clean(command: &mut Command) {
    env::vars_os().map(|(name, _)| name).filter(|name| leaks(name)).for_each(|name| {
        command.env_remove(name);
    });
}

/// `LD_LIBRARY_PATH` is cargo's doing as well: it names the libraries of the outer toolchain.
fn leaks(name: &OsStr) -> bool {
    const KEPT: [&str; 4] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR"];
    const ALONE: [&str; 11] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
        "TARGET",
        "HOST",
        "OUT_DIR",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "NUM_JOBS",
    ];
    let name = name.to_string_lossy();
    if KEPT.iter().any(|kept| name.starts_with(kept)) {
        return false;
    }
    name.starts_with("CARGO") || name.starts_with("RUSTC") || name.starts_with("DEP_") || ALONE.contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_the_outer_build_set_and_nothing_else() {
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"]
        {
            assert!(leaks(OsStr::new(name)), "{name} leaks");
        }
        for name in ["PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME", "CARGO_HTTP_PROXY", "https_proxy"] {
            assert!(!leaks(OsStr::new(name)), "{name} is the user's");
        }
    }
}
