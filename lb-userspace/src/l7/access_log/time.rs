//! Times of day as logs write them, in UTC.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;

thread_local! {
    /// The second that was written last, and its text: many lines are of the same one.
    static LAST: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
}

/// Appends seconds since 1970 as [`Time`] has them.
pub(super) fn append(seconds: u64, out: &mut Vec<u8>) {
    LAST.with_borrow_mut(|(last, text)| {
        if *last != seconds {
            text.clear();
            // Writing to a Vec does not fail.
            let _ = write!(text, "{}", Time(seconds));
            *last = seconds;
        }
        out.extend_from_slice(text);
    });
}

/// Seconds since 1970 as `20/Nov/2026:18:26:19 +0000`.
pub(super) struct Time(pub(super) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day) = date(self.0 / 86_400);
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        write!(f, "{day:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000", MONTHS[month])
    }
}

/// Year, month from 0 and day from 1 of a day since 1970.
fn date(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month, days + 1)
}

/// Seconds since 1970 as `2026-11-20T18:26:19+00:00`.
pub(super) struct Iso8601(pub(super) u64);

impl fmt::Display for Iso8601 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / 86_400);
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        write!(f, "{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00", month + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000"),
            (4_107_542_399, "28/Feb/2100:23:59:59 +0000"),
            (4_107_542_400, "01/Mar/2100:00:00:00 +0000"),
        ] {
            assert_eq!(Time(seconds).to_string(), expected);
            let mut twice = Vec::new();
            append(seconds, &mut twice);
            append(seconds, &mut twice);
            assert_eq!(twice, expected.repeat(2).into_bytes());
        }
    }

    #[test]
    fn dates_by_iso_8601() {
        assert_eq!(Iso8601(1_795_199_179).to_string(), "2026-11-20T18:26:19+00:00");
    }
}
