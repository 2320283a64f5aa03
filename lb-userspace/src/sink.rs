//! Where Problems go. Each pass finds all of them anew; the sinks get what appeared and what was resolved.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{ObjectRef, Problem, Severity};

/// A place that Problems go to: the log, the status, the metrics.
pub trait Sink: Send {
    /// Takes a change. Called only if there is one.
    fn accept(&mut self, change: &Change);
}

/// How the Problems changed.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// New ones, in order.
    pub appeared: Vec<Problem>,
    /// Those that are gone.
    pub resolved: Vec<Problem>,
    /// All that there are now.
    pub all: Arc<Vec<Problem>>,
}

/// What makes a Problem the same one in the next pass: not its line, which any edit above it moves, and its words only if
/// it names neither object nor field.
type Identity = (ObjectRef, String, Option<String>, Option<String>, Option<PathBuf>, Option<String>);

fn identity(problem: &Problem) -> Identity {
    let Problem { object, code, field, value, file, message, .. } = problem.clone();
    let nameless = object == ObjectRef::default() && field.is_none();
    (object, code, field, value, file, nameless.then_some(message))
}

/// All sinks, and the Problems that they know.
#[derive(Default)]
pub struct Sinks {
    known: BTreeMap<Identity, Problem>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Sinks {
    /// Without a Problem yet.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { known: BTreeMap::new(), sinks }
    }

    /// Takes all Problems of a pass and tells every sink what changed.
    pub fn publish(&mut self, problems: Vec<Problem>) {
        let now: BTreeMap<Identity, Problem> =
            problems.into_iter().map(|problem| (identity(&problem), problem)).collect();
        if now == self.known {
            return;
        }
        let change = Change {
            appeared: missing_from(&now, &self.known),
            resolved: missing_from(&self.known, &now),
            all: Arc::new(now.values().cloned().collect()),
        };
        self.known = now;
        for sink in &mut self.sinks {
            sink.accept(&change);
        }
    }
}

fn missing_from(these: &BTreeMap<Identity, Problem>, those: &BTreeMap<Identity, Problem>) -> Vec<Problem> {
    these.iter().filter(|(identity, _)| !those.contains_key(*identity)).map(|(_, problem)| problem.clone()).collect()
}

/// One log line for each Problem that appears or is resolved.
#[derive(Debug, Default)]
pub struct LogSink;

impl Sink for LogSink {
    fn accept(&mut self, change: &Change) {
        for problem in &change.appeared {
            log(problem);
        }
        for problem in &change.resolved {
            tracing::info!(code = problem.code, "resolved: {}", problem.message);
        }
    }
}

fn log(problem: &Problem) {
    let (code, message) = (problem.code.as_str(), problem.message.as_str());
    let file = problem.file.as_ref().map(|file| file.display().to_string());
    match problem.severity {
        Severity::Error => tracing::error!(code, file, line = problem.line, "{message}"),
        Severity::Warning => tracing::warn!(code, file, line = problem.line, "{message}"),
        Severity::Info => tracing::info!(code, file, line = problem.line, "{message}"),
    }
}

/// Keeps the list for `weir status`.
#[derive(Clone, Debug, Default)]
pub struct StatusSink {
    all: Arc<ArcSwap<Vec<Problem>>>,
}

impl StatusSink {
    /// All Problems that there are.
    pub fn all(&self) -> Arc<Vec<Problem>> {
        self.all.load_full()
    }
}

impl Sink for StatusSink {
    fn accept(&mut self, change: &Change) {
        self.all.store(Arc::clone(&change.all));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Names of what appeared and of what was resolved, and how many there are.
    type Row = (Vec<String>, Vec<String>, usize);

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<Row>>>);

    impl Sink for Seen {
        fn accept(&mut self, change: &Change) {
            let names = |problems: &[Problem]| problems.iter().filter_map(|p| p.object.name.clone()).collect();
            self.0.lock().unwrap().push((names(&change.appeared), names(&change.resolved), change.all.len()));
        }
    }

    fn problem(name: &str, line: u32) -> Problem {
        Problem {
            code: "x".into(),
            severity: Severity::Warning,
            object: ObjectRef { name: Some(name.into()), ..ObjectRef::default() },
            field: None,
            value: None,
            expected: None,
            message: format!("{name} is wrong"),
            file: None,
            line: Some(line),
        }
    }

    #[test]
    fn only_what_is_new_and_what_is_gone_is_told() {
        let seen = Seen::default();
        let status = StatusSink::default();
        let mut sinks = Sinks::new(vec![Box::new(seen.clone()), Box::new(status.clone())]);
        sinks.publish(vec![problem("b", 2), problem("a", 1)]);
        sinks.publish(vec![problem("a", 1), problem("b", 2)]);
        sinks.publish(vec![problem("b", 2), problem("c", 3)]);
        sinks.publish(vec![]);
        let row = |appeared: &[&str], resolved: &[&str], all| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            (own(appeared), own(resolved), all)
        };
        let expected = [row(&["a", "b"], &[], 2), row(&["c"], &["a"], 2), row(&[], &["b", "c"], 0)];
        assert_eq!(*seen.0.lock().unwrap(), expected);
        assert!(status.all().is_empty());
    }

    #[test]
    fn a_moved_line_is_the_same_problem_but_the_status_follows_it() {
        let seen = Seen::default();
        let status = StatusSink::default();
        let mut sinks = Sinks::new(vec![Box::new(seen.clone()), Box::new(status.clone())]);
        sinks.publish(vec![problem("a", 1)]);
        sinks.publish(vec![problem("a", 9)]);
        assert_eq!(seen.0.lock().unwrap()[1], (vec![], vec![], 1));
        assert_eq!(status.all()[0].line, Some(9));
    }

    #[test]
    fn what_names_no_object_is_told_apart_by_its_words() {
        let status = StatusSink::default();
        let nameless =
            |message: &str| Problem { object: ObjectRef::default(), message: message.into(), ..problem("a", 1) };
        Sinks::new(vec![Box::new(status.clone())]).publish(vec![nameless("x"), nameless("y"), nameless("x")]);
        assert_eq!(status.all().len(), 2);
    }

    #[test]
    fn the_same_problem_twice_in_a_pass_is_one() {
        let status = StatusSink::default();
        Sinks::new(vec![Box::new(status.clone())]).publish(vec![problem("a", 1), problem("a", 1)]);
        assert_eq!(status.all().len(), 1);
    }
}
