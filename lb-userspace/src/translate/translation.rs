//! A translation that follows the objects: what a few changes cannot reach stays as it is. What comes out is always what
//! [`translate`](super::translate) would make of the same objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::amend::{self, Fixed};
use super::backends::Locality;
use super::tally::Tally;
use super::{Settings, finish, translate_all};
use crate::model::{DesiredState, Problem, ServiceKey, Target};
use crate::source::{Changes, Objects};

/// What balanced ports led to before a step, of those that lead elsewhere now.
pub type Targets = BTreeMap<ServiceKey, Target>;

/// What a translation remembers beside its result, which is the caller's.
#[derive(Debug, Default)]
pub struct Translation {
    /// What all objects were translated with; `None` before the first time.
    with: Option<(Settings, Locality)>,
    problems: Tally,
}

impl Translation {
    /// Translates everything anew.
    pub fn renew(&mut self, objects: &Objects, settings: &Settings) -> DesiredState {
        let mut problems = Vec::new();
        let locality = Locality::new(objects, settings, &mut problems);
        let desired = translate_all(objects, settings, &locality, &mut problems);
        self.with = Some((settings.clone(), locality));
        self.problems = Tally::of(problems);
        desired
    }

    /// Brings the result of the last step up to date with `changes`, which are all that changed since, and tells what
    /// it changed; the result is changed in place, if nobody else holds it. `None`: they may reach anything, so that everything has to be translated anew; then nothing was changed.
    pub fn amend(
        &mut self,
        desired: &mut Arc<DesiredState>,
        objects: &Objects,
        changes: &Changes,
        settings: &Settings,
    ) -> Option<Targets> {
        let (with, locality) = self.with.as_ref().filter(|(with, _)| with == settings)?;
        let fixed = Fixed { objects, changes, settings: with, locality };
        let amended = amend::services(desired, &fixed)?;
        for (before, now) in amended.problems {
            self.problems.replace(&before, now);
        }
        let is_of_file = |key| objects.get(key).is_some_and(|object| object.origin.is_some());
        if changes.iter().any(|(key, _)| is_of_file(key)) {
            self.problems.note_moved();
        }
        Some(amended.targets)
    }

    /// All Problems, as [`translate`](super::translate) gives them.
    pub fn problems(&self, objects: &Objects) -> Vec<Problem> {
        let mut problems: Vec<_> = self.problems.iter().cloned().collect();
        finish(objects, &mut problems);
        problems
    }

    /// Whether there may be others than when this was asked the last time. Those of the input as such do not count.
    pub fn take_news(&mut self) -> bool {
        self.problems.take_news()
    }
}
