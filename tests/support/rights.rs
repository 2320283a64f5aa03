//! What a test leaves out without root, said where it is counted.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;

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
    let (file, program) = (env::var_os(LEFT_TO_ROOT), env::current_exe());
    if let (Some(file), Ok(program)) = (file, program) {
        let line = format!("{}\t{}\n", program.display(), thread::current().name().unwrap_or_default());
        // one write: tests of several threads and programs append to it
        let written = OpenOptions::new().append(true).create(true).open(file);
        if let Err(error) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
            eprintln!("nobody will count it: {error}");
        }
    }
    true
}
