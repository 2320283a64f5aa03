//! When the next pass is due: soon after a burst of changes, after a back-off when a write failed, and now and then to
//! look whether the maps are still as they were written. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Changes come in bursts (an edit of several files, a rollout): wait until it is quiet. A pass over a few changes takes
/// less than this, so that they need not wait for long ...
const LEAST_QUIET: Duration = Duration::from_millis(2);
/// ... and one that takes longer should be made once and not twice.
const QUIET: Duration = Duration::from_millis(20);
/// So many times what the last pass needed of a processor. Who has rested for that long owes nobody a rest: the first
/// changes after it are made at once, and what follows on their heels waits.
const QUIET_PER_PASS: u32 = 4;
/// No burst is waited for longer than so many times of quiet.
const LONGEST_BURST: u32 = 10;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long nobody would notice that somebody else wrote to the maps.
const RESYNC: Duration = Duration::from_secs(600);

/// When the next pass is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// First and last change since the last pass.
    burst: Option<(Instant, Instant)>,
    retry: Option<Instant>,
    /// What the last pass needed of a processor: waiting for the kernel would not be spared.
    work: Duration,
    /// When it ended.
    passed: Option<Instant>,
    failures: u32,
    /// When the maps are read again.
    resync: Option<Instant>,
}

impl Schedule {
    /// Something changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |(first, _)| first);
        self.burst = Some((first, now));
    }

    /// A pass was made, which was so much work.
    pub(super) fn passed(&mut self, now: Instant, work: Duration, needs_retry: bool) {
        self.burst = None;
        self.work = work;
        self.passed = Some(now);
        self.failures = if needs_retry { self.failures.saturating_add(1) } else { 0 };
        self.retry = needs_retry.then(|| now + back_off(self.failures));
        self.resync.get_or_insert(now + RESYNC);
    }

    /// Whether the pass that begins now is to read the maps again. It counts as done then.
    pub(super) fn takes_resync(&mut self, now: Instant) -> bool {
        let due = self.resync.is_some_and(|resync| resync <= now);
        if due {
            self.resync = Some(now + RESYNC);
        }
        due
    }

    /// When to make the next pass; `None`: when something changes. Never before the first one.
    pub(super) fn due(&self) -> Option<Instant> {
        let burst = self.burst.map(|(first, last)| {
            let quiet = self.quiet(first);
            (last + quiet).min(first + quiet * LONGEST_BURST)
        });
        burst.into_iter().chain(self.retry).chain(self.resync).min()
    }

    /// How long it is to be quiet in a burst that began then.
    fn quiet(&self, first: Instant) -> Duration {
        let quiet = self.work.saturating_mul(QUIET_PER_PASS).clamp(LEAST_QUIET, QUIET);
        let has_rested = self.passed.is_some_and(|passed| first >= passed + quiet);
        // A long pass is worth waiting for company: a second one would follow at once.
        if has_rested && self.work < QUIET { LEAST_QUIET } else { quiet }
    }
}

/// 100 ms, doubled with each failure in a row, at most 30 s.
fn back_off(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);
    /// A pass over everything.
    const SLOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_single_change_is_due_when_it_stays_quiet() {
        let start = clock::now();
        let mut schedule = Schedule { work: SLOW, ..Schedule::default() };
        assert_eq!(schedule.due(), None);
        schedule.changed(start);
        assert_eq!(schedule.due(), Some(start + QUIET));
        schedule.changed(start + 10 * MS);
        assert_eq!(schedule.due(), Some(start + 30 * MS));
        schedule.passed(start + 30 * MS, SLOW, false);
        assert_eq!(schedule.due(), Some(start + 30 * MS + RESYNC));
    }

    #[test]
    fn after_a_short_pass_a_change_hardly_waits() {
        let start = clock::now();
        let mut schedule = Schedule::default();
        for (work, wait) in [(MS / 10, 2 * MS), (3 * MS, 12 * MS), (50 * MS, 20 * MS)] {
            schedule.passed(start, work, false);
            schedule.changed(start);
            assert_eq!(schedule.due(), Some(start + wait), "{work:?}");
        }
        schedule.passed(start, MS, false);
        (0..100).for_each(|step| schedule.changed(start + step * MS));
        assert_eq!(schedule.due(), Some(start + 40 * MS), "of a burst the changes wait for each other");
    }

    #[test]
    fn after_a_rest_the_first_change_hardly_waits_and_the_next_ones_do() {
        let start = clock::now();
        let mut schedule = Schedule::default();
        schedule.passed(start, 3 * MS, false);
        schedule.changed(start + 12 * MS);
        assert_eq!(schedule.due(), Some(start + 14 * MS));
        schedule.changed(start + 13 * MS);
        assert_eq!(schedule.due(), Some(start + 15 * MS));
        schedule.passed(start + 18 * MS, 3 * MS, false);
        schedule.changed(start + 19 * MS);
        assert_eq!(schedule.due(), Some(start + 31 * MS), "right behind a pass it waits for company");

        schedule.passed(start + 31 * MS, SLOW, false);
        schedule.changed(start + 1_000 * MS);
        assert_eq!(schedule.due(), Some(start + 1_020 * MS), "a long pass is made once and not twice");
    }

    #[test]
    fn changes_that_never_end_leave_most_of_the_time_to_others() {
        let (start, work) = (clock::now(), 3 * MS);
        let (mut schedule, mut passes) = (Schedule::default(), 0);
        schedule.passed(start, work, false);
        for step in 1..=1_000 {
            let now = start + step * MS;
            schedule.changed(now);
            if schedule.due().is_some_and(|due| due <= now) {
                passes += 1;
                schedule.passed(now + work, work, false);
            }
        }
        assert!((5..=50).contains(&passes), "{passes} passes in a second");
    }

    #[test]
    fn endless_changes_do_not_put_it_off_for_ever() {
        let start = clock::now();
        let mut schedule = Schedule { work: SLOW, ..Schedule::default() };
        for step in 0..100 {
            schedule.changed(start + step * 10 * MS);
        }
        assert_eq!(schedule.due(), Some(start + 200 * MS));
    }

    #[test]
    fn failures_back_off_and_success_forgets_them() {
        let start = clock::now();
        let mut schedule = Schedule::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            schedule.passed(start, SLOW, true);
            waits.push(schedule.due().unwrap() - start);
        }
        assert_eq!(waits[..3], [100 * MS, 200 * MS, 400 * MS]);
        assert_eq!(waits.last(), Some(&LAST_RETRY));
        assert!(waits.is_sorted());
        schedule.passed(start, SLOW, false);
        schedule.passed(start, SLOW, true);
        assert_eq!(schedule.due(), Some(start + FIRST_RETRY));
    }

    #[test]
    fn the_maps_are_read_again_now_and_then_however_many_passes_there_are() {
        let start = clock::now();
        let mut schedule = Schedule::default();
        assert!(!schedule.takes_resync(start + RESYNC), "there is nothing to read before the first pass");
        let mut resyncs = Vec::new();
        for second in 0..=1800_u32 {
            let now = start + second * 1000 * MS;
            if schedule.takes_resync(now) {
                resyncs.push(second);
            }
            schedule.passed(now, SLOW, false);
        }
        assert_eq!(resyncs, [600, 1200, 1800]);
        assert_eq!(schedule.due(), Some(start + 4 * RESYNC));
    }

    #[test]
    fn a_change_does_not_wait_for_the_retry() {
        let start = clock::now();
        let mut schedule = Schedule::default();
        (0..20).for_each(|_| schedule.passed(start, SLOW, true));
        schedule.changed(start);
        assert_eq!(schedule.due(), Some(start + QUIET));
    }
}
