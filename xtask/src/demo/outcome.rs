//! What came of the requests, line by line.

use std::collections::BTreeMap;
use std::fmt;

/// One kind of frontend with the answers that came.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) kind: &'static str,
    pub(super) request: String,
    /// Who answered and by which path, and how often.
    pub(super) answers: BTreeMap<String, usize>,
    /// What was not as it should be.
    pub(super) wrong: Vec<String>,
}

/// A whole round.
#[derive(Debug, Default)]
pub(super) struct Outcome(pub(super) Vec<Line>);

impl Outcome {
    pub(super) fn is_good(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|line| line.wrong.is_empty() && !line.answers.is_empty())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.wrong.is_empty() { "ok  " } else { "FAIL" };
        write!(f, "{mark} {:<15} {}", self.kind, self.request)?;
        for (answer, times) in &self.answers {
            write!(f, "\n       {times:>3} x {answer}")?;
        }
        self.wrong.iter().take(3).try_for_each(|wrong| write!(f, "\n       wrong: {wrong}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = self.0.iter().filter(|line| line.wrong.is_empty()).count();
        write!(f, "\n{good} of {} frontends answered as they should", self.0.len())
    }
}
