//! Next hops, remembered for a moment, so that a packet does not cost a lookup in the routing table each.
//!
//! Each CPU remembers its own, in an array that is indexed by a hash of source and destination: entries are never torn, and
//! two ways that meet in one place only push each other out. An entry holds for a second at most ([`LIFE`]), whatever else
//! goes wrong, and ends at once when the epoch in the settings moves on, which the agent does when routes, neighbours or
//! interfaces change. Only whole next hops are remembered: what needs the kernel's help, or has no way, is asked for again
//! with each packet.

use crate::abi::{NextHop, setting};
use crate::hash::pair_hash;
use crate::ip::Ip;
use crate::limits::NEXT_HOPS;
use crate::lookup::{Lookup, Route};

/// How long an entry holds, in nanoseconds.
pub const LIFE: u64 = 1_000_000_000;

/// The way of a packet of `length` bytes between two addresses, `clock` being [`Lookup::clock`].
#[inline(always)]
pub fn route<F: Ip, L: Lookup<F>>(
    lookup: &L,
    (source, destination): (F::Addr, F::Addr),
    protocol: u8,
    length: usize,
    clock: u64,
) -> Route {
    if lookup.resolves() {
        return lookup.route(source, destination, protocol, length); // the kernel looks for itself anyway
    }
    let epoch = lookup.setting(setting::HOP_EPOCH) as u32; // before the lookup: a change during it counts
    let (ingress, protocol_word) = (lookup.ingress(), u32::from(protocol));
    let Some(mut place) = lookup.hop(pair_hash(source, destination) & (NEXT_HOPS - 1)) else {
        return lookup.route(source, destination, protocol, length);
    };
    if place.expires > clock
        && place.epoch == epoch
        && place.destination == destination
        && place.source == source
        && place.ingress == ingress
        && place.protocol == protocol_word
    {
        let NextHop { device, mtu, addresses, .. } = *place;
        return fitting(Route::Direct { device, addresses, mtu }, length);
    }
    let found = lookup.route(source, destination, protocol, length);
    if let Route::Direct { device, addresses, mtu } = found {
        let expires = clock + LIFE;
        *place =
            NextHop { expires, source, destination, epoch, ingress, protocol: protocol_word, device, mtu, addresses };
    }
    fitting(found, length)
}

/// The route, unless the packet is too long for it.
#[inline(always)]
fn fitting(route: Route, length: usize) -> Route {
    match route {
        Route::Direct { mtu, .. } if length > mtu as usize => Route::TooBig { mtu },
        route => route,
    }
}

#[cfg(test)]
mod tests;
