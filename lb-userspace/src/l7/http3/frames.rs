//! Counts the frames of a client of HTTP/3 (RFC 9114 section 7) before anybody acts on them, as a pure state machine over
//! the bytes of its streams.
//!
//! The library skips frames that it does not know, however many there are, and holds every other one but DATA until all of
//! it has come, however long it says it is; meanwhile QUIC gives the client room for more.

use std::time::Duration;

use tokio::time::Instant;

use crate::l7::hits::Hit;
use crate::l7::http2::frames::Budget;

/// Types of frames.
const DATA: u64 = 0;
const HEADERS: u64 = 1;
/// The type of the stream of a client that has frames without belonging to a request (section 6.2.1).
const CONTROL: u64 = 0;
/// Budgets hold for so long.
const WINDOW: Duration = Duration::from_secs(10);
/// Bytes that may come meanwhile without bringing anything: settings have a few dozen.
const BYTES: u64 = 64 << 10;
/// What a head may have in bytes of its frame beyond what it may have unpacked.
const SLACK: u64 = 16 << 10;

/// What one client has sent so far.
#[derive(Debug)]
pub(super) struct Total {
    budget: Budget,
    /// When the budgets began.
    window: Instant,
    frames: u32,
    bytes: u64,
    /// Streams that it had given up at this time.
    resets: (Instant, u64),
}

impl Total {
    /// Of a connection that begins.
    pub(super) fn new(budget: Budget, now: Instant) -> Self {
        Total { budget, window: now, frames: 0, bytes: 0, resets: (now, 0) }
    }

    /// The client has given up so many streams since the connection began.
    pub(super) fn given_up(&mut self, resets: u64, now: Instant) -> Result<(), Hit> {
        if now.saturating_duration_since(self.resets.0) >= WINDOW {
            self.resets = (now, resets);
        }
        if resets.saturating_sub(self.resets.1) > u64::from(self.budget.resets) {
            Err(Hit::Http3Resets)
        } else {
            Ok(())
        }
    }

    /// A stream begins that belongs to no request.
    pub(super) fn stream(&mut self, now: Instant) -> Result<(), Hit> {
        self.idle(0, now)
    }

    fn frame(&mut self, kind: u64, length: u64, now: Instant) -> Result<(), Hit> {
        match kind {
            DATA if length > 0 => Ok(()),
            HEADERS if length > self.budget.head_size as u64 + SLACK => Err(Hit::HeaderSize),
            HEADERS => Ok(()),
            _ => self.idle(length, now),
        }
    }

    /// What brings nothing: settings, goodbyes, priorities, empty parts of bodies, what nobody knows.
    fn idle(&mut self, length: u64, now: Instant) -> Result<(), Hit> {
        self.begin_window(now);
        self.frames += 1;
        self.take(length)
    }

    fn take(&mut self, bytes: u64) -> Result<(), Hit> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.frames > self.budget.control || self.bytes > BYTES { Err(Hit::Http3Frames) } else { Ok(()) }
    }

    fn begin_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.frames, self.bytes) = (now, 0, 0);
        }
    }
}

/// Where in one stream of the client its next byte is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    at: At,
    number: Number,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// The type of the stream.
    Kind,
    /// The type of a frame.
    Type,
    /// The length of a frame of this type.
    Length(u64),
    /// So many bytes are left of a frame.
    Inside(u64),
    /// In what has no frames.
    Other,
}

impl Place {
    /// At the beginning of a request.
    pub(super) const REQUEST: Place = Place { at: At::Type, number: Number::NONE };
    /// At the beginning of a stream whose first number says what it is.
    pub(super) const OTHER: Place = Place { at: At::Kind, number: Number::NONE };

    /// Bytes come, however they are cut; the limit that they go beyond.
    pub(super) fn see(&mut self, mut bytes: &[u8], total: &mut Total, now: Instant) -> Result<(), Hit> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.at {
                At::Inside(left) => {
                    let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - count as u64;
                    self.at = if left == 0 { At::Type } else { At::Inside(left) };
                    bytes = &bytes[count..];
                }
                At::Other => {
                    total.begin_window(now);
                    return total.take(bytes.len() as u64);
                }
                At::Kind | At::Type | At::Length(_) => {
                    bytes = rest;
                    if let Some(number) = self.number.take(byte) {
                        self.number(number, total, now)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn number(&mut self, number: u64, total: &mut Total, now: Instant) -> Result<(), Hit> {
        self.at = match self.at {
            At::Type => At::Length(number),
            At::Length(kind) => {
                total.frame(kind, number, now)?;
                if number == 0 { At::Type } else { At::Inside(number) }
            }
            At::Kind if number == CONTROL => At::Type,
            _ => At::Other,
        };
        Ok(())
    }
}

/// A number on its way (RFC 9000 section 16): its first two bits say how long it is.
#[derive(Clone, Copy, Debug)]
struct Number {
    value: u64,
    left: u8,
}

impl Number {
    const NONE: Number = Number { value: 0, left: 0 };

    fn take(&mut self, byte: u8) -> Option<u64> {
        *self = match self.left {
            0 => Number { value: u64::from(byte & 0x3f), left: (1 << (byte >> 6)) - 1 },
            left => Number { value: self.value << 8 | u64::from(byte), left: left - 1 },
        };
        (self.left == 0).then_some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUDGET: Budget = Budget { resets: 3, control: 4, head_size: 1 << 10 };
    const SETTINGS: u64 = 4;
    /// One that nobody knows, on purpose (section 7.2.8).
    const GREASE: u64 = 0x21;

    /// In its longest form, so that all lengths of numbers come.
    fn number(value: u64, length: u8) -> Vec<u8> {
        let bytes = (value | u64::from(length.trailing_zeros()) << (8 * u32::from(length) - 2)).to_be_bytes();
        bytes[8 - usize::from(length)..].to_vec()
    }

    fn frame(kind: u64, length: usize) -> Vec<u8> {
        [number(kind, 8), number(length as u64, 4), vec![0; length]].concat()
    }

    fn seen(mut at: Place, bytes: &[u8]) -> Result<(), Hit> {
        let now = Instant::now();
        at.see(bytes, &mut Total::new(BUDGET, now), now)
    }

    #[test]
    fn numbers_of_all_lengths() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x40, 0x25], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            // The examples of RFC 9000, appendix A.1.
            let mut one = Number::NONE;
            let taken: Vec<_> = bytes.iter().map(|byte| one.take(*byte)).collect();
            assert_eq!(taken.last(), Some(&Some(value)), "{bytes:x?}");
            assert!(taken[..bytes.len() - 1].iter().all(Option::is_none));
        }
        assert_eq!((number(37, 2), number(15_293, 2)), (vec![0x40, 0x25], vec![0x7b, 0xbd]));
    }

    #[test]
    fn budgets() {
        let many = |count: usize, one: Vec<u8>| seen(Place::REQUEST, &vec![one; count].concat());
        for kind in [GREASE, 3, 7, 13, 0xf0700] {
            assert_eq!(many(4, frame(kind, 10)), Ok(()), "{kind}");
            assert_eq!(many(5, frame(kind, 10)), Err(Hit::Http3Frames), "{kind}");
        }
        assert_eq!(many(5, frame(DATA, 0)), Err(Hit::Http3Frames), "empty parts");
        assert_eq!(many(100, frame(DATA, 10)), Ok(()));
        assert_eq!(many(100, frame(HEADERS, 700)), Ok(()));
        let announced = |kind, length: u64| seen(Place::REQUEST, &[number(kind, 1), number(length, 8)].concat());
        assert_eq!(announced(HEADERS, 1 << 40), Err(Hit::HeaderSize), "it would be held");
        assert_eq!(announced(GREASE, 1 << 40), Err(Hit::Http3Frames), "it would be held");
        assert_eq!(announced(DATA, 1 << 40), Ok(()));
    }

    #[test]
    fn streams_without_requests() {
        let control = |frames: usize| {
            let all = [number(CONTROL, 1), frame(SETTINGS, 30), vec![frame(GREASE, 1); frames].concat()].concat();
            seen(Place::OTHER, &all)
        };
        assert_eq!((control(3), control(4)), (Ok(()), Err(Hit::Http3Frames)));
        let other = |length: u64| seen(Place::OTHER, &[number(2, 1), vec![0; length as usize]].concat());
        assert_eq!((other(BYTES), other(BYTES + 1)), (Ok(()), Err(Hit::Http3Frames)), "QPACK's");
        let now = Instant::now();
        let mut total = Total::new(BUDGET, now);
        assert!((0..4).all(|_| total.stream(now).is_ok()) && total.stream(now).is_err());
    }

    #[test]
    fn streams_that_are_given_up() {
        let start = Instant::now();
        let mut total = Total::new(BUDGET, start);
        assert_eq!((total.given_up(3, start), total.given_up(4, start)), (Ok(()), Err(Hit::Http3Resets)));
        let later = start + WINDOW;
        assert_eq!((total.given_up(6, later), total.given_up(9, later)), (Ok(()), Ok(())), "a new window");
        assert_eq!(total.given_up(10, later), Err(Hit::Http3Resets));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(frames in prop::collection::vec((0u64..6, 0usize..40), 0..12),
                              is_request in any::<bool>(),
                              cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes = frames.into_iter().map(|(kind, length)| frame(kind, length)).collect::<Vec<_>>().concat();
            let begin = if is_request { Place::REQUEST } else { Place::OTHER };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let now = Instant::now();
            let (mut at, mut total) = (begin, Total::new(BUDGET, now));
            let cut = cuts.windows(2).try_for_each(|pair| at.see(&bytes[pair[0]..pair[1]], &mut total, now));
            prop_assert_eq!(cut, seen(begin, &bytes));
        }
    }
}
