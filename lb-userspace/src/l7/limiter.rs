//! Counts what clients ask for. Shared by all workers: a client's connections are spread over them, and a limit that each
//! counted for itself would be many times what was asked for. Only routes with limits come here.
//!
//! Rates are kept as in the generic cell rate algorithm (ITU-T I.371): one time per key, at which the client's requests so
//! far would be paid for. Memory is bounded; when a shard is full, keys that are paid for make room, and where there are
//! none, new clients are not limited: a flood of addresses must not lock the others out.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Gates;

/// Parts with a lock each.
const SHARDS: usize = 64;
/// Keys in a shard: about 4 MiB in all shards together.
const MAX_KEYS: usize = 1024;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests per second.
    Second,
    /// Requests per minute.
    Minute,
    /// Requests in flight.
    InFlight,
    /// Requests of a window, by a key of one's own.
    Window,
    /// Connections, which no Ingress has for itself.
    Connections,
}

/// Who a client is to a limit: an address of IPv4, or a network of 64 bits, in which whoever has one address has all
/// (RFC 4291 section 2.5.4).
pub fn who(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// The counts of all clients.
#[derive(Debug)]
pub struct Limiter {
    /// Places at endpoints.
    pub gates: Gates,
    hashes: RandomState,
    shards: [Mutex<HashMap<u64, Cell>>; SHARDS],
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    /// When all requests so far are paid for.
    PaidAt(Instant),
    InFlight(u32),
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter {
            gates: Gates::default(),
            hashes: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

/// A request in flight; ends when it is dropped.
#[derive(Debug)]
pub struct Flight {
    limiter: Arc<Limiter>,
    /// Where it was counted; `None` if there was no room for that.
    key: Option<u64>,
}

impl Limiter {
    /// The key of a limit of an Ingress for whoever `who` tells apart.
    pub fn key(&self, limit: Limit, ingress: &str, who: impl Hash) -> u64 {
        self.hashes.hash_one((limit, ingress, who))
    }

    /// One request more, if it fits in `burst` requests at once, each of which is paid for after `cost`.
    pub fn admit(&self, key: u64, cost: Duration, burst: u32, now: Instant) -> bool {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let paid_at = match shard.get(&key) {
            Some(Cell::PaidAt(at)) => (*at).max(now),
            _ => now,
        };
        let next = paid_at + cost;
        if next.duration_since(now) > cost * burst {
            return false;
        }
        if has_room(&mut shard, key, now) {
            shard.insert(key, Cell::PaidAt(next));
        }
        true
    }

    /// One request more in flight, if there are fewer than `most`.
    pub fn take_off(self: &Arc<Self>, key: u64, most: u32, now: Instant) -> Option<Flight> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = None;
        if has_room(&mut shard, key, now) {
            match shard.entry(key).or_insert(Cell::InFlight(0)) {
                Cell::InFlight(count) if *count >= most => return None,
                Cell::InFlight(count) => {
                    *count += 1;
                    counted = Some(key);
                }
                Cell::PaidAt(_) => {}
            }
        }
        Some(Flight { limiter: Arc::clone(self), key: counted })
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<u64, Cell>> {
        &self.shards[key as usize % SHARDS]
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut shard = self.limiter.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        match shard.get_mut(&key) {
            Some(Cell::InFlight(count)) if *count > 1 => *count -= 1,
            Some(Cell::InFlight(_)) => drop(shard.remove(&key)),
            _ => {}
        }
    }
}

fn has_room(shard: &mut HashMap<u64, Cell>, key: u64, now: Instant) -> bool {
    if shard.len() >= MAX_KEYS && !shard.contains_key(&key) {
        shard.retain(|_, cell| !matches!(cell, Cell::PaidAt(at) if *at <= now));
    }
    shard.len() < MAX_KEYS || shard.contains_key(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let who = |address: &str| who(address.parse().expect("an address"));
        assert_eq!(who("2001:db8::1"), who("2001:db8::ffff:0:0:2"));
        assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
        assert_ne!(who("192.0.2.1"), who("192.0.2.2"));
    }

    const COST: Duration = Duration::from_millis(100);

    #[test]
    fn a_burst_and_then_the_rate() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let admitted = |at: Instant| (0..10).filter(|_| limiter.admit(1, COST, 5, at)).count();
        assert_eq!(admitted(now), 5);
        assert_eq!(admitted(now + COST), 1);
        assert_eq!(admitted(now + COST * 4), 3);
        assert_eq!(admitted(now + COST * 1000), 5);
        assert!(limiter.admit(2, COST, 1, now), "another key");
    }

    #[test]
    fn flights_end() {
        let (limiter, now) = (Arc::new(Limiter::default()), Instant::now());
        let one = limiter.take_off(1, 2, now).expect("the first");
        let two = limiter.take_off(1, 2, now).expect("the second");
        assert!(limiter.take_off(1, 2, now).is_none());
        drop(one);
        let three = limiter.take_off(1, 2, now);
        assert!(three.is_some() && limiter.take_off(1, 2, now).is_none());
        drop((two, three));
        assert!(limiter.shard(1).lock().expect("no panic").is_empty());
    }

    #[test]
    fn a_flight_that_was_not_counted_takes_no_other_away() {
        let (limiter, now) = (Arc::new(Limiter::default()), Instant::now());
        let of_shard = |number: usize| (number * SHARDS) as u64;
        let mut full: Vec<_> = (1..=MAX_KEYS).map(|number| limiter.take_off(of_shard(number), 1, now)).collect();
        let uncounted = limiter.take_off(0, 2, now).expect("nobody is locked out");
        drop(full.pop());
        let counted = [limiter.take_off(0, 2, now), limiter.take_off(0, 2, now)];
        assert!(counted.iter().all(Option::is_some) && limiter.take_off(0, 2, now).is_none());
        drop(uncounted);
        assert!(limiter.take_off(0, 2, now).is_none(), "two are in flight still");
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_locked_out() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for client in 0..200_000u64 {
            assert!(limiter.admit(client, COST, 1, now), "client {client}");
        }
        let keys = || limiter.shards.iter().map(|shard| shard.lock().expect("no panic").len()).max();
        assert_eq!(keys(), Some(MAX_KEYS));
        assert!(!limiter.admit(5, COST, 1, now), "who is known is still limited");
        // What is paid for makes room.
        assert!(limiter.admit(1_000_000, COST, 1, now + COST));
        assert!(!limiter.admit(1_000_000, COST, 1, now + COST));
    }
}
