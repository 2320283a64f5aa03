//! Which endpoints a request tries, in which order.
//!
//! Every choice is a function of what can be seen of the endpoints and of those that may be taken: first the ones that
//! neither failed this request nor are left out, then the others that it has not tried.

mod hashing;
mod sticky;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::Unhealthy;
use super::pool::{Peer, Pool};
use crate::model::filters::{Algorithm, Balance};
use crate::siphash::UNKEYED;
pub use sticky::{Cookie, Sticky, text as cookie_text};

/// The golden ratio as a fraction of 2^64: its multiples are spread evenly over the circle (Knuth, TAOCP 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// An endpoint that is new gets at least this part of its share.
const LEAST_SHARE: f64 = 0.1;
/// The fewest requests in flight are sought among so many endpoints.
const LOOKED_AT: usize = 64;

/// The endpoints of an upstream, as a worker sees them.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints<'a> {
    /// Their addresses.
    pub addresses: &'a [SocketAddr],
    /// Their weights; `None`: all the same.
    pub weights: Option<&'a [u16]>,
    /// What is known of them.
    pub pool: &'a Pool,
    /// Those that are left out, by what this route asks of them.
    pub unhealthy: Option<(u64, &'a Unhealthy)>,
}

/// What a request is tied to an endpoint by.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    /// The hash of what the route says.
    pub hash: Option<u64>,
    /// The cookie that came, if the route has one.
    pub cookie: Option<Cookie>,
    /// The client speaks TLS.
    pub secure: bool,
}

/// Chooses the endpoints of one request, one after the other.
#[derive(Debug)]
pub struct Picker<'a> {
    endpoints: Endpoints<'a>,
    balance: Option<&'a Balance>,
    hash: Option<u64>,
    sticky: Option<Sticky<'a>>,
    turn: usize,
    now: Instant,
    last: Option<usize>,
    /// Those before the last one.
    tried: Vec<usize>,
}

impl<'a> Picker<'a> {
    /// For a request whose turn this is.
    pub fn new(
        endpoints: Endpoints<'a>,
        balance: Option<&'a Balance>,
        hash: Option<u64>,
        sticky: Option<Sticky<'a>>,
        turn: usize,
    ) -> Self {
        Picker { endpoints, balance, hash, sticky, turn, now: Instant::now(), last: None, tried: Vec::new() }
    }

    /// There is an endpoint that has not been tried.
    pub fn has_more(&self) -> bool {
        self.tried.len() + usize::from(self.last.is_some()) < self.endpoints.addresses.len()
    }

    /// What the client is to be told for its cookie, if anything.
    pub fn tell(&self) -> Option<u64> {
        self.sticky.as_ref().and_then(Sticky::tell)
    }

    fn choose(&self, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let failed = self.last.is_some();
        match (&self.sticky, self.hash) {
            (Some(sticky), _) => sticky.choose(&self.endpoints, may, failed, &|may| self.by_algorithm(may)),
            (None, Some(hash)) => self.by_hash(hash, may),
            (None, None) => self.by_algorithm(may),
        }
    }

    fn by_hash(&self, hash: u64, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let subset = self.balance.and_then(|balance| balance.hash.as_ref()?.subset);
        match subset {
            Some(size) => hashing::in_group(hash, self.endpoints.addresses.len(), size as usize, self.turn, may),
            None => hashing::bounded(hash, &self.endpoints, may),
        }
    }

    fn by_algorithm(&self, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        match self.balance.map(|balance| balance.algorithm).unwrap_or_default() {
            Algorithm::RoundRobin => self.in_turn(may),
            Algorithm::Ewma => self.better_of_two(may),
            Algorithm::LeastConnections => self.fewest(may),
        }
    }

    /// Rotation; with weights, the endpoint into whose part of the circle the turn falls.
    fn in_turn(&self, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let count = self.endpoints.addresses.len();
        let start = match (self.endpoints.weights, self.slow_start()) {
            (None, None) => self.turn % count.max(1),
            _ => self.by_weight(),
        };
        (start..count).chain(0..start).find(|&index| may(index))
    }

    fn by_weight(&self) -> usize {
        let all = 0..self.endpoints.addresses.len();
        let total: f64 = all.clone().map(|index| self.share(index)).sum();
        let place = (self.turn as u64).wrapping_mul(GOLDEN) as f64 / 2f64.powi(64) * total;
        let mut end = 0.0;
        let found = all.into_iter().find(|&index| {
            end += self.share(index);
            place < end
        });
        found.unwrap_or(0)
    }

    fn better_of_two(&self, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let count = self.endpoints.addresses.len();
        let random = (self.turn as u64).wrapping_mul(GOLDEN);
        let random = UNKEYED.hash(&random.to_le_bytes()) as usize;
        let candidate = |start: usize| (0..count).map(|step| (start.wrapping_add(step)) % count).find(|&i| may(i));
        let one = candidate(random)?;
        let step = 1 + (random >> 32) % count.saturating_sub(1).max(1);
        let other = candidate(one + step)?;
        let cost = |index: usize| {
            let peer = self.peer(index);
            peer.latency.cost(peer.in_flight(), self.now) / self.share(index)
        };
        Some(if cost(other) < cost(one) { other } else { one })
    }

    fn fewest(&self, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let count = self.endpoints.addresses.len();
        let load = |index: usize| f64::from(self.peer(index).in_flight() + 1) / self.share(index);
        // Equals take turns.
        let turned = (0..count).map(|step| self.turn.wrapping_add(step) % count);
        let candidates = turned.filter(|&index| may(index)).take(LOOKED_AT);
        candidates.map(|index| (load(index), index)).min_by(|one, other| one.0.total_cmp(&other.0)).map(|best| best.1)
    }

    /// The endpoint's weight, less while it is new.
    fn share(&self, index: usize) -> f64 {
        let weight = self.endpoints.weights.and_then(|weights| weights.get(index)).copied().unwrap_or(1);
        let warm = self.slow_start().map_or(1.0, |time| {
            let age = self.now.saturating_duration_since(self.peer(index).since);
            (age.as_secs_f64() / time.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
        });
        f64::from(weight) * warm
    }

    fn slow_start(&self) -> Option<Duration> {
        let time = self.balance.map_or(0, |balance| balance.slow_start);
        (time > 0).then(|| Duration::from_millis(time))
    }

    fn peer(&self, index: usize) -> Rc<Peer> {
        self.endpoints.peer(index)
    }
}

impl Iterator for Picker<'_> {
    type Item = Rc<Peer>;

    fn next(&mut self) -> Option<Rc<Peer>> {
        if !self.has_more() {
            return None;
        }
        // The first endpoint of a request, which is all that most try, needs no memory.
        self.tried.extend(self.last);
        let untried = |index: usize| !self.tried.contains(&index);
        let fails = |index: usize| self.endpoints.is_unhealthy(index) || self.peer(index).health.is_ejected(self.now);
        let healthy = |index: usize| untried(index) && !fails(index);
        let index = self.choose(&healthy).or_else(|| self.choose(&untried))?;
        self.last = Some(index);
        Some(self.peer(index))
    }
}

impl Endpoints<'_> {
    fn peer(&self, index: usize) -> Rc<Peer> {
        self.pool.peer(self.addresses[index])
    }

    fn is_unhealthy(&self, index: usize) -> bool {
        self.unhealthy.is_some_and(|(kind, unhealthy)| unhealthy.has(kind, self.addresses[index]))
    }

    fn len(&self) -> usize {
        self.addresses.len()
    }
}

#[cfg(test)]
mod tests;
