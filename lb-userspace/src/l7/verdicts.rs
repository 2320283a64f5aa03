//! What authentication services have answered, remembered where a route says under what key.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::rc::Rc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

/// Answers that are remembered by one worker.
const MAX_VERDICTS: usize = 4096;
/// Longest of their headers, in bytes together.
const MAX_SIZE: usize = 4096;

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Status.
    pub status: u16,
    /// Headers that the backend is to get.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies for the client.
    pub cookies: Vec<HeaderValue>,
    /// How the client can say who it is.
    pub challenges: Vec<HeaderValue>,
}

/// Remembered answers; keys are hashes that clients cannot foresee (SipHash, 128 bits).
#[derive(Debug)]
pub struct Verdicts {
    hashes: [RandomState; 2],
    known: RefCell<HashMap<Key, (Rc<Verdict>, Instant)>>,
}

/// Under what an answer is remembered.
pub type Key = [u64; 2];

impl Default for Verdicts {
    fn default() -> Self {
        Verdicts { hashes: [RandomState::new(), RandomState::new()], known: RefCell::default() }
    }
}

impl Verdicts {
    /// The key for what tells requests apart.
    pub fn key(&self, of: impl Hash) -> Key {
        self.hashes.each_ref().map(|hash| hash.hash_one(&of))
    }

    /// What was answered.
    pub fn get(&self, key: Key) -> Option<Rc<Verdict>> {
        let known = self.known.borrow();
        known.get(&key).filter(|(_, until)| *until > Instant::now()).map(|(verdict, _)| Rc::clone(verdict))
    }

    /// Remembers an answer, if there is room.
    pub fn remember(&self, key: Key, verdict: &Rc<Verdict>, time: Duration) {
        if verdict.size() > MAX_SIZE {
            return;
        }
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_VERDICTS && !known.contains_key(&key) {
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() < MAX_VERDICTS || known.contains_key(&key) {
            known.insert(key, (Rc::clone(verdict), now + time));
        }
    }
}

impl Verdict {
    fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        headers.chain(self.challenges.iter().map(HeaderValue::len)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(length: usize) -> Rc<Verdict> {
        let challenge = HeaderValue::try_from("x".repeat(length)).expect("a value");
        Rc::new(Verdict { status: 401, headers: Vec::new(), cookies: Vec::new(), challenges: vec![challenge] })
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_ends() {
        let (verdicts, minute) = (Verdicts::default(), Duration::from_secs(60));
        verdicts.remember([0, 1], &verdict(MAX_SIZE + 1), minute);
        assert_eq!(verdicts.get([0, 1]), None);
        (0..2 * MAX_VERDICTS as u64).for_each(|number| verdicts.remember([0, number], &verdict(1), minute));
        assert_eq!(verdicts.known.borrow().len(), MAX_VERDICTS);
        verdicts.remember([0, 1], &verdict(2), minute);
        assert_eq!(verdicts.get([0, 1]), Some(verdict(2)));
        tokio::time::advance(minute).await;
        assert_eq!(verdicts.get([0, 1]), None);
        verdicts.remember([1, 1], &verdict(1), minute);
        assert_eq!(verdicts.known.borrow().len(), 1);
        assert_ne!(verdicts.key("a"), verdicts.key("b"));
    }
}
