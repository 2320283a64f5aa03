//! The wrapper around rustc that makes our own crates tell what they cover.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The crates whose coverage guides: those that do the work of a packet, optimised, and one that takes minutes to optimise.
const FAST: &str = "lb_common|weir_fuzz";
const SLOW: &str = "lb_userspace";

/// SanitizerCoverage (<https://clang.llvm.org/docs/SanitizerCoverage.html>) as libFuzzer wants it: a counter per edge, the
/// table of places, and the operands of comparisons.
const FLAGS: &str = "-C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares";

/// Optimised, and yet with the checks of a debug build.
const OPTIMISED: &str = "-C codegen-units=1 -C opt-level=2 -C debug-assertions=on";

/// Writes the wrapper. Its name holds a hash of its text: cargo builds anew what another wrapper has built.
pub(super) fn write(folder: &Path) -> Result<PathBuf> {
    let text = format!(
        "#!/bin/sh\n\
         rustc=$1\n\
         shift\n\
         case ${{CARGO_CRATE_NAME-}} in\n\
         {FAST}) exec \"$rustc\" \"$@\" {FLAGS} {OPTIMISED} ;;\n\
         {SLOW}) exec \"$rustc\" \"$@\" {FLAGS} ;;\n\
         *) exec \"$rustc\" \"$@\" ;;\n\
         esac\n"
    );
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let path = folder.join(format!("rustc-{:016x}", hasher.finish()));
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
        fs::write(&path, &text).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_our_crates_get_the_flags() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("weir-wrapper-{}", std::process::id()));
        let wrapper = write(&folder)?;
        let told = |name: &str| -> Result<String> {
            let output = Command::new(&wrapper).args(["echo", "one"]).env("CARGO_CRATE_NAME", name).output()?;
            Ok(String::from_utf8(output.stdout)?)
        };
        assert!(told("lb_common")?.contains("one -C passes=sancov-module"));
        assert_eq!(told("build_script_build")?, "one\n");
        fs::remove_dir_all(folder)?;
        Ok(())
    }
}
