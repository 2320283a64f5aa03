//! How many TCP connections that nobody has proven yet may go to pods of this node: the kernel's connection tracking sees them, and
//! a flood of forged first segments would fill its table, which the whole node shares.
//!
//! A connection counts until its client has gone on after an answer ([`crate::flow::prove`]); those of which that never comes
//! run out at a steady rate. Where no more are allowed the first segment is dropped and remembered: a client sends it again after a
//! second (RFC 6298, section 2), which no flood of forged ones does, and then there is an allowance of its own for it.
//!
//! The allowances are those of the generic cell rate algorithm (ITU-T I.371, annex A) in its form of virtual scheduling: a word holds
//! the theoretical arrival time of the next connection, in nanoseconds. One store, no timer.

use crate::abi::{budget, flow_flag, setting};
use crate::ip::Ip;
use crate::limits::SEEN_SYNS;
use crate::lookup::Lookup;

/// A client that sends its first segment again does so after this time at the earliest, and no later than that, in units of 2^20 ns.
const AGAIN: core::ops::Range<u32> = 500..10_000;

/// Nanoseconds that one connection takes, and how many of them may be taken in advance.
#[derive(Clone, Copy)]
struct Limit {
    interval: u64,
    tolerance: u64,
}

impl Limit {
    /// Of a node; `None` if there is no limit.
    #[inline(always)]
    const fn from_setting(word: u64) -> Option<Self> {
        let (interval, burst) = (word & 0xffff_ffff, word >> 32);
        if interval == 0 { None } else { Some(Self { interval, tolerance: interval * burst }) }
    }

    /// Of one service: half of the node's, so that the others go on.
    #[inline(always)]
    const fn of_service(self) -> Self {
        Self { interval: 2 * self.interval, tolerance: self.tolerance }
    }
}

/// The flags of a connection that may begin, by what it counts against from now on; `None` if it may not.
#[inline(always)]
pub(crate) fn admit<F: Ip, L: Lookup<F>>(lookup: &L, service: u32, hash: u32, clock: u64) -> Option<u32> {
    let Some(limit) = Limit::from_setting(lookup.setting(setting::SYN_LIMIT)) else { return Some(0) };
    if take(lookup, budget::SERVICES + service, limit.of_service(), clock) {
        if take(lookup, budget::NODE, limit, clock) {
            return Some(flow_flag::LIMITED);
        }
        put_back(lookup, budget::SERVICES + service, limit.of_service());
    }
    (comes_again(lookup, hash, clock) && take(lookup, budget::AGAIN, limit, clock)).then_some(flow_flag::AGAIN)
}

/// A connection is proven: it counts no more against what its flags say.
#[inline(always)]
pub(crate) fn give_back<F: Ip, L: Lookup<F>>(lookup: &L, service: u32, flags: u32) {
    let Some(limit) = Limit::from_setting(lookup.setting(setting::SYN_LIMIT)) else { return };
    if flags & flow_flag::AGAIN != 0 {
        return put_back(lookup, budget::AGAIN, limit);
    }
    put_back(lookup, budget::SERVICES + service, limit.of_service());
    put_back(lookup, budget::NODE, limit);
}

/// Takes one from an allowance. CPUs that do so at once may take one together.
#[inline(always)]
fn take<F: Ip, L: Lookup<F>>(lookup: &L, index: u32, limit: Limit, clock: u64) -> bool {
    let Some(mut arrival) = lookup.budget(index) else { return true };
    let next = if *arrival > clock { *arrival } else { clock };
    if next - clock > limit.tolerance {
        return false;
    }
    *arrival = next + limit.interval;
    true
}

/// Gives one back.
#[inline(always)]
fn put_back<F: Ip, L: Lookup<F>>(lookup: &L, index: u32, limit: Limit) {
    if let Some(mut arrival) = lookup.budget(index) {
        *arrival = arrival.saturating_sub(limit.interval);
    }
}

/// The same first segment came a while ago; else it is remembered, in the place of whatever stood there.
#[inline(always)]
fn comes_again<F: Ip, L: Lookup<F>>(lookup: &L, hash: u32, clock: u64) -> bool {
    let Some(mut seen) = lookup.seen_syn(hash % SEEN_SYNS) else { return false };
    let now = (clock >> 20) as u32;
    let (who, when) = ((*seen >> 32) as u32, *seen as u32);
    let age = now.wrapping_sub(when);
    if who == hash && age < AGAIN.end {
        return age >= AGAIN.start;
    }
    *seen = u64::from(hash) << 32 | u64::from(now);
    false
}
