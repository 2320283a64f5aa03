//! What a destination was found to be, remembered for a moment, so that a packet does not cost a lookup in a hash table each: what
//! a call of the kernel's functions costs, one cache line of this CPU's own does not.
//!
//! Each CPU remembers its own, as it does next hops ([`crate::hop`]): entries are never torn, and two destinations that meet in one
//! place only push each other out. An entry holds while [`Lookup::stamp`] stays what it was: about a second at most, whatever else
//! goes wrong, and it ends at once when the epoch in the settings moves on, which the agent does with each change of what is
//! remembered here.

use crate::abi::{FrontendEntry, RecentFrontend, frontend_flag};
use crate::addr::Address;
use crate::be::Be16;
use crate::hash::place;
use crate::ip::Ip;
use crate::limits::RECENT_FRONTENDS;
use crate::lookup::Lookup;
use crate::pipeline::find_frontend;

/// [`find_frontend`], as of `stamp`.
#[inline(always)]
pub(crate) fn frontend<F: Ip, L: Lookup<F>>(
    lookup: &L,
    address: F::Addr,
    port: Be16,
    ip_protocol: u8,
    stamp: u64,
) -> Option<FrontendEntry> {
    let protocol = u16::from(ip_protocol);
    let Some(mut recent) = lookup.recent_frontend(slot_of(address, port, protocol)) else {
        return find_frontend(lookup, address, port, ip_protocol);
    };
    if recent.stamp != stamp || recent.address != address || recent.port != port || recent.protocol != protocol {
        let none = FrontendEntry { service: 0, flags: frontend_flag::NONE };
        let frontend = find_frontend(lookup, address, port, ip_protocol).unwrap_or(none);
        *recent = RecentFrontend { stamp, address, port, protocol, fill: Default::default(), frontend };
    }
    let frontend = recent.frontend;
    (frontend.flags & frontend_flag::NONE == 0).then_some(frontend)
}

#[inline(always)]
fn slot_of<A: Address>(address: A, port: Be16, protocol: u16) -> u32 {
    place(address, (u32::from(port.raw()) << 16) | u32::from(protocol), RECENT_FRONTENDS.trailing_zeros())
}
