//! Endpoints by a hash: rendezvous hashing (Thaler and Ravishankar, 1998), in which an endpoint that comes or goes moves
//! only its own share.

use std::net::{IpAddr, SocketAddr};

use super::Endpoints;
use crate::siphash::UNKEYED;

/// An endpoint is passed over when it has more than this part of what all have in flight on average (Mirrokni, Thorup and
/// Zadimoghaddam, "Consistent hashing with bounded loads", 2018).
const BOUND: f64 = 1.25;
/// But never with fewer than so many: few requests say nothing about load.
const NEVER_BELOW: u32 = 16;

/// The endpoint of a hash among those that may be taken and are not overloaded.
pub(super) fn bounded(hash: u64, endpoints: &Endpoints<'_>, may: &dyn Fn(usize) -> bool) -> Option<usize> {
    let index = plain(hash, endpoints, may)?;
    if endpoints.peer(index).in_flight() < NEVER_BELOW {
        return Some(index);
    }
    let total: u32 = (0..endpoints.len()).map(|index| endpoints.peer(index).in_flight()).sum();
    let most = (BOUND * f64::from(total + 1) / endpoints.len() as f64).ceil().max(f64::from(NEVER_BELOW));
    let has_room = |index: usize| may(index) && f64::from(endpoints.peer(index).in_flight()) < most;
    plain(hash, endpoints, &has_room).or(Some(index))
}

/// The endpoint of a hash among those that may be taken.
pub(super) fn plain(hash: u64, endpoints: &Endpoints<'_>, may: &dyn Fn(usize) -> bool) -> Option<usize> {
    let weight = |index: usize| endpoints.weights.and_then(|weights| weights.get(index)).copied().unwrap_or(1);
    let scores = endpoints.addresses.iter().enumerate().map(|(index, &endpoint)| {
        // A logarithm of a number in (0, 1]: with weights the shares are exact (Schindelhauer and Schomaker, 2005).
        let random = (score(hash, endpoint) >> 11) as f64 / (1u64 << 53) as f64 + f64::MIN_POSITIVE;
        (random.ln() / f64::from(weight(index)), index)
    });
    let candidates = scores.filter(|&(_, index)| may(index));
    candidates.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, index)| index)
}

/// An endpoint in the group of a hash, by turns; another if none of them may be taken. Groups are cut from the list, and
/// the last is filled up from its beginning.
pub(super) fn in_group(
    hash: u64,
    count: usize,
    size: usize,
    turn: usize,
    may: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let groups = count.div_ceil(size.max(1));
    let group = (0..groups).max_by_key(|&group| UNKEYED.hash(&bytes(hash, group as u64)))?;
    let first = group * size;
    let of_group = (0..size).map(|step| (first + turn.wrapping_add(step) % size) % count);
    let others = (0..count).map(|step| turn.wrapping_add(step) % count);
    of_group.chain(others).find(|&index| may(index))
}

/// How much a hash wants an endpoint: the same on every node.
fn score(hash: u64, endpoint: SocketAddr) -> u64 {
    let mut text = [0; 26];
    text[..8].copy_from_slice(&hash.to_le_bytes());
    match endpoint.ip() {
        IpAddr::V4(ip) => text[8..12].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => text[8..24].copy_from_slice(&ip.octets()),
    }
    text[24..].copy_from_slice(&endpoint.port().to_be_bytes());
    UNKEYED.hash(&text)
}

fn bytes(one: u64, other: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&one.to_le_bytes());
    bytes[8..].copy_from_slice(&other.to_le_bytes());
    bytes
}
