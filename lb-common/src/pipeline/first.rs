//! The first packet of a flow, after its backend was chosen beside the pipeline.
//!
//! In the kernel each step is a program of its own: the verifier walks it once, and has no room on the stack for two of them.

use crate::abi::{flow_flag, frontend_flag};
use crate::be::Be16;
use crate::drop_reason::DropReason;
use crate::dsr::noted;
use crate::ethernet::Ethernet;
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::parse::{Kind, parse};
use crate::rewrite::Translation;
use crate::verdict::Verdict;

use super::balance::begin_chosen;
use super::counted;
use super::send::{Onward, send};

/// Begins a flow with the backend that [`crate::policy::choose`] or [`crate::dsr::forward`] has noted, on this node or reached
/// by source NAT, so that [`first`] can send its packet; or says what else becomes of it.
#[inline(always)]
pub fn begin<F: Ip, P: Packet, L: Lookup<F>>(packet: &P, lookup: &L) -> Result<(), Verdict> {
    let Some(note) = lookup.note() else { return Err(Verdict::Drop(DropReason::KernelRefused)) };
    // a flow begins without a look at the packet, which would take some of the little stack
    let (parsed, chosen, source) = (noted(&*note, 0), (note.service, note.chosen), note.snat);
    let frontend = note.flags;
    drop(note);
    let flow = if frontend & frontend_flag::DSR != 0 { flow_flag::DSR } else { 0 };
    begin_chosen(lookup, &parsed, chosen, (frontend, flow), source)
        .map_err(|verdict| counted::<F, P, L>(packet, lookup, verdict))
}

/// Sends the packet that a flow has begun with.
#[inline(always)]
pub fn first<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    let Ok(frame) = frame else { return Verdict::Pass };
    let verdict = sent(packet, frame.network, lookup);
    counted::<F, P, L>(packet, lookup, verdict)
}

#[inline(always)]
fn sent<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, network: usize, lookup: &L) -> Verdict {
    let lost = Verdict::Drop(DropReason::KernelRefused);
    let Ok(Kind::Flow(mut parsed)) = parse::<F, P>(packet, network) else { return lost };
    let Some(note) = lookup.note() else { return lost };
    let Some(backend) = lookup.backend(note.chosen) else { return lost };
    parsed.key = note.key; // with the ports, which a later fragment has not
    let to = Translation {
        source: note.snat,
        source_port: Be16::new(note.snat_port as u16),
        destination: backend.address,
        destination_port: backend.port,
    };
    let onward = Onward { to, service: note.service, backend: note.chosen, local: note.local != 0 };
    drop(note);
    send(packet, &parsed, lookup, &onward, lookup.clock())
}
