//! Socket-level balancing: attaches the programs at the hooks of a control group, and writes what they need to know of the
//! node. It is one of two ways to a service: where it cannot be had, `status` says so and the packet path goes on.

use std::net::{IpAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::{fmt, io};

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSockAddr};
use lb_common::abi::socket::socket_setting;
use lb_common::abi::{map, program};
use serde::Serialize;

use super::attach::{detach, existing, program_fd};
use super::cgroup::Cgroup;
use super::config::{CgroupChoice, Config, Pins};
use super::error::{DataplaneError, map_io, pin_io, program_io};
use super::maps::Maps;
use super::report::Note;
use super::{loader, orphans, probe, sys, verify};

/// Socket-level balancing, as `status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketLevel {
    /// Processes of the control group reach services by it.
    pub attached: bool,
    /// The directory.
    pub cgroup: Option<PathBuf>,
    /// The directory holds every process of the machine.
    pub whole_node: bool,
    /// Sockets whose backend is gone are closed; unknown until it was tried.
    pub closes_sockets: Option<bool>,
    /// What is missing, and why.
    pub reasons: Vec<String>,
}

impl fmt::Display for SocketLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cgroup {
            Some(cgroup) if self.attached => write!(f, "sockets of {}", cgroup.display()),
            _ => f.write_str("no sockets"),
        }
    }
}

/// Attaches all programs or none, and tells why not.
pub(crate) fn attach(object: &mut Ebpf, pins: &Pins, choice: &CgroupChoice, notes: &mut Vec<Note>) -> SocketLevel {
    let cgroup = match Cgroup::choose(choice) {
        Ok(Some(cgroup)) => cgroup,
        Ok(None) => return off("switched off by --no-socket-level".to_owned()),
        Err(error) => {
            // Those of an earlier agent would go on by what it wrote.
            detach_all(pins);
            return failed(error.to_string(), notes);
        }
    };
    if let Err(error) = attach_all(object, pins, &cgroup) {
        detach_all(pins);
        return failed(error, notes);
    }
    let mut level = SocketLevel {
        attached: true,
        whole_node: cgroup.is_root(),
        cgroup: Some(cgroup.path),
        ..SocketLevel::default()
    };
    if !level.whole_node {
        level.reasons.push(not_the_root(&level, choice, notes));
    }
    tell_closing(&mut level, &orphans::can_close(), notes);
    if !probe::refuses_by_number() {
        level
            .reasons
            .push("calls to services without backends fail with EPERM instead of ECONNREFUSED (6.1)".to_owned());
    }
    level
}

/// What the pins tell.
pub(crate) fn inspect(pins: &Pins) -> SocketLevel {
    let attached = program::SOCKET.iter().all(|name| pins.single_link(name).exists());
    let reasons = if attached { Vec::new() } else { vec!["its links are not pinned".to_owned()] };
    SocketLevel { attached, reasons, ..SocketLevel::default() }
}

/// Where the kernel cannot close sockets of others, their processes do not notice that a backend is gone.
fn tell_closing(level: &mut SocketLevel, can_close: &io::Result<bool>, notes: &mut Vec<Note>) {
    let reason = match can_close {
        Ok(true) => {
            level.closes_sockets = Some(true);
            return;
        }
        Ok(false) => "the kernel lacks CONFIG_INET_DIAG_DESTROY".to_owned(),
        Err(error) => error.to_string(),
    };
    level.closes_sockets = Some(false);
    let message = format!(
        "connected sockets whose backend is gone are not closed ({reason}): their processes find out by their own time limits"
    );
    level.reasons.push(message.clone());
    notes.push(Note::warning("sockets-not-closed", message));
}

fn off(reason: String) -> SocketLevel {
    SocketLevel { reasons: vec![reason], ..SocketLevel::default() }
}

fn failed(reason: String, notes: &mut Vec<Note>) -> SocketLevel {
    let message = format!(
        "socket-level balancing is off ({reason}): processes and pods of this node reach cluster IPs only by packets that \
         leave the node"
    );
    notes.push(Note::warning("socket-level-off", message));
    off(reason)
}

/// Asked for by name, a part may be just right (a node that is a container itself has its own); found by chance, it is
/// not.
fn not_the_root(level: &SocketLevel, choice: &CgroupChoice, notes: &mut Vec<Note>) -> String {
    let path = level.cgroup.as_deref().unwrap_or_else(|| "".as_ref()).display();
    if *choice == CgroupChoice::Root {
        let message = format!(
            "socket-level balancing attached at {path}, which is a container's part of the hierarchy: processes outside \
             of it are not seen; give the agent the host's /sys/fs/cgroup (hostPath) and name it with --cgroup, or the \
             host's process numbers (hostPID)"
        );
        notes.push(Note::warning("cgroup-not-root", message));
    }
    format!("{path} is not the root of the hierarchy: processes outside of it are not seen")
}

fn attach_all(object: &mut Ebpf, pins: &Pins, cgroup: &Cgroup) -> Result<(), String> {
    for name in program::SOCKET {
        load(object, pins, name).map_err(|error| format!("the kernel does not take program {name}: {error}"))?;
    }
    // What answers need first, what begins something last.
    for name in program::SOCKET {
        attach_one(object, pins, name, cgroup)
            .map_err(|error| format!("cannot attach {name} to {}: {}", cgroup.path.display(), explain(&error)))?;
    }
    Ok(())
}

fn load(object: &mut Ebpf, pins: &Pins, name: &'static str) -> Result<(), DataplaneError> {
    let failed = |source| DataplaneError::Program { program: name, source: Box::new(source) };
    verify::uninterrupted(|| {
        let program: &mut CgroupSockAddr = loader::typed(object, name)?;
        if program.fd().is_ok() { Ok(()) } else { program.load().map_err(failed) }
    })?;
    loader::pin_program(object, pins, name)
}

fn attach_one(object: &mut Ebpf, pins: &Pins, name: &'static str, cgroup: &Cgroup) -> io::Result<()> {
    let program: &mut CgroupSockAddr = loader::typed(object, name).map_err(io::Error::other)?;
    let pin = pins.single_link(name);
    // The kernel tells the number of the control group in 64 bits, of which the lower half is enough.
    if let Some(old) = existing(&pin, cgroup.inode as u32)? {
        return sys::update_link(old.as_fd(), program_fd(program.fd())?);
    }
    // No flags: a link always leaves room for others, and kernels before 6.16 refuse to be told so.
    let id = program.attach(&cgroup.directory, CgroupAttachMode::Single).map_err(program_io)?;
    let link = FdLink::try_from(program.take_link(id).map_err(program_io)?).map_err(io::Error::other)?;
    link.pin(pin).map(drop).map_err(pin_io)
}

/// `EPERM` says that a program was attached here, or above, in a way that wants to be the only one
/// (kernel/bpf/cgroup.c, `hierarchy_allows_attach`).
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            format!("{error}; a program without BPF_F_ALLOW_MULTI may be there: see `bpftool cgroup tree`")
        }
        _ => error.to_string(),
    }
}

fn detach_all(pins: &Pins) {
    for name in program::SOCKET.iter().rev() {
        if let Err(error) = detach(&pins.single_link(name)) {
            tracing::warn!(%error, "socket-level balancing stays attached in part");
        }
    }
}

/// What the programs need to know of the node.
pub(crate) struct SocketSettings {
    words: Array<MapData, u64>,
}

impl SocketSettings {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self { words: maps.array(map::SOCKET_SETTINGS)? })
    }

    /// What does not change while the agent runs.
    pub(crate) fn write_node(&mut self, config: &Config) -> Result<(), DataplaneError> {
        // Before 5.14 the kernel does not tell, and NodePorts do not answer on loopback.
        self.set(socket_setting::NAMESPACE, sys::namespace_cookie().unwrap_or(0))?;
        self.set(socket_setting::LOOPBACK, u64::from(config.loopback_node_ports))?;
        self.write_addresses(&config.node_ips)
    }

    /// Where pods reach the front: the first address of each family.
    fn write_addresses(&mut self, node_ips: &[IpAddr]) -> Result<(), DataplaneError> {
        let v4 = node_ips.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(u64::from(u32::from_ne_bytes(address.octets()))),
            IpAddr::V6(_) => None,
        });
        self.set(socket_setting::FRONT_ADDRESS4, v4.unwrap_or(0))?;
        let v6 = node_ips.iter().find_map(|address| match address {
            IpAddr::V6(address) => Some(halves(address.octets())),
            IpAddr::V4(_) => None,
        });
        let (first, second) = v6.unwrap_or((0, 0));
        if self.get(socket_setting::FRONT_ADDRESS6)? == first && self.get(socket_setting::FRONT_ADDRESS6_LOW)? == second
        {
            return Ok(());
        }
        self.set(socket_setting::FRONT_ADDRESS6, 0)?;
        self.set(socket_setting::FRONT_ADDRESS6_LOW, second)?;
        self.set(socket_setting::FRONT_ADDRESS6, first)
    }

    /// The ports of the front's listeners; those before stay known, for what is on its way to them.
    pub(crate) fn write_front_ports(
        &mut self,
        http: &[TcpListener],
        https: &[TcpListener],
    ) -> Result<(), DataplaneError> {
        let port = |listeners: &[TcpListener]| {
            let address = listeners.first().and_then(|listener| listener.local_addr().ok());
            address.map_or(0, |address| u64::from(address.port()))
        };
        let (before, now) = (self.get(socket_setting::FRONT_PORTS)?, port(https) << 16 | port(http));
        if before & 0xffff_ffff == now {
            return Ok(());
        }
        self.set(socket_setting::FRONT_PORTS, before << 32 | now)
    }

    fn get(&self, index: u32) -> Result<u64, DataplaneError> {
        self.words.get(&index, 0).map_err(map_io).map_err(DataplaneError::map(map::SOCKET_SETTINGS))
    }

    fn set(&mut self, index: u32, word: u64) -> Result<(), DataplaneError> {
        self.words.set(index, word, 0).map_err(map_io).map_err(DataplaneError::map(map::SOCKET_SETTINGS))
    }
}

/// The raw words of an address, two by two.
fn halves(octets: [u8; 16]) -> (u64, u64) {
    let (words, _) = octets.as_chunks::<8>();
    (u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    /// What `status` says by what the kernel answered when it was asked to close a socket.
    fn told(answer: io::Result<bool>) -> (SocketLevel, Vec<Note>) {
        let (mut level, mut notes) = (SocketLevel { attached: true, ..SocketLevel::default() }, Vec::new());
        tell_closing(&mut level, &answer, &mut notes);
        (level, notes)
    }

    #[test]
    fn it_is_said_where_the_kernel_cannot_close_sockets() {
        let (level, notes) = told(Ok(true));
        assert_eq!((level.closes_sockets, level.reasons.len(), notes.len()), (Some(true), 0, 0));
        let denied = || Err(io::Error::from_raw_os_error(libc::EPERM));
        for (answer, why) in [(Ok(false), "CONFIG_INET_DIAG_DESTROY"), (denied(), "Operation not permitted")] {
            let (level, notes) = told(answer);
            assert!(level.attached, "clients are led all the same");
            assert_eq!(level.closes_sockets, Some(false), "and nobody tries to close any");
            assert!(level.reasons.iter().any(|reason| reason.contains(why)), "{:?}", level.reasons);
            let [note] = &notes[..] else { panic!("{notes:?}") };
            assert_eq!((note.code, note.severity), ("sockets-not-closed", Severity::Warning));
            assert!(note.message.contains(why), "{note:?}");
        }
    }
}
