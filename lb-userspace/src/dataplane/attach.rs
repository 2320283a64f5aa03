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
use super::placement::{Place, Reason, Way};
use super::report::{InterfaceMode, InterfaceStatus, Note, ProgramStatus};
use super::{calls, sys, tc};

/// The network namespace of the calling thread; `/proc/self` would be that of the main thread.
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Attaches everything to `places` (but for socket-level balancing, whose links stay if `sockets`), in an order in which
/// no program relies on one that is not there yet: what replies
/// need first, what takes packets in last.
pub(crate) fn attach(
    object: &mut Ebpf,
    pins: &Pins,
    places: &mut [Place],
    tunnels: &[Link],
    sockets: bool,
    notes: &mut Vec<Note>,
) -> Result<Vec<InterfaceStatus>, DataplaneError> {
    attach_tunnels(object, pins, tunnels)?;
    calls::fill(object)?;
    let mut kinds = Vec::new();
    for link in used(places) {
        let egress = loader::classifier(object, program::TC_EGRESS)?;
        kinds.push(tc::attach(egress, pins, program::TC_EGRESS, &link.name, link.index, TcAttachType::Egress)?);
    }
    attach_sk_lookup(object, pins)?;
    for link in used(places) {
        let companion = loader::classifier(object, program::TC_INGRESS)?;
        tc::attach(companion, pins, program::TC_INGRESS, &link.name, link.index, TcAttachType::Ingress)?;
    }
    for place in places.iter_mut().filter(|place| place.way == Way::Xdp) {
        match attach_xdp(loader::xdp(object)?, pins, &place.facts.link, notes)? {
            Attached::Natively => {}
            Attached::Foreign(reason) => place.way = Way::Tc(reason),
            Attached::Refused(why) => {
                place.way = Way::Tc(Reason::refused(&place.facts.link, &why));
                place.facts.refused = Some(why);
            }
        }
    }
    remove_other_links(pins, places, tunnels, sockets, notes)?;
    let mut kinds = kinds.into_iter();
    places.iter().map(|place| status(object, place, &mut kinds)).collect()
}

/// Attaches to devices behind which backends are.
pub(crate) fn attach_tunnels(object: &mut Ebpf, pins: &Pins, tunnels: &[Link]) -> Result<(), DataplaneError> {
    for Link { name, index, .. } in tunnels {
        let program = loader::classifier(object, program::TUNNEL)?;
        tc::attach(program, pins, program::TUNNEL, name, *index, TcAttachType::Ingress)?;
    }
    Ok(())
}

/// The interfaces that get programs.
fn used(places: &[Place]) -> impl Iterator<Item = &Link> {
    places.iter().filter(|place| !matches!(place.way, Way::None(_))).map(|place| &place.facts.link)
}

/// Name and id of the XDP program on an interface, if it is somebody else's. Another weir is an error: two of them would
/// fight over the same packets.
pub(crate) fn foreign_xdp(pins: &Pins, link: &Link) -> Result<Option<String>, DataplaneError> {
    let Some(AttachedXdp { program, .. }) = link.xdp else { return Ok(None) };
    let ours =
        existing(&pins.link(program::XDP, &link.name), link.index).map_err(attach_failed(program::XDP, &link.name))?;
    if ours.and_then(|fd| sys::link_target(fd.as_fd()).ok()).is_some_and(|target| target.program == program) {
        return Ok(None);
    }
    let name = program_name(program);
    let holder = format!("{name} (id {program})");
    match name.as_str() {
        program::XDP => Err(DataplaneError::ForeignXdp { interface: link.name.clone(), holder }),
        _ => Ok(Some(holder)),
    }
}

fn program_name(id: u32) -> String {
    let info = aya::programs::loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
    let name = info.as_ref().and_then(|info| info.name_as_str()).filter(|name| !name.is_empty());
    name.unwrap_or("unnamed").to_owned()
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

/// How it went.
enum Attached {
    Natively,
    Foreign(Reason),
    /// By the driver, which says why.
    Refused(String),
}

/// Attaches XDP natively; gives the reason where that cannot be. Generic XDP is never used: it runs after the kernel has
/// made its packet, copies those that are not in one piece, and so is slower than tc.
fn attach_xdp(program: &mut Xdp, pins: &Pins, link: &Link, notes: &mut Vec<Note>) -> Result<Attached, DataplaneError> {
    let pin = pins.link(program::XDP, &link.name);
    let failed = || attach_failed(program::XDP, &link.name);
    if let Some(old) = existing(&pin, link.index).map_err(failed())? {
        let is_native = link.xdp.is_some_and(|xdp| xdp.native);
        match sys::update_link(old.as_fd(), program_fd(program.fd()).map_err(failed())?) {
            Ok(()) if is_native => return Ok(Attached::Natively),
            Ok(()) => replace_xdp_link(&pin, link, "it was generic", notes)?,
            Err(error) => replace_xdp_link(&pin, link, &error.to_string(), notes)?,
        }
    }
    match attach_native(program, &pin, link.index) {
        Ok(()) => Ok(Attached::Natively),
        Err(error) if is_taken(&error) => foreign_now(pins, link).map(Attached::Foreign),
        Err(error) => Ok(Attached::Refused(error.to_string())),
    }
}

/// A link keeps the kind of program that it was made for (with or without fragments): where that changed, it is
/// detached and made anew. The same where it is generic, for it keeps its mode as well.
fn replace_xdp_link(pin: &Path, link: &Link, why: &str, notes: &mut Vec<Note>) -> Result<(), DataplaneError> {
    detach(pin)?;
    let message = format!(
        "XDP on {} could not be replaced in place ({why}): it was detached and attached again, with a gap in which tc took \
         the packets",
        link.name
    );
    notes.push(Note::warning("xdp-detached", message));
    Ok(())
}

fn attach_native(program: &mut Xdp, pin: &Path, index: u32) -> io::Result<()> {
    let id = program.attach_to_if_index(index, XdpMode::Driver).map_err(program_io)?;
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

/// Detaches from interfaces that are no longer ours, from sockets if they are to be left alone, and XDP where tc is to take
/// the packets.
pub(crate) fn remove_other_links(
    pins: &Pins,
    places: &[Place],
    tunnels: &[Link],
    sockets: bool,
    notes: &mut Vec<Note>,
) -> Result<(), DataplaneError> {
    let names = |place: &Place| -> &[&'static str] {
        match place.way {
            Way::Xdp => &[program::XDP, program::TC_INGRESS, program::TC_EGRESS],
            Way::Tc(_) => &[program::TC_INGRESS, program::TC_EGRESS],
            Way::None(_) => &[],
        }
    };
    let pins_of =
        |place: &Place| names(place).iter().map(|name| pins.link(name, &place.facts.link.name)).collect::<Vec<_>>();
    let mut wanted: Vec<_> = places.iter().flat_map(pins_of).collect();
    wanted.extend(tunnels.iter().map(|tunnel| pins.link(program::TUNNEL, &tunnel.name)));
    wanted.push(pins.single_link(program::SK_LOOKUP));
    if sockets {
        wanted.extend(program::SOCKET.map(|name| pins.single_link(name)));
    }
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
    place: &Place,
    kinds: &mut impl Iterator<Item = &'static str>,
) -> Result<InterfaceStatus, DataplaneError> {
    let link = &place.facts.link;
    let (mode, reason, names): (_, _, &[&'static str]) = match &place.way {
        Way::Xdp => (InterfaceMode::Native, None, &[program::XDP, program::TC_INGRESS, program::TC_EGRESS]),
        Way::Tc(reason) => (InterfaceMode::Tc, Some(reason), &[program::TC_INGRESS, program::TC_EGRESS]),
        Way::None(reason) => (InterfaceMode::None, Some(reason), &[]),
    };
    let programs = names.iter().map(|name| program_status(object, name)).collect::<Result<_, _>>()?;
    let mut notes = place.notes.clone();
    notes.extend(reason.and_then(|reason| reason.note.clone()));
    Ok(InterfaceStatus {
        name: link.name.clone(),
        index: link.index,
        kind: link.kind.clone(),
        mode,
        reason: reason.map(|reason| reason.text.clone()),
        tc: if mode == InterfaceMode::None { None } else { kinds.next() },
        programs,
        notes,
    })
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
fn foreign_now(pins: &Pins, link: &Link) -> Result<Reason, DataplaneError> {
    let links = Netlink::connect()?.links()?;
    let now = links.iter().find(|found| found.index == link.index).unwrap_or(link);
    let holder = foreign_xdp(pins, now)?;
    Ok(Reason::foreign(link, holder.as_deref().unwrap_or("of somebody who has left again")))
}

pub(crate) fn program_fd(fd: Result<&aya::programs::ProgramFd, ProgramError>) -> io::Result<BorrowedFd<'_>> {
    fd.map(AsFd::as_fd).map_err(program_io)
}

pub(crate) fn attach_failed(program: &'static str, target: &str) -> impl FnOnce(io::Error) -> DataplaneError {
    let target = target.to_owned();
    move |source| DataplaneError::Attach { program, target, source }
}
