//! Who may log in. Checking a password is meant to be slow, so it happens on a thread of its own, one at a time for each
//! worker, and those that were right are remembered: a client on one connection does not cost a check with each request.
//!
//! What is remembered is a keyed hash (SipHash with keys of this process, 128 bits) of the user, the password and the
//! stored hash: a new password in the Secret is in force at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::password;
use crate::model::{PasswordHash, Users};

/// Logins that are remembered.
const MAX_KNOWN: usize = 1024;
/// For how long.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Requests that wait for their check.
const MAX_WAITING: usize = 128;

/// Checks the logins of a worker's clients.
#[derive(Debug)]
pub struct Verifier {
    keys: [RandomState; 2],
    known: RefCell<HashMap<Login, Instant>>,
    turns: Semaphore,
    waiting: Cell<usize>,
}

type Login = [u64; 2];

/// Too many are waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Default for Verifier {
    fn default() -> Self {
        Verifier {
            keys: [RandomState::new(), RandomState::new()],
            known: RefCell::default(),
            turns: Semaphore::new(1),
            waiting: Cell::new(0),
        }
    }
}

impl Verifier {
    /// The user exists and the password is right. Takes as long for users who do not exist.
    pub async fn verify(&self, users: &Users, user: &str, password: &[u8]) -> Result<bool, Busy> {
        let found = users.0.get(user);
        let Some(hash) = found.or_else(|| users.0.values().next()) else { return Ok(false) };
        if password::is_quick(hash) {
            return Ok(password::is_right(password, hash) && found.is_some());
        }
        let login = self.login(user, password, hash);
        if found.is_some() && self.knows(login) {
            return Ok(true);
        }
        let right = self.check(login, password, hash).await? && found.is_some();
        if right {
            self.remember(login);
        }
        Ok(right)
    }

    async fn check(&self, login: Login, password: &[u8], hash: &PasswordHash) -> Result<bool, Busy> {
        let _place = self.wait().ok_or(Busy)?;
        // Never closed.
        let Ok(_turn) = self.turns.acquire().await else { return Err(Busy) };
        // Perhaps by the one before.
        if self.knows(login) {
            return Ok(true);
        }
        let (password, hash) = (password.to_vec(), hash.clone());
        let checked = tokio::task::spawn_blocking(move || password::is_right(&password, &hash)).await;
        Ok(checked.unwrap_or(false))
    }

    fn login(&self, user: &str, password: &[u8], hash: &PasswordHash) -> Login {
        self.keys.each_ref().map(|key| key.hash_one((user, password, hash)))
    }

    fn knows(&self, login: Login) -> bool {
        let known = self.known.borrow();
        known.get(&login).is_some_and(|until| *until > Instant::now())
    }

    fn remember(&self, login: Login) {
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_KNOWN {
            known.retain(|_, until| *until > now);
        }
        if known.len() < MAX_KNOWN {
            known.insert(login, now + KNOWN_FOR);
        }
    }

    fn wait(&self) -> Option<Place<'_>> {
        let waiting = self.waiting.get();
        (waiting < MAX_WAITING).then(|| {
            self.waiting.set(waiting + 1);
            Place(&self.waiting)
        })
    }
}

/// A place in the queue; given back also by a client that goes away.
struct Place<'a>(&'a Cell<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(hash: &str) -> Users {
        Users([("ann".to_owned(), PasswordHash::parse(hash).expect(hash))].into())
    }

    const APR1: &str = "$apr1$xxxxxxxx$ckCtyLj3v7WoKYQQ7.R6U1";
    const OTHER: &str = "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/";

    #[tokio::test]
    async fn only_right_logins_are_remembered() {
        let verifier = Verifier::default();
        let known = || verifier.known.borrow().len();
        assert_eq!(verifier.verify(&users(APR1), "ann", b"wrong").await, Ok(false));
        assert_eq!(verifier.verify(&users(APR1), "bob", b"pass").await, Ok(false));
        assert_eq!(known(), 0);
        assert_eq!(verifier.verify(&users(APR1), "ann", b"pass").await, Ok(true));
        assert_eq!(verifier.verify(&users(APR1), "ann", b"pass").await, Ok(true));
        assert_eq!(known(), 1);
        // What was remembered is of no use to others, nor after a change of the password.
        assert_eq!(verifier.verify(&users(APR1), "bob", b"pass").await, Ok(false));
        assert_eq!(verifier.verify(&users(OTHER), "ann", b"pass").await, Ok(false));
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let (verifier, users) = (Verifier::default(), users(APR1));
        let turn = verifier.turns.acquire().await;
        let places: Vec<_> = std::iter::from_fn(|| verifier.wait()).collect();
        assert_eq!(places.len(), MAX_WAITING);
        assert_eq!(verifier.verify(&users, "ann", b"pass").await, Err(Busy));
        drop((places, turn));
        assert_eq!(verifier.verify(&users, "ann", b"pass").await, Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_ends() {
        let verifier = Verifier::default();
        (0..2 * MAX_KNOWN as u64).for_each(|number| verifier.remember([number, 0]));
        assert_eq!(verifier.known.borrow().len(), MAX_KNOWN);
        assert!(verifier.knows([0, 0]));
        tokio::time::advance(KNOWN_FOR).await;
        assert!(!verifier.knows([0, 0]));
        verifier.remember([1, 1]);
        assert_eq!(verifier.known.borrow().len(), 1);
    }
}
