//! How long a connection is used, and how often: as the front's settings say.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::settings::UpstreamSettings;

/// Most idle connections to one endpoint.
const MAX_IDLE: usize = 64;
/// Backends close idle connections too; staying under their usual 60 s and more makes the race rare.
const IDLE: Duration = Duration::from_secs(50);
/// A connection that is older is not used again: so load spreads to what is behind an address, too.
const AGE: Duration = Duration::from_secs(3600);
/// Nor one that had so many requests.
const REQUESTS: u32 = 10_000;

/// The life of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    born: Instant,
    /// Before the one that it has now, if it has one.
    requests: u32,
}

impl Life {
    pub(super) fn new() -> Self {
        Life { born: Instant::now(), requests: 0 }
    }

    /// After one request more.
    pub(super) fn older(self) -> Self {
        Life { requests: self.requests.saturating_add(1), ..self }
    }

    /// It may have another request, if it has been idle since then.
    pub(super) fn goes_on(self, since: Instant, now: Instant, settings: &UpstreamSettings) -> bool {
        let time = |asked: Option<u64>, usual| asked.map_or(usual, Duration::from_millis);
        now.duration_since(since) < time(settings.idle_time, IDLE)
            && now.duration_since(self.born) < time(settings.age, AGE)
            && self.requests < settings.requests.unwrap_or(REQUESTS)
    }
}

/// Most idle connections to one endpoint.
pub(super) fn most_idle(settings: &UpstreamSettings) -> usize {
    settings.idle.map_or(MAX_IDLE, |most| most as usize)
}
