//! How many requests may be with an endpoint at once, where a route says so. The front's workers share this, since what an
//! endpoint can bear is not a matter of how many cores the front has; only requests of such routes come here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Gates that nobody uses any more are forgotten when there are so many.
const MANY: usize = 256;

/// The gates of all endpoints that have one.
#[derive(Debug, Default)]
pub struct Gates {
    /// By endpoint, and by how many may pass.
    gates: Mutex<HashMap<(SocketAddr, u32), Weak<Gate>>>,
}

#[derive(Debug)]
struct Gate {
    /// Hands over in the order of coming.
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// A request's place at an endpoint; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    _place: OwnedSemaphorePermit,
    _gate: Arc<Gate>,
}

impl Gates {
    /// A place at an endpoint where `most` may be, if one is free.
    pub fn try_enter(&self, endpoint: SocketAddr, most: u32) -> Option<Place> {
        self.gate(endpoint, most).try_enter()
    }

    /// The same; of those for whom there is none `pending` may wait, and no longer than `patience`.
    pub async fn enter(&self, endpoint: SocketAddr, most: u32, pending: u32, patience: Duration) -> Option<Place> {
        let gate = self.gate(endpoint, most);
        if let Some(place) = gate.try_enter() {
            return Some(place);
        }
        let _turn = Turn::new(&gate, pending)?;
        let place = timeout(patience, Arc::clone(&gate.places).acquire_owned()).await.ok()?.ok()?;
        Some(Place { _place: place, _gate: Arc::clone(&gate) })
    }

    fn gate(&self, endpoint: SocketAddr, most: u32) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(&(endpoint, most)).and_then(Weak::upgrade) {
            return gate;
        }
        if gates.len() >= MANY {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(Gate { places: Arc::new(Semaphore::new(most as usize)), waiting: AtomicU32::new(0) });
        gates.insert((endpoint, most), Arc::downgrade(&gate));
        gate
    }
}

impl Gate {
    fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _place: place, _gate: Arc::clone(self) })
    }
}

/// One that waits.
struct Turn<'a>(&'a Gate);

impl<'a> Turn<'a> {
    fn new(gate: &'a Gate, most: u32) -> Option<Self> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        gate.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Turn(gate))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_pass_and_so_many_wait() {
        let (gates, one, other) = (Gates::default(), ([192, 0, 2, 1], 80).into(), ([192, 0, 2, 2], 80).into());
        let patience = Duration::from_secs(5);
        let first = gates.try_enter(one, 2).expect("free");
        let _second = gates.try_enter(one, 2).expect("free");
        assert!(gates.try_enter(one, 2).is_none() && gates.try_enter(other, 2).is_some());
        assert!(gates.enter(one, 2, 0, patience).await.is_none(), "nobody may wait");
        let (waits, refused, _) =
            tokio::join!(gates.enter(one, 2, 1, patience), gates.enter(one, 2, 1, patience), async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(first);
            });
        assert!(waits.is_some() && refused.is_none());
        assert!(gates.enter(one, 2, 1, patience).await.is_none(), "it waits for so long only");
        drop(waits);
        assert!(gates.try_enter(one, 2).is_some());
    }
}
