use std::fmt;
use std::path::PathBuf;

use crate::toolchain::Rejected;

/// Why the kernel object could not be built.
#[derive(Debug)]
pub enum Error {
    /// No `rustc` on this machine can build for BPF.
    NoToolchain {
        /// Each `rustc` that was looked at, and why it does not do.
        rejected: Vec<Rejected>,
    },
    /// There is a fitting `rustc` but no `bpf-linker` for it yet.
    NoLinker {
        /// Where it is expected.
        expected: PathBuf,
    },
    /// A program could not be started.
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ran and failed; its own messages are on stderr.
    Failed {
        /// The command line, shortened.
        command: String,
        /// Exit status in words.
        status: String,
    },
    /// A file could not be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToolchain { rejected } => {
                write!(f, "no Rust compiler for the kernel object; run `cargo xtask setup`. Looked at:")?;
                rejected.iter().try_for_each(|r| write!(f, "\n  {r}"))
            }
            Self::NoLinker { expected } => {
                write!(f, "bpf-linker is missing (expected at {}); run `cargo xtask setup`", expected.display())
            }
            Self::Spawn { program, source } => write!(f, "cannot start {}: {source}", program.display()),
            Self::Failed { command, status } => write!(f, "`{command}` failed with {status}"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn { source, .. } | Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}
