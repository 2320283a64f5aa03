//! How fast a body goes out.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Sleep;

/// A piece costs at most the time of one part of a second.
const PARTS: u64 = 8;

/// Pieces go out in parts, and what each costs is waited for afterwards.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// Bytes that are free.
    free: u64,
    /// Not before.
    next: Option<Pin<Box<Sleep>>>,
    /// What waits for its turn.
    rest: Bytes,
}

impl Pace {
    /// So fast, once so many bytes have gone out.
    pub(super) fn new((bytes_per_second, free): (u64, u64)) -> Self {
        Pace { bytes_per_second, free, next: None, rest: Bytes::new() }
    }

    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = &mut self.next else { return Poll::Ready(()) };
        next.as_mut().poll(cx).map(|()| self.next = None)
    }

    /// What waits, if it waits for nothing but its turn.
    pub(super) fn take_rest(&mut self) -> Option<Bytes> {
        Some(std::mem::take(&mut self.rest)).filter(|rest| !rest.is_empty())
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.rest.len() as u64
    }

    /// The part of a piece that goes out now.
    pub(super) fn cut(&mut self, mut piece: Bytes) -> Bytes {
        let most = self.free.max(self.bytes_per_second / PARTS).max(1);
        let count = usize::try_from(most).map_or(piece.len(), |most| most.min(piece.len()));
        let now = piece.split_to(count);
        self.rest = piece;
        self.sent(now.len() as u64);
        now
    }

    fn sent(&mut self, bytes: u64) {
        let charged = bytes.saturating_sub(self.free);
        self.free = self.free.saturating_sub(bytes);
        if charged > 0 {
            let cost = Duration::from_secs_f64(charged as f64 / self.bytes_per_second as f64);
            self.next = Some(Box::pin(tokio::time::sleep(cost)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_piece_goes_out_at_the_same_pace_as_short_ones() {
        for each in [1_000, 100_000] {
            let (mut pace, begin, mut sent) = (Pace::new((10_000, 50_000)), Instant::now(), 0);
            while sent < 100_000 {
                poll_fn(|cx| pace.poll_turn(cx)).await;
                let piece = pace.take_rest().unwrap_or_else(|| Bytes::from(vec![b'x'; each]));
                sent += pace.cut(piece).len();
            }
            assert_eq!((sent, pace.waiting()), (100_000, 0), "{each}");
            // Half of it is free, and the last part is not waited for.
            let took = begin.elapsed().as_millis();
            assert!((4_800..=5_000).contains(&took), "{each}: {took}");
        }
    }
}
