//! The only place that reads time. Pure functions get it as an argument; `clippy.toml` bans the calls elsewhere.

#![expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]

use std::time::{Duration, Instant, SystemTime};

/// Monotonic time: for deadlines, back-off and durations.
pub fn now() -> Instant {
    Instant::now()
}

/// How long ago `earlier` was.
pub fn since(earlier: Instant) -> Duration {
    now().saturating_duration_since(earlier)
}

/// Time of day: for people, never for decisions.
pub fn wall() -> SystemTime {
    SystemTime::now()
}
