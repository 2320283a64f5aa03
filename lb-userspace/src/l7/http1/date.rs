//! The header `Date` (RFC 9110 section 6.6.1), which is the same for a second.

use std::cell::RefCell;
use std::time::UNIX_EPOCH;

use crate::clock;

/// The time of day as text.
#[derive(Debug, Default)]
pub(super) struct Dates(RefCell<(u64, String)>);

impl Dates {
    /// Gives the text for now.
    pub(super) fn with<T>(&self, act: impl FnOnce(&[u8]) -> T) -> T {
        let now = clock::wall();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut last = self.0.borrow_mut();
        if last.0 != second || last.1.is_empty() {
            *last = (second, httpdate::fmt_http_date(now));
        }
        act(last.1.as_bytes())
    }
}
