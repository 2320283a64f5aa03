//! What can go wrong between the agent and the kernel.

use std::io;
use std::path::PathBuf;

use super::lock::LockError;

/// A step of starting, attaching, reading or unloading the data plane that failed.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The binary was built without a kernel object.
    #[error("this binary holds no kernel object; build it with `cargo xtask build-ebpf` first")]
    NoObject,
    /// Not allowed.
    #[error("no permission to {operation}; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN")]
    Permission {
        /// What was tried.
        operation: String,
    },
    /// Another agent uses the pin path, or it cannot be locked.
    #[error(transparent)]
    Lock(LockError),
    /// A file, directory or mount.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the object.
    #[error("the kernel does not take the object")]
    Load(#[source] Box<aya::EbpfError>),
    /// The verifier refused a program.
    #[error("the kernel does not take program {program}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// Why not, with the verifier's words.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// The object lacks a program or has it as another type.
    #[error("the object holds no program {program} of the expected type")]
    MissingProgram {
        /// Name of the program.
        program: &'static str,
    },
    /// A map could not be opened or read.
    #[error("map {map}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program or link could not be attached or pinned.
    #[error("cannot attach {program} to {target}")]
    Attach {
        /// Name of the program.
        program: &'static str,
        /// Interface or namespace.
        target: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody else's XDP program is on the interface.
    #[error(
        "interface {interface} already holds XDP program {holder}; expected none: detach it, or choose other \
         interfaces with --interface"
    )]
    ForeignXdp {
        /// Name of the interface.
        interface: String,
        /// Name and id of the program.
        holder: String,
    },
    /// A named interface does not exist.
    #[error("--interface {name}: no such interface; there are: {}", known.join(", "))]
    UnknownInterface {
        /// As given.
        name: String,
        /// What is there.
        known: Vec<String>,
    },
    /// No interface was named and none has a default route.
    #[error("no interface has a default route; name the external interfaces with --interface")]
    NoInterface,
    /// Netlink.
    #[error(transparent)]
    Netlink(#[from] super::netlink::NetlinkError),
    /// Sysctls.
    #[error(transparent)]
    Sysctl(#[from] super::sysctl::SysctlError),
    /// More listeners than slots.
    #[error("{found} listeners for the front, expected at most {limit}")]
    TooManyListeners {
        /// How many were given.
        found: usize,
        /// How many fit.
        limit: u32,
    },
    /// Nothing is pinned where it was looked for.
    #[error("nothing is pinned at {}", path.display())]
    NotPinned {
        /// The pin path.
        path: PathBuf,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] super::store::StoreError),
}

impl DataplaneError {
    /// An error of a file operation.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::Permission { operation: format!("{operation} {}", path.display()) }
            }
            _ => Self::File { operation, path, source },
        }
    }

    /// An error of a map.
    pub(crate) fn map(map: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { operation: format!("use BPF map {map}") },
            _ => Self::Map { map, source },
        }
    }
}

impl From<LockError> for DataplaneError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::File { path, source } => Self::file("lock", path)(source),
            held => Self::Lock(held),
        }
    }
}

/// The kernel's error inside one of aya's, so that callers can tell them apart by number.
pub(crate) fn map_io(error: aya::maps::MapError) -> io::Error {
    use aya::maps::MapError;
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::IoError(error) | MapError::CreateError { io_error: error, .. } => error,
        MapError::KeyNotFound | MapError::ElementNotFound => io::ErrorKind::NotFound.into(),
        other => io::Error::other(other),
    }
}

/// The kernel's error inside one of aya's.
pub(crate) fn program_io(error: aya::programs::ProgramError) -> io::Error {
    use aya::programs::ProgramError;
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        ProgramError::LoadError { io_error, .. } => io_error,
        other => io::Error::other(other),
    }
}

/// The kernel's error inside one of aya's.
pub(crate) fn pin_io(error: aya::pin::PinError) -> io::Error {
    match error {
        aya::pin::PinError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_permissions_are_told_apart() {
        let refused = || io::Error::from_raw_os_error(libc::EACCES);
        let locked = LockError::File { path: "/run/weir/x/lock".into(), source: refused() };
        let expected =
            "no permission to lock /run/weir/x/lock; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN";
        assert_eq!(DataplaneError::from(locked).to_string(), expected);
        assert!(matches!(DataplaneError::map("FLOWS4")(refused()), DataplaneError::Permission { .. }));
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert!(matches!(DataplaneError::map("FLOWS4")(missing), DataplaneError::Map { map: "FLOWS4", .. }));
    }
}
