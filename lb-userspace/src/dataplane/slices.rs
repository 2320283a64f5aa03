//! Which lines of the ring area are free: first fit, neighbours joined.

use std::collections::BTreeMap;

/// Consecutive lines of the ring area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) first: u32,
    pub(crate) lines: u32,
}

/// The free lines of an area.
#[derive(Debug)]
pub(crate) struct Slices {
    /// First line to number of lines; no two touch.
    free: BTreeMap<u32, u32>,
}

impl Slices {
    /// An area of which every line is free.
    pub(crate) fn new(lines: u32) -> Self {
        Self { free: (lines > 0).then_some((0, lines)).into_iter().collect() }
    }

    /// Takes the first gap that is large enough.
    pub(crate) fn allocate(&mut self, lines: u32) -> Option<Slice> {
        let (&first, &gap) = self.free.iter().find(|&(_, &gap)| gap >= lines)?;
        let slice = Slice { first, lines };
        self.take(first, gap, slice);
        Some(slice)
    }

    /// Takes a slice that is known to be in use, as after a restart; `false` if any of its lines is taken or does not
    /// exist.
    pub(crate) fn reserve(&mut self, slice: Slice) -> bool {
        let Some((&first, &gap)) = self.free.range(..=slice.first).next_back() else { return false };
        let inside = u64::from(slice.first) + u64::from(slice.lines) <= u64::from(first) + u64::from(gap);
        if inside {
            self.take(first, gap, slice);
        }
        inside
    }

    /// Gives a slice back.
    pub(crate) fn release(&mut self, slice: Slice) {
        if slice.lines == 0 {
            return;
        }
        let Slice { mut first, mut lines } = slice;
        if let Some((&before, &gap)) = self.free.range(..first).next_back()
            && before + gap == first
        {
            first = before;
            lines += gap;
        }
        if let Some(gap) = self.free.remove(&(slice.first + slice.lines)) {
            lines += gap;
        }
        self.free.insert(first, lines);
    }

    /// How many lines are free.
    #[cfg(test)]
    pub(crate) fn free_lines(&self) -> u32 {
        self.free.values().sum()
    }

    /// Cuts `slice` out of the gap that starts at `first`.
    fn take(&mut self, first: u32, gap: u32, slice: Slice) {
        self.free.remove(&first);
        if slice.first > first {
            self.free.insert(first, slice.first - first);
        }
        let (end, gap_end) = (slice.first + slice.lines, first + gap);
        if end < gap_end {
            self.free.insert(end, gap_end - end);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive model: one flag per line.
    struct Model(Vec<bool>);

    impl Model {
        fn allocate(&mut self, lines: u32) -> Option<u32> {
            let lines = lines as usize;
            let first =
                (0..self.0.len()).find(|&at| self.0.get(at..at + lines).is_some_and(|gap| !gap.contains(&true)))?;
            self.0[first..first + lines].fill(true);
            Some(first as u32)
        }

        fn release(&mut self, slice: Slice) {
            self.0[slice.first as usize..(slice.first + slice.lines) as usize].fill(false);
        }

        fn gaps(&self) -> BTreeMap<u32, u32> {
            let mut gaps = BTreeMap::new();
            let mut start = None;
            for (at, taken) in self.0.iter().chain([&true]).enumerate() {
                match (taken, start) {
                    (false, None) => start = Some(at),
                    (true, Some(first)) => {
                        gaps.insert(first as u32, (at - first) as u32);
                        start = None;
                    }
                    _ => {}
                }
            }
            gaps
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(u32),
        Release(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![(1..12_u32).prop_map(Step::Allocate), any::<usize>().prop_map(Step::Release)];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn behaves_like_one_flag_per_line(lines in 1..64_u32, steps in steps()) {
            let (mut slices, mut model, mut held) = (Slices::new(lines), Model(vec![false; lines as usize]), Vec::new());
            for step in steps {
                match step {
                    Step::Allocate(wanted) => {
                        let got = slices.allocate(wanted);
                        prop_assert_eq!(got.map(|slice| slice.first), model.allocate(wanted));
                        held.extend(got);
                    }
                    Step::Release(which) if !held.is_empty() => {
                        let slice = held.swap_remove(which % held.len());
                        slices.release(slice);
                        model.release(slice);
                    }
                    Step::Release(_) => {}
                }
                prop_assert_eq!(&slices.free, &model.gaps());
            }
        }

        #[test]
        fn what_was_held_can_be_reserved_again(lines in 1..64_u32, wanted in proptest::collection::vec(1..9_u32, 1..20)) {
            let mut slices = Slices::new(lines);
            let held: Vec<_> = wanted.iter().filter_map(|&lines| slices.allocate(lines)).collect();
            let mut restored = Slices::new(lines);
            for &slice in held.iter().rev() {
                prop_assert!(restored.reserve(slice));
                prop_assert!(!restored.reserve(slice), "taken twice");
            }
            prop_assert_eq!(restored.free, slices.free);
        }
    }

    #[test]
    fn refuses_what_lies_outside() {
        let mut slices = Slices::new(8);
        assert!(!slices.reserve(Slice { first: 7, lines: 2 }));
        assert!(!slices.reserve(Slice { first: u32::MAX, lines: u32::MAX }));
        assert_eq!(slices.allocate(9), None);
        assert_eq!(slices.free_lines(), 8);
    }
}
