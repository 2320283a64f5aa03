//! Problems, each with how often it was found: what several objects give rise to goes with the last of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::Problem;

/// The Problems that there are.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<Problem, usize>,
    news: bool,
}

impl Tally {
    /// Of these alone.
    pub(super) fn of(problems: Vec<Problem>) -> Self {
        let mut tally = Tally::default();
        problems.into_iter().for_each(|problem| tally.add(problem));
        Tally { news: true, ..tally }
    }

    /// Some were found before that are found no longer, and others are found now.
    pub(super) fn replace(&mut self, before: &[Problem], now: Vec<Problem>) {
        if before == now {
            return;
        }
        // In this order, so that one which stays is no news.
        now.into_iter().for_each(|problem| self.add(problem));
        before.iter().for_each(|problem| self.remove(problem));
    }

    /// All of them, each once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.counts.keys()
    }

    /// Whether there are others than when this was asked the last time.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// What they say of places in files may be outdated.
    pub(super) fn note_moved(&mut self) {
        self.news = true;
    }

    fn add(&mut self, problem: Problem) {
        let count = self.counts.entry(problem).or_default();
        self.news |= *count == 0;
        *count += 1;
    }

    fn remove(&mut self, problem: &Problem) {
        if let Entry::Occupied(mut entry) = self.counts.entry(problem.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
                self.news = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectRef;
    use crate::model::problem::code;

    #[test]
    fn a_problem_goes_with_the_last_that_gives_rise_to_it() {
        let problem = |name: &str| Problem::info(code::NOT_YET, &ObjectRef::new("Secret", "a", name), "x");
        let mut tally = Tally::of(vec![problem("s"), problem("s"), problem("t")]);
        assert!(tally.take_news() && !tally.take_news());
        tally.replace(&[problem("s")], vec![]);
        assert!(!tally.take_news() && tally.iter().count() == 2);
        tally.replace(&[problem("s"), problem("t")], vec![problem("t")]);
        assert!(tally.take_news());
        assert_eq!(tally.iter().collect::<Vec<_>>(), [&problem("t")]);
    }
}
