//! Out of the node: the next hop, the hardware addresses, the rewritten packet.

use crate::abi::Task;
use crate::drop_reason::DropReason;
use crate::ip::{Ip, IpInfo};
use crate::lookup::{Lookup, Route};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::rewrite::{Translation, translate};
use crate::verdict::Verdict;

/// Rewrites a packet and sends it to its next hop, counting it for the service and backend named.
#[inline(always)]
pub(super) fn send<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    to: &Translation<F::Addr>,
    count: Option<(u32, u32)>,
    route: Option<Route>,
) -> Verdict {
    let way = (to.source, to.destination);
    let device = match next_hop(packet, &parsed.ip, parsed.is_tagged(), lookup, way, route) {
        Ok(device) => device,
        Err(verdict) => return verdict,
    };
    if let Some((service, backend)) = count {
        lookup.count_packet(service, backend, parsed.ip.total_length);
    }
    match translate::<F, P>(packet, parsed, to, true) {
        Some(()) => Verdict::Transmit(device),
        None => Verdict::Drop(DropReason::KernelRefused),
    }
}

/// Addresses the frame to the next hop on the way between two addresses, and gives the device; or what else becomes of the
/// packet, which then is untouched.
#[inline(always)]
pub(crate) fn next_hop<F: Ip, A, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    ip: &IpInfo<A>,
    tagged: bool,
    lookup: &L,
    (source, destination): (F::Addr, F::Addr),
    route: Option<Route>,
) -> Result<u32, Verdict> {
    if ip.ttl <= 1 {
        return Err(Verdict::Drop(DropReason::TtlExceeded));
    }
    let route = match route {
        Some(route) => route,
        None => lookup.route(source, destination, ip.protocol, ip.total_length),
    };
    match route {
        Route::None(reason) => Err(Verdict::Drop(reason)),
        // a tag is that of the network which the packet came from, and only tc can take it off
        Route::Direct { .. } if tagged && !lookup.resolves() => Err(Verdict::HandOver(Task::Forward)),
        Route::Kernel { .. } if !lookup.resolves() => Err(Verdict::HandOver(Task::Forward)),
        Route::Kernel { device } => Ok(device),
        Route::Direct { device, addresses } => match addresses.write(packet) {
            Some(()) => Ok(device),
            None => Err(Verdict::Drop(DropReason::KernelRefused)),
        },
    }
}
