//! What the frames of one client come to, as a pure state machine over the bytes that it sends.

use std::time::Duration;

use tokio::time::Instant;

use crate::l7::hits::Hit;
use crate::model::settings::ClientSettings;

/// What a client says before its first frame: `PRI * HTTP/2.0` and so on (RFC 9113 section 3.4).
const PREFACE: u32 = 24;
/// Length, type, flags and stream of a frame.
const HEAD: usize = 9;
/// Types of frames (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
/// Flags.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Budgets hold for so long.
const WINDOW: Duration = Duration::from_secs(10);
/// For so many bytes that it is sent a client may send one frame more: it says what it has read, and whether it is there.
const BYTES_PER_FRAME: u64 = 1024;
/// What a frame may have, as the front says nothing else (RFC 9113 section 6.5.2).
const FRAME: usize = 16 << 10;
/// Most frames of a head between its first and its last one, however short it may be.
const CONTINUATIONS: u32 = 5;
/// What a head may have in bytes of frames beyond what it may have unpacked.
const SLACK: u64 = 16 << 10;

/// What a client may do in ten seconds, and how long its heads may be.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Streams that it gives up.
    pub resets: u32,
    /// Frames that bring nothing: settings, pings, priorities, windows, empty parts of bodies, unknown ones.
    pub control: u32,
    /// Bytes of a head.
    pub head_size: usize,
}

impl Budget {
    /// As the settings say.
    pub fn new(clients: &ClientSettings, head_size: usize) -> Self {
        Budget { resets: clients.resets, control: clients.control_frames, head_size }
    }

    /// Most frames of a head between its first and its last one: as many as the library takes (calc_max_continuation_frames()
    /// in h2 0.4), which would end the connection for one more without telling us why.
    fn continuations(&self) -> u32 {
        let full = (self.head_size / FRAME).max(1);
        u32::try_from(full + full / 4).unwrap_or(u32::MAX).max(CONTINUATIONS)
    }
}

/// What one client has sent so far.
#[derive(Debug)]
pub struct Count {
    budget: Budget,
    /// Bytes of the preface, or of a frame behind its head, that are to come.
    left: u32,
    head: [u8; HEAD],
    /// Bytes of it that have come.
    come: usize,
    /// When the budgets began.
    window: Instant,
    resets: u32,
    control: u64,
    sent: u64,
    /// The head that has begun and not ended.
    block: Option<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    since: Instant,
    frames: u32,
    bytes: u64,
    /// This frame is the last one.
    last: bool,
}

impl Count {
    /// Of a connection that begins.
    pub fn new(budget: Budget, now: Instant) -> Self {
        let (head, come) = ([0; HEAD], 0);
        Count { budget, left: PREFACE, head, come, window: now, resets: 0, control: 0, sent: 0, block: None }
    }

    /// When a head began that has not ended.
    pub fn head_since(&self) -> Option<Instant> {
        self.block.map(|block| block.since)
    }

    /// So many bytes go to the client.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Bytes come from the client, however they are cut; the limit that they go beyond.
    pub fn see(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Hit> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = bytes.len().min(self.left as usize);
                self.left -= count as u32;
                bytes = &bytes[count..];
            } else {
                let count = bytes.len().min(HEAD - self.come);
                self.head[self.come..self.come + count].copy_from_slice(&bytes[..count]);
                self.come += count;
                bytes = &bytes[count..];
                if self.come < HEAD {
                    return Ok(());
                }
                self.come = 0;
                self.frame(now)?;
            }
            if self.left == 0 && self.block.is_some_and(|block| block.last) {
                self.block = None;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Instant) -> Result<(), Hit> {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.left = length;
        match kind {
            HEADERS | CONTINUATION => self.part_of_head(kind, length, flags, now),
            RST_STREAM => self.reset(now),
            DATA if length > 0 || flags & END_STREAM != 0 => Ok(()),
            _ => self.control(now),
        }
    }

    fn part_of_head(&mut self, kind: u8, length: u32, flags: u8, now: Instant) -> Result<(), Hit> {
        let new = Block { since: now, frames: 0, bytes: 0, last: false };
        let mut block = self.block.filter(|_| kind == CONTINUATION).unwrap_or(new);
        block.last = flags & END_HEADERS != 0;
        block.frames += u32::from(kind == CONTINUATION && !block.last);
        block.bytes += u64::from(length);
        self.block = Some(block);
        if block.frames > self.budget.continuations() || block.bytes > self.budget.head_size as u64 + SLACK {
            return Err(Hit::Continuation);
        }
        Ok(())
    }

    fn reset(&mut self, now: Instant) -> Result<(), Hit> {
        self.begin_window(now);
        self.resets += 1;
        if self.resets > self.budget.resets { Err(Hit::Resets) } else { Ok(()) }
    }

    fn control(&mut self, now: Instant) -> Result<(), Hit> {
        self.begin_window(now);
        self.control += 1;
        let budget = u64::from(self.budget.control) + self.sent / BYTES_PER_FRAME;
        if self.control > budget { Err(Hit::ControlFrames) } else { Ok(()) }
    }

    fn begin_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.resets, self.control, self.sent) = (now, 0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUDGET: Budget = Budget { resets: 3, control: 4, head_size: 1 << 10 };
    const SETTINGS: u8 = 4;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + length, 0);
        frame
    }

    fn seen(frames: &[Vec<u8>]) -> Result<(), Hit> {
        let mut count = Count::new(BUDGET, Instant::now());
        count.see(&[0; PREFACE as usize], Instant::now())?;
        count.see(&frames.concat(), Instant::now())
    }

    #[test]
    fn budgets() {
        let many = |number: usize, one: Vec<u8>| seen(&vec![one; number]);
        assert_eq!(many(3, frame(RST_STREAM, 0, 4)), Ok(()));
        assert_eq!(many(4, frame(RST_STREAM, 0, 4)), Err(Hit::Resets));
        for (kind, length) in [(SETTINGS, 6), (6, 8), (2, 5), (8, 4), (DATA, 0), (77, 100)] {
            assert_eq!(many(4, frame(kind, 0, length)), Ok(()), "{kind}");
            assert_eq!(many(5, frame(kind, 0, length)), Err(Hit::ControlFrames), "{kind}");
        }
        assert_eq!(many(100, frame(DATA, 0, 10)), Ok(()));
        assert_eq!(many(100, frame(DATA, END_STREAM, 0)), Ok(()));
        assert_eq!(many(100, frame(HEADERS, END_HEADERS, 700)), Ok(()));
    }

    #[test]
    fn heads() {
        let head = |between: usize, length| {
            let mut all = vec![frame(HEADERS, 0, 10)];
            all.resize(1 + between, frame(CONTINUATION, 0, length));
            seen(&all)?;
            all.push(frame(CONTINUATION, END_HEADERS, length));
            seen(&all)
        };
        assert_eq!(head(CONTINUATIONS as usize, 0), Ok(()));
        assert_eq!(head(CONTINUATIONS as usize + 1, 0), Err(Hit::Continuation));
        assert_eq!(head(2, 16 << 10), Err(Hit::Continuation));
        let most = |head_size| Budget { head_size, ..BUDGET }.continuations();
        assert_eq!([64 << 10, 128 << 10, 1 << 20].map(most), [5, 10, 80]);
        let mut count = Count::new(BUDGET, Instant::now());
        assert_eq!(count.see(&[0; PREFACE as usize], Instant::now()), Ok(()));
        let whole = frame(HEADERS, END_HEADERS, 10);
        assert_eq!(count.see(&whole[..12], Instant::now()), Ok(()));
        assert!(count.head_since().is_some(), "a part of it has come");
        assert_eq!(count.see(&whole[12..], Instant::now()), Ok(()));
        assert!(count.head_since().is_none(), "all of it has come");
        assert_eq!(count.see(&frame(HEADERS, 0, 10), Instant::now()), Ok(()));
        assert!(count.head_since().is_some(), "more of it is to come");
        assert_eq!(count.see(&frame(CONTINUATION, END_HEADERS, 0), Instant::now()), Ok(()));
        assert!(count.head_since().is_none());
    }

    #[test]
    fn time_and_traffic_pay() {
        let start = Instant::now();
        let mut count = Count::new(BUDGET, start);
        assert_eq!(count.see(&[0; PREFACE as usize], start), Ok(()));
        let (reset, ping) = (frame(RST_STREAM, 0, 4), frame(6, 0, 8));
        for window in 0..5 {
            assert_eq!(
                count.see(&[reset.clone(), reset.clone(), reset.clone()].concat(), start + WINDOW * window),
                Ok(())
            );
        }
        let now = start + WINDOW * 9;
        count.sent(1 << 20);
        assert_eq!(count.see(&reset, now), Ok(()), "a new window begins");
        count.sent(6 * BYTES_PER_FRAME);
        assert_eq!(count.see(&vec![ping.clone(); 10].concat(), now), Ok(()));
        assert_eq!(count.see(&ping, now), Err(Hit::ControlFrames));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(frames in prop::collection::vec((0u8..11, any::<u8>(), 0usize..40), 0..30),
                              cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let frames = frames.into_iter().map(|(kind, flags, length)| frame(kind, flags, length)).collect::<Vec<_>>();
            let bytes = [vec![0; PREFACE as usize], frames.concat()].concat();
            let now = Instant::now();
            let whole = Count::new(BUDGET, now).see(&bytes, now);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut count = Count::new(BUDGET, now);
            let cut = cuts.windows(2).try_for_each(|pair| count.see(&bytes[pair[0]..pair[1]], now));
            prop_assert_eq!(cut, whole);
        }
    }
}
