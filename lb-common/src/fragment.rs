//! Fragments (RFC 791, section 3.2; RFC 8200, section 4.5): only the first has ports, later ones follow it through the same flow.

use crate::abi::{FragmentEntry, FragmentKey, Stat};
use crate::addr::Address;
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::parse::Parsed;

/// How long later fragments may follow, in ticks: receivers give up a datagram after 15 seconds (RFC 791, section 3.2) to
/// 120 (RFC 1122, section 3.3.2), Linux after 30, and identifications are used again.
const PATIENCE: u32 = 30;

/// What became of a later fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Its ports are known. Whole packets and first fragments know theirs anyway.
    Known,
    /// It is for a VIP, and there is no first one.
    Early,
    /// There is no first one of ours; it may be the host's.
    Unknown,
}

/// Gives a later fragment the ports of its first.
#[inline(always)]
pub fn join<F: Ip, L: Lookup<F>>(lookup: &L, parsed: &mut Parsed<F::Addr>) -> Joined {
    if !parsed.ip.later {
        return Joined::Known;
    }
    match lookup.fragment(&key(parsed)) {
        Some(first) if lookup.now().wrapping_sub(first.seen) <= PATIENCE => {
            parsed.key.source_port = first.source_port;
            parsed.key.destination_port = first.destination_port;
            lookup.count(Stat::FragmentsFollowed);
            Joined::Known
        }
        _ if lookup.is_vip(parsed.key.destination) => Joined::Early,
        _ => Joined::Unknown,
    }
}

/// Records a first fragment that is ours, before it is sent: the others may come by another CPU.
#[inline(always)]
pub fn remember<F: Ip, L: Lookup<F>>(lookup: &L, parsed: &Parsed<F::Addr>) {
    if parsed.ip.fragment && !parsed.ip.later {
        let (source_port, destination_port) = (parsed.key.source_port, parsed.key.destination_port);
        lookup.put_fragment(&key(parsed), &FragmentEntry { source_port, destination_port, seen: lookup.now() });
    }
}

#[inline(always)]
fn key<A: Address>(parsed: &Parsed<A>) -> FragmentKey<A> {
    FragmentKey {
        source: parsed.key.source,
        destination: parsed.key.destination,
        id: parsed.ip.id,
        fill: A::Fill::default(),
    }
}
