//! What a test leaves out without root, said where it is counted.

use std::env;
use std::thread;

use crate::lacking::tell;

/// Names a file for [`left_to_root`]: `./run test` reads it, runs these tests once more as root, and counts those that it cannot.
pub const LEFT_TO_ROOT: &str = "WEIR_LEFT_TO_ROOT";

/// Whether this process may make network namespaces and load programs.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True if the running test has to leave a part to root; says so. To be asked on the thread of the test itself, whose name is
/// the test's.
pub fn left_to_root(part: &str) -> bool {
    if is_root() {
        return false;
    }
    eprintln!("skipped: {part} needs root");
    if let Ok(program) = env::current_exe() {
        let line = format!("{}\t{}\n", program.display(), thread::current().name().unwrap_or_default());
        tell(LEFT_TO_ROOT, &line);
    }
    true
}
