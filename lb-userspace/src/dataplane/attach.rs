//! Attaches the programs, or updates the links that an earlier agent pinned: nothing is detached in between.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, ProgramInfo, TcAttachType, Xdp, XdpMode};
use lb_common::abi::program;

use super::config::Pins;
use super::error::{DataplaneError, pin_io, program_io};
use super::loader;
use super::netlink::{AttachedXdp, Link, Netlink};
use super::report::{InterfaceMode, InterfaceStatus, Note, ProgramStatus};
use super::{calls, sys, tc};

/// The network namespace of the calling thread; `/proc/self` would be that of the main thread.
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Attaches everything to `links`, in an order in which no program relies on one that is not there yet: what replies
/// need first, what takes packets in last.
pub(crate) fn attach(
    object: &mut Ebpf,
    pins: &Pins,
    links: &[Link],
    notes: &mut Vec<Note>,
) -> Result<Vec<InterfaceStatus>, DataplaneError> {
    calls::fill(object)?;
    let mut kinds = Vec::new();
    for link in links {
        let egress = loader::classifier(object, program::TC_EGRESS)?;
        kinds.push(tc::attach(egress, pins, program::TC_EGRESS, &link.name, link.index, TcAttachType::Egress)?);
    }
    attach_sk_lookup(object, pins)?;
    for link in links {
        let companion = loader::classifier(object, program::TC_INGRESS)?;
        tc::attach(companion, pins, program::TC_INGRESS, &link.name, link.index, TcAttachType::Ingress)?;
    }
    let mut reasons = Vec::new();
    for link in links {
        reasons.push(attach_xdp(loader::xdp(object)?, pins, link, notes)?);
    }
    remove_other_links(pins, links, notes)?;
    let current = Netlink::connect()?.links()?;
    let status = |((link, tc), reason)| status(object, link, tc, reason, &current);
    links.iter().zip(kinds).zip(reasons).map(status).collect()
}

/// Refuses an interface on which somebody else's XDP program sits.
pub(crate) fn refuse_foreign_xdp(pins: &Pins, link: &Link) -> Result<(), DataplaneError> {
    let Some(AttachedXdp { program, .. }) = link.xdp else { return Ok(()) };
    let ours =
        existing(&pins.link(program::XDP, &link.name), link.index).map_err(attach_failed(program::XDP, &link.name))?;
    let ours = ours.and_then(|fd| sys::link_target(fd.as_fd()).ok()).is_some_and(|target| target.program == program);
    if ours { Ok(()) } else { Err(foreign(link, program)) }
}

/// A pinned link to `target`. A pin whose interface or namespace is gone, or is another one by now, is removed.
pub(crate) fn existing(pin: &Path, target: u32) -> io::Result<Option<OwnedFd>> {
    let Some(fd) = sys::open_pin(pin)? else { return Ok(None) };
    if sys::link_target(fd.as_fd())?.target == target {
        return Ok(Some(fd));
    }
    fs::remove_file(pin)?;
    Ok(None)
}

/// Detaches a pinned link and removes the pin; a missing one is success.
pub(crate) fn detach(pin: &Path) -> Result<(), DataplaneError> {
    if let Some(link) = sys::open_pin(pin).map_err(DataplaneError::file("open", pin))? {
        // Fails if what it was attached to is gone, and then there is nothing to detach.
        let _ = sys::detach_link(link.as_fd());
        loader::remove_pin(pin)?;
    }
    Ok(())
}

/// Attaches XDP natively, or generically with the reason why not natively.
fn attach_xdp(
    program: &mut Xdp,
    pins: &Pins,
    link: &Link,
    notes: &mut Vec<Note>,
) -> Result<Option<String>, DataplaneError> {
    refuse_foreign_xdp(pins, link)?;
    let pin = pins.link(program::XDP, &link.name);
    let failed = || attach_failed(program::XDP, &link.name);
    if let Some(old) = existing(&pin, link.index).map_err(failed())? {
        match sys::update_link(old.as_fd(), program_fd(program.fd()).map_err(failed())?) {
            Ok(()) => return Ok(None),
            Err(error) => replace_xdp_link(&pin, link, &error, notes)?,
        }
    }
    match attach_xdp_mode(program, &pin, link.index, XdpMode::Driver) {
        Ok(()) => Ok(None),
        Err(error) if is_taken(&error) => Err(foreign_now(link)?),
        Err(native) => {
            attach_xdp_mode(program, &pin, link.index, XdpMode::Skb).map_err(failed())?;
            Ok(Some(format!("native: {native}")))
        }
    }
}

/// A link keeps the kind of program that it was made for (with or without fragments): where that changed, it is
/// detached and made anew.
fn replace_xdp_link(pin: &Path, link: &Link, error: &io::Error, notes: &mut Vec<Note>) -> Result<(), DataplaneError> {
    detach(pin)?;
    let message = format!(
        "XDP on {} could not be replaced in place ({error}): it was detached and attached again, with a gap",
        link.name
    );
    notes.push(Note::warning("xdp-detached", message));
    Ok(())
}

fn attach_xdp_mode(program: &mut Xdp, pin: &Path, index: u32, mode: XdpMode) -> io::Result<()> {
    let id = program.attach_to_if_index(index, mode).map_err(program_io)?;
    let link = program.take_link(id).map_err(program_io)?;
    // Where the kernel knows no XDP links (before 5.9), aya attaches by netlink; dropping that detaches.
    let link = FdLink::try_from(link).map_err(|_| io::Error::other("the kernel has no XDP links (5.9)"))?;
    link.pin(pin).map(drop).map_err(pin_io)
}

fn attach_sk_lookup(object: &mut Ebpf, pins: &Pins) -> Result<(), DataplaneError> {
    let failed = || attach_failed(program::SK_LOOKUP, "the network namespace");
    let namespace = File::open(NAMESPACE).map_err(failed())?;
    let inode = namespace.metadata().map_err(failed())?.ino();
    let pin = pins.single_link(program::SK_LOOKUP);
    let program = loader::sk_lookup(object)?;
    // The kernel tells the inode of a namespace in 32 bits.
    if let Some(old) = existing(&pin, inode as u32).map_err(failed())? {
        let new = program_fd(program.fd()).map_err(failed())?;
        return sys::update_link(old.as_fd(), new).map_err(failed());
    }
    let id = program.attach(namespace).map_err(program_io).map_err(failed())?;
    let link: FdLink = program.take_link(id).map_err(program_io).map_err(failed())?.into();
    link.pin(pin).map(drop).map_err(pin_io).map_err(failed())
}

/// Detaches from interfaces that are no longer ours.
fn remove_other_links(pins: &Pins, links: &[Link], notes: &mut Vec<Note>) -> Result<(), DataplaneError> {
    let names = [program::XDP, program::TC_INGRESS, program::TC_EGRESS];
    let mut wanted: Vec<_> = links.iter().flat_map(|link| names.map(|name| pins.link(name, &link.name))).collect();
    wanted.push(pins.single_link(program::SK_LOOKUP));
    let dir = pins.links();
    for entry in fs::read_dir(&dir).map_err(DataplaneError::file("read", &dir))? {
        let path = entry.map_err(DataplaneError::file("read", &dir))?.path();
        if !wanted.contains(&path) {
            detach(&path)?;
            notes.push(Note::info("link-removed", format!("{} is no longer wanted: detached", path.display())));
        }
    }
    Ok(())
}

fn status(
    object: &Ebpf,
    link: &Link,
    tc: &'static str,
    reason: Option<String>,
    current: &[Link],
) -> Result<InterfaceStatus, DataplaneError> {
    let xdp = current.iter().find(|found| found.index == link.index).and_then(|found| found.xdp);
    let mode = match xdp {
        Some(AttachedXdp { native: true, .. }) => InterfaceMode::Native,
        Some(AttachedXdp { native: false, .. }) => InterfaceMode::Generic,
        None => InterfaceMode::None,
    };
    let reason = match mode {
        InterfaceMode::Generic => reason.or_else(|| Some("attached so by an earlier agent".to_owned())),
        _ => reason,
    };
    let programs = [program::XDP, program::TC_INGRESS, program::TC_EGRESS].map(|name| program_status(object, name));
    let programs = programs.into_iter().collect::<Result<_, _>>()?;
    Ok(InterfaceStatus { name: link.name.clone(), index: link.index, mode, reason, tc: Some(tc), programs })
}

fn program_status(object: &Ebpf, name: &'static str) -> Result<ProgramStatus, DataplaneError> {
    let program = object.program(name).ok_or(DataplaneError::MissingProgram { program: name })?;
    let info = program.info().map_err(|source| DataplaneError::Program { program: name, source: Box::new(source) })?;
    Ok(describe(name, &info))
}

/// What `status` shows of a program.
pub(crate) fn describe(name: &'static str, info: &ProgramInfo) -> ProgramStatus {
    ProgramStatus { name, id: info.id(), instructions: info.verified_instruction_count() }
}

/// A link or program is there already (`EBUSY`), or one in the other mode (`EEXIST`): net/core/dev.c, `dev_xdp_attach`.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

/// Somebody attached since we looked.
fn foreign_now(link: &Link) -> Result<DataplaneError, DataplaneError> {
    let links = Netlink::connect()?.links()?;
    let program = links.iter().find(|found| found.index == link.index).and_then(|found| found.xdp);
    Ok(foreign(link, program.map_or(0, |xdp| xdp.program)))
}

fn foreign(link: &Link, program: u32) -> DataplaneError {
    let info = aya::programs::loaded_programs().filter_map(Result::ok).find(|info| info.id() == program);
    let name = info.as_ref().and_then(|info| info.name_as_str()).filter(|name| !name.is_empty()).unwrap_or("unnamed");
    DataplaneError::ForeignXdp { interface: link.name.clone(), holder: format!("{name} (id {program})") }
}

pub(crate) fn program_fd(fd: Result<&aya::programs::ProgramFd, ProgramError>) -> io::Result<BorrowedFd<'_>> {
    fd.map(AsFd::as_fd).map_err(program_io)
}

pub(crate) fn attach_failed(program: &'static str, target: &str) -> impl FnOnce(io::Error) -> DataplaneError {
    let target = target.to_owned();
    move |source| DataplaneError::Attach { program, target, source }
}
