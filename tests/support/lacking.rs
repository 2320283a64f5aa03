//! What a test cannot do because a program that it talks to is not here, said where it is counted.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;

/// Names a file for [`lacks`]: `./run test`, which sees to these programs, reads it and tells what did not run.
pub const LACKING: &str = "WEIR_LACKING";

/// The running test does nothing without this. To be called on the thread of the test itself, whose name is the test's.
pub fn lacks(program: &str) {
    eprintln!("skipped: needs {program}");
    tell(LACKING, &format!("{}\t{program}\n", thread::current().name().unwrap_or_default()));
}

/// Appends a line to the file that a variable of the environment names, if it does.
pub(crate) fn tell(variable: &str, line: &str) {
    let Some(file) = env::var_os(variable).filter(|file: &OsString| !file.is_empty()) else { return };
    // one write: tests of several threads and programs append to it
    let written = OpenOptions::new().append(true).create(true).open(file);
    if let Err(error) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("nobody will count it: {error}");
    }
}
