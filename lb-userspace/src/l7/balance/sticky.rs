//! Clients that keep their endpoint by a cookie.
//!
//! The cookie is two numbers in hexadecimal: what finds the endpoint, and what tells the upstream. In balanced mode the
//! first is random, and the endpoint is that of its hash; in persistent mode it is a keyed hash of the endpoint. So a
//! cookie tells nobody anything about pods.

use std::cell::Cell;
use std::net::SocketAddr;

use super::{Endpoints, hashing};
use crate::model::filters::Affinity;
use crate::siphash::SipHash;

/// So often a random number is drawn for one that leads to an endpoint which may be taken.
const DRAWS: u32 = 16;

/// Which endpoints may be taken.
type May<'a> = dyn Fn(usize) -> bool + 'a;
/// A choice among them.
type Chooser<'a> = dyn Fn(&May<'_>) -> Option<usize> + 'a;

/// A cookie, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Finds the endpoint.
    value: u64,
    /// Tells the upstream.
    upstream: u64,
}

impl Cookie {
    /// Reads the value of a cookie; what we did not write is nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let (value, upstream) = text.split_once('-').filter(|(value, tag)| (value.len(), tag.len()) == (16, 16))?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        Some(Cookie { value: number(value)?, upstream: number(upstream)? })
    }

    /// It is for this upstream.
    pub fn is_for(&self, affinity: &Affinity, upstream: &str) -> bool {
        self.upstream == tag(affinity, upstream)
    }
}

/// The text of a cookie.
pub fn text(affinity: &Affinity, upstream: &str, value: u64) -> String {
    format!("{value:016x}-{:016x}", tag(affinity, upstream))
}

fn tag(affinity: &Affinity, upstream: &str) -> u64 {
    SipHash::new(affinity.key).hash(upstream.as_bytes())
}

/// The choice of one request.
#[derive(Debug)]
pub struct Sticky<'a> {
    affinity: &'a Affinity,
    /// What the client was told before.
    known: Option<u64>,
    /// A random number.
    random: u64,
    tell: Cell<Option<u64>>,
}

impl<'a> Sticky<'a> {
    /// For a client with this cookie; `random` is where new numbers come from.
    pub fn new(affinity: &'a Affinity, cookie: Option<Cookie>, upstream: &str, random: u64) -> Self {
        let known = cookie.filter(|cookie| cookie.is_for(affinity, upstream)).map(|cookie| cookie.value);
        Sticky { affinity, known, random, tell: Cell::new(None) }
    }

    pub(super) fn tell(&self) -> Option<u64> {
        self.tell.get()
    }

    /// `failed`: an endpoint was tried already.
    pub(super) fn choose(
        &self,
        endpoints: &Endpoints<'_>,
        may: &May<'_>,
        failed: bool,
        otherwise: &Chooser<'_>,
    ) -> Option<usize> {
        let anew = failed && self.affinity.change_on_failure;
        if self.affinity.persistent {
            self.by_address(endpoints, may, anew, otherwise)
        } else {
            self.by_number(endpoints, may, anew)
        }
    }

    fn by_number(&self, endpoints: &Endpoints<'_>, may: &May<'_>, anew: bool) -> Option<usize> {
        if let Some(known) = self.known.filter(|_| !anew) {
            return hashing::plain(known, endpoints, may);
        }
        let draws = (0..DRAWS).map(|draw| SipHash::new([self.random, 0]).hash(&draw.to_le_bytes()));
        let leads_to = |number: u64| hashing::plain(number, endpoints, &|_| true).filter(|&index| may(index));
        let found = draws.clone().find_map(|number| Some((number, leads_to(number)?)));
        // Where hardly any may be taken, the number leads there once others are gone.
        let (number, index) = found
            .or_else(|| draws.take(1).find_map(|number| Some((number, hashing::plain(number, endpoints, may)?))))?;
        self.tell.set(Some(number));
        Some(index)
    }

    fn by_address(
        &self,
        endpoints: &Endpoints<'_>,
        may: &May<'_>,
        anew: bool,
        otherwise: &Chooser<'_>,
    ) -> Option<usize> {
        let hash = |endpoint: &SocketAddr| SipHash::new(self.affinity.key).hash(endpoint.to_string().as_bytes());
        let own = self.known.and_then(|known| endpoints.addresses.iter().position(|one| hash(one) == known));
        if let Some(own) = own.filter(|&own| may(own)) {
            self.tell.set(None);
            return Some(own);
        }
        let index = otherwise(may)?;
        // One that fails now comes back; only one that is gone is replaced.
        if own.is_none() || anew {
            self.tell.set(Some(hash(&endpoints.addresses[index])));
        }
        Some(index)
    }
}
