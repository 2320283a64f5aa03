//! A translation that follows the objects: what a few changes cannot reach stays as it is. What comes out is always what
//! [`translate`](super::translate) would make of the same objects.

use std::sync::Arc;

use super::amend::concerned::Concerned;
use super::amend::layer7::Memory;
use super::amend::{self, Fixed};
use super::backends::Locality;
use super::configmap::{self, Read};
use super::tally::Tally;
use super::{Settings, finish, translate_all};
use crate::model::{Changed, DesiredState, Problem};
use crate::source::{Changes, Objects};

/// What a translation remembers beside its result, which is the caller's.
#[derive(Debug, Default)]
pub struct Translation {
    /// What all objects were translated with; `None` before the first time.
    with: Option<With>,
    problems: Tally,
    layer7: Memory,
}

/// What all objects are translated with.
#[derive(Debug)]
struct With {
    settings: Settings,
    locality: Locality,
    usual: Usual,
}

/// What the front's ConfigMap says.
#[derive(Debug, Default)]
pub(super) struct Usual {
    pub(super) read: Read,
    pub(super) problems: Vec<Problem>,
}

impl Usual {
    pub(super) fn read(objects: &Objects, settings: &Settings) -> Self {
        let mut problems = Vec::new();
        let read = configmap::settings(objects, settings, &mut problems);
        Usual { read, problems }
    }

    /// Only the front as a whole makes a difference between the two.
    fn is_same_to_ingresses(&self, other: &Self) -> bool {
        let Read { front: _, own, asked, closed } = &self.read;
        (own, asked, closed) == (&other.read.own, &other.read.asked, &other.read.closed)
    }
}

impl Translation {
    /// Translates everything anew.
    pub fn renew(&mut self, objects: &Objects, settings: &Settings) -> DesiredState {
        let mut problems = Vec::new();
        let locality = Locality::new(objects, settings, &mut problems);
        let usual = Usual::read(objects, settings);
        let (desired, told) = translate_all(objects, settings, &locality, &usual, &mut problems);
        self.layer7 = Memory::new(objects, told);
        self.with = Some(With { settings: settings.clone(), locality, usual });
        self.problems = Tally::of(problems);
        desired
    }

    /// Brings the result of the last step up to date with `changes`, which are all that changed since, and tells what
    /// it changed; the result is changed in place, if nobody else holds it. `None`: they may reach anything, so that
    /// everything has to be translated anew; then the result was not changed.
    pub fn amend(
        &mut self,
        desired: &mut Arc<DesiredState>,
        objects: &Objects,
        changes: &Changes,
        settings: &Settings,
    ) -> Option<Changed> {
        let with = self.with.as_mut().filter(|with| with.settings == *settings)?;
        let fixed = Fixed { objects, changes, settings, locality: &with.locality };
        let concerned = Concerned::by(fixed)?;
        let usual = concerned.settings.then(|| Usual::read(objects, settings));
        if usual.as_ref().is_some_and(|usual| !usual.is_same_to_ingresses(&with.usual)) {
            return None;
        }
        let mut followed = amend::services(&concerned.services, desired, fixed)?;
        let reached = self.layer7.reached(&concerned, objects)?;
        // From here on nothing is refused.
        let targets = followed.settle(desired);
        let mut problems = followed.problems;
        let mut front = false;
        if let Some(usual) = usual {
            front = desired.front != usual.read.front;
            if front {
                Arc::make_mut(desired).front = usual.read.front.clone();
            }
            let before = std::mem::replace(&mut with.usual, usual);
            problems.push((before.problems, with.usual.problems.clone()));
        }
        let changed = self.layer7.renew(reached, desired, &with.usual.read, fixed, &mut problems);
        for (before, now) in problems {
            self.problems.replace(&before, now);
        }
        let is_of_file = |key| objects.get(key).is_some_and(|object| object.origin.is_some());
        if changes.iter().any(|(key, _)| is_of_file(key)) {
            self.problems.note_moved();
        }
        Some(Changed { targets, front, ..changed })
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
