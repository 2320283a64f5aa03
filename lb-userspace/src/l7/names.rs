//! Addresses of names outside of the cluster, for one worker: asked for when they are needed, kept as long as the answer
//! says, and asked for again while requests go on with what is known.
//!
//! A stub resolver of our own: questions for A and AAAA over UDP, over TCP if the answer is cut off (RFC 1035, RFC 7766).
//! Nothing else of DNS is needed here, and a general one would be the largest dependency of the front.

mod ask;
mod files;
mod message;
mod system;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use ask::Asker;
pub use files::Files;

/// Most names that are kept: some come out of requests.
const MOST: usize = 1024;
/// Bounds of the time for which an answer is kept, whatever it says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// A name that has no address, or for which nobody answers, is asked for again after so long.
const FAILED: Duration = Duration::from_secs(2);
/// Addresses are used beyond their time for so long if nobody gives newer ones.
const STALE: Duration = Duration::from_secs(3600);

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum NameError {
    /// There is no such name, or it has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No name server answered.
    #[error("no name server answered")]
    NoAnswer,
    /// The text is not a name.
    #[error("this is not a name")]
    Invalid,
}

/// The addresses of a name.
pub type Addresses = Arc<[IpAddr]>;

/// Names and their addresses.
#[derive(Debug)]
pub struct Names {
    asker: Asker,
    known: RefCell<HashMap<Box<str>, Rc<Entry>>>,
    /// Addresses of IPv6 are not asked for.
    ipv4_only: Cell<bool>,
}

#[derive(Debug)]
struct Entry {
    found: RefCell<Option<Found>>,
    used: Cell<Instant>,
    /// Held while somebody asks.
    asking: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Found {
    result: Result<Addresses, NameError>,
    until: Instant,
}

impl Names {
    /// Asks these servers; those of the system's configuration if there are none.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Names { asker: Asker::new(servers), known: RefCell::default(), ipv4_only: Cell::default() }
    }

    /// Asks for addresses of IPv4 only, or of both families, from now on.
    pub fn limit(&self, ipv4_only: bool) {
        if self.ipv4_only.replace(ipv4_only) != ipv4_only {
            self.known.borrow_mut().clear();
        }
    }

    /// The addresses of a name; an address stands for itself.
    pub async fn find(self: &Rc<Self>, name: &str) -> Result<Addresses, NameError> {
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Arc::from([address]));
        }
        let name = name.to_ascii_lowercase();
        let entry = self.entry(&name);
        let found = entry.found.borrow().clone();
        let now = Instant::now();
        match found {
            Some(found) if now < found.until => found.result,
            Some(Found { result: Ok(addresses), until }) if now < until + STALE => {
                if entry.asking.try_lock().is_ok() {
                    let names = Rc::clone(self);
                    tokio::task::spawn_local(async move { names.ask(&entry, &name).await.map(drop) });
                }
                Ok(addresses)
            }
            _ => self.ask(&entry, &name).await,
        }
    }

    /// Asks, once however many wait for it.
    async fn ask(&self, entry: &Entry, name: &str) -> Result<Addresses, NameError> {
        let _held = entry.asking.lock().await;
        let before = entry.found.borrow().clone();
        if let Some(found) = before.as_ref().filter(|found| Instant::now() < found.until) {
            return found.result.clone();
        }
        let asked = self.asker.addresses(name, self.ipv4_only.get()).await;
        let now = Instant::now();
        let found = match (asked, before) {
            (Ok((addresses, time)), _) => {
                Found { result: Ok(addresses.into()), until: now + time.clamp(SHORTEST, LONGEST) }
            }
            // Better what was true a moment ago than nothing.
            (Err(NameError::NoAnswer), Some(Found { result: Ok(addresses), until })) if now < until + STALE => {
                return Ok(addresses);
            }
            (Err(error), _) => Found { result: Err(error), until: now + FAILED },
        };
        entry.found.replace(Some(found.clone()));
        found.result
    }

    fn entry(&self, name: &str) -> Rc<Entry> {
        let mut known = self.known.borrow_mut();
        let now = Instant::now();
        if let Some(entry) = known.get(name) {
            entry.used.set(now);
            return Rc::clone(entry);
        }
        if known.len() >= MOST {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.used.get()).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        let entry = Rc::new(Entry { found: RefCell::default(), used: Cell::new(now), asking: Mutex::default() });
        known.insert(name.into(), Rc::clone(&entry));
        entry
    }
}

#[cfg(test)]
mod tests;
