//! The endpoints that a request was sent to, as the log tells of them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// One endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// Its address.
    pub endpoint: SocketAddr,
    /// Until the connection stood; `None`: it did not.
    pub connected: Option<Duration>,
    /// Its status, and how long it took; `None`: it did not answer.
    pub answered: Option<(u16, Duration)>,
    /// Until the end of its answer, or until it was given up.
    pub ended: Duration,
    started: Instant,
}

/// All of them, in their order. Nearly always there is only one, which takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    earlier: Vec<Try>,
    last: Option<Try>,
}

impl Tries {
    #[cfg(test)]
    pub(super) fn of(endpoint: SocketAddr) -> Self {
        let mut tries = Tries::default();
        tries.begin(endpoint);
        tries
    }

    /// The next endpoint is tried.
    pub fn begin(&mut self, endpoint: SocketAddr) {
        self.end();
        self.earlier.extend(self.last.take());
        let started = Instant::now();
        self.last = Some(Try { endpoint, connected: None, answered: None, ended: Duration::ZERO, started });
    }

    /// There is a connection to it.
    pub fn connected(&mut self) {
        if let Some(last) = &mut self.last {
            last.connected = Some(last.started.elapsed());
        }
    }

    /// It answers.
    pub fn answered(&mut self, status: u16) {
        if let Some(last) = &mut self.last {
            last.answered = Some((status, last.started.elapsed()));
        }
    }

    /// Its answer is over.
    pub fn end(&mut self) {
        if let Some(last) = &mut self.last {
            last.ended = last.started.elapsed();
        }
    }

    /// The one that was tried last.
    pub fn last(&self) -> Option<&Try> {
        self.last.as_ref()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Try> {
        self.earlier.iter().chain(&self.last)
    }
}
