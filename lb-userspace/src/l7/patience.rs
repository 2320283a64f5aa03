//! Deadlines of requests, of which hardly any is ever reached.
//!
//! A timer of tokio is entered into a wheel and taken out again, each under a lock. Deadlines move on from one request to the
//! next, and a timer whose deadline moves on stays where it is in the wheel: so timers are used again.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Most timers that wait for their next use.
const MOST: usize = 256;

/// The timers of a worker that nobody uses now.
#[derive(Debug, Default)]
pub struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

/// A timer for one deadline after the other.
#[derive(Debug)]
pub struct Patience<'a> {
    timers: &'a Timers,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timers {
    /// One of them, or a new one.
    pub fn take(&self) -> Patience<'_> {
        Patience { timers: self, timer: self.0.borrow_mut().pop() }
    }
}

impl Patience<'_> {
    /// Ready when the time has come.
    pub fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        let mut unused = self.timers.0.borrow_mut();
        if unused.len() < MOST {
            unused.extend(self.timer.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_used_again() {
        let timers = Timers::default();
        let begin = Instant::now();
        // Later, earlier, and one that is given up.
        for (after, waits) in [(10, true), (30, true), (20, false), (5, true), (60, true)] {
            let (deadline, mut patience) = (Instant::now() + Duration::from_secs(after), timers.take());
            if waits {
                poll_fn(|cx| patience.poll_until(deadline, cx)).await;
                assert_eq!(Instant::now(), deadline);
            } else {
                let first = poll_fn(|cx| Poll::Ready(patience.poll_until(deadline, cx))).await;
                assert!(first.is_pending());
            }
            drop(patience);
            assert_eq!(timers.0.borrow().len(), 1);
        }
        assert_eq!(begin.elapsed().as_secs(), 10 + 30 + 5 + 60);
    }
}
