//! What comes in by a device behind which backends are, and which is no external interface: the tunnel of an overlay
//! network.
//!
//! Clients do not come that way. Packets to such a backend go out from the device's own address, so its replies come back
//! by the device, and the other node's reverse path filter sees what it expects.

use super::{backward, counted, find_reply, send};
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::fragment::{self, Joined};
use crate::icmp::{self, Elsewhere};
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::snat;
use crate::verdict::Verdict;

/// A packet that came in by a tunnel; [`tunnel_of`] for one that begins with an Ethernet header.
#[inline(always)]
pub fn tunnel<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, lookup: &L) -> Verdict {
    let frame = Ethernet::parse(packet);
    tunnel_of(packet, frame, lookup)
}

/// A packet of the family `F` that came in by a tunnel: the reply of a backend, an error about a packet to one, or not ours.
/// What is malformed is left to the kernel: nobody sent it to us.
#[inline(always)]
pub fn tunnel_of<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    let frame = match frame {
        Ok(frame) if frame.ether_type == F::ETHER_TYPE => frame,
        _ => return Verdict::Pass,
    };
    let verdict = match parse::<F, P>(packet, frame.network) {
        Ok(Kind::Flow(mut parsed)) => match fragment::join(lookup, &mut parsed) {
            Joined::Known => reply_of_backend(packet, &parsed, lookup),
            Joined::Early | Joined::Unknown => Verdict::Pass,
        },
        Ok(Kind::Icmp(ip)) => {
            // Counted apart, for the reason that stands in `judge`; and what passes apart from what does not, for the one
            // that stands at `Verdict::Dsr`: kernels before 6.3 refuse what was copied so.
            return match icmp::error(packet, &frame, &ip, lookup, Elsewhere::Leave) {
                Verdict::Pass => Verdict::Pass,
                verdict => counted::<F, P, L>(packet, lookup, verdict),
            };
        }
        _ => Verdict::Pass,
    };
    counted::<F, P, L>(packet, lookup, verdict)
}

#[inline(always)]
fn reply_of_backend<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, parsed: &Parsed<F::Addr>, lookup: &L) -> Verdict {
    if !snat::may_be_reply(lookup, parsed.ip.protocol, parsed.key.destination_port) {
        return Verdict::Pass;
    }
    let Some((reply, clock)) = find_reply(lookup, parsed) else { return Verdict::Pass };
    match backward::<F, P, L>(packet, parsed, lookup, &reply) {
        Ok(to) => send(packet, parsed, lookup, &to, clock),
        Err(ended) => ended,
    }
}
