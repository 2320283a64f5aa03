//! What the service manager is told (`Type=notify`). Without one, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The agent is ready.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What `systemctl status` shows.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The agent ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The main loop turns.
pub(super) fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager wants to hear from the watchdog at most; `None` if it does not.
pub(super) fn watchdog_interval() -> Option<Duration> {
    // Half of it, as sd_watchdog_enabled(3) recommends.
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
