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

/// What this thread has used of a processor so far: for how much work something was, however busy the machine is and
/// whatever was waited for.
pub fn worked() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Time of day: for people, never for decisions.
pub fn wall() -> SystemTime {
    SystemTime::now()
}
