//! The tc programs: by pinned tcx links (6.6), else by clsact filters with a priority and handle of their own.

use std::io;
use std::os::fd::AsFd;

use aya::programs::links::FdLink;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};

use super::attach::{attach_failed, existing, program_fd};
use super::config::Pins;
use super::error::{DataplaneError, pin_io, program_io};
use super::sys;

/// Priority and handle of our filters: known, so that the next agent replaces them instead of adding its own.
const PRIORITY: u16 = 0x7765;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Attaches a program to one direction of an interface; tells how it hangs.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    pins: &Pins,
    name: &'static str,
    interface: &str,
    index: u32,
    direction: TcAttachType,
) -> Result<&'static str, DataplaneError> {
    let pin = pins.link(name, interface);
    let failed = || attach_failed(name, interface);
    if let Some(link) = existing(&pin, index).map_err(failed())? {
        let new = program_fd(program.fd()).map_err(failed())?;
        sys::update_link(link.as_fd(), new).map_err(failed())?;
        return Ok("tcx");
    }
    match attach_tcx(program, interface, direction) {
        Ok(link) => {
            link.pin(pin).map_err(pin_io).map_err(failed())?;
            Ok("tcx")
        }
        // What the kernel does not know it calls invalid.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            attach_clsact(program, interface, direction).map_err(failed())?;
            Ok("clsact")
        }
        Err(error) => Err(failed()(error)),
    }
}

/// Removes our filter from one direction of an interface; `false` if there is none.
pub(crate) fn detach_clsact(interface: &str, direction: TcAttachType, name: &str) -> bool {
    tc::qdisc_detach_program(interface, direction, name).is_ok()
}

/// First at ingress, to see packets as they came; last at egress, to see them as they go.
fn attach_tcx(program: &mut SchedClassifier, interface: &str, direction: TcAttachType) -> io::Result<FdLink> {
    let order = if direction == TcAttachType::Ingress { LinkOrder::first() } else { LinkOrder::last() };
    let options = TcAttachOptions::TcxOrder(order);
    let id = program.attach_with_options(interface, direction, options).map_err(program_io)?;
    let link = program.take_link(id).map_err(program_io)?;
    FdLink::try_from(link).map_err(io::Error::other)
}

/// Replaces our filter, or adds it. The filter is not bound to a descriptor: it stays when the agent ends.
pub(crate) fn attach_clsact(program: &mut SchedClassifier, interface: &str, direction: TcAttachType) -> io::Result<()> {
    // An error here (there is a clsact already) shows below, if it matters.
    let _ = tc::qdisc_add_clsact(interface);
    let old = SchedClassifierLink::attached(interface, direction, PRIORITY, HANDLE, None)?;
    let id = match program.attach_to_link(old) {
        Ok(id) => id,
        Err(_) => {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
            program.attach_with_options(interface, direction, TcAttachOptions::Netlink(options)).map_err(program_io)?
        }
    };
    // Dropping the link would detach it.
    std::mem::forget(program.take_link(id).map_err(program_io)?);
    Ok(())
}
