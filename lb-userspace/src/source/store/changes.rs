//! Which objects changed, and what they said before.

use std::collections::BTreeMap;

use crate::source::{Object, ObjectKey};

/// Of more changes than this nobody asks one by one.
const MOST: usize = 4096;

/// The changes between two moments.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// What each object said at the first moment; `None`: it was not there.
    before: BTreeMap<ObjectKey, Option<Object>>,
    everything: bool,
}

impl Changes {
    /// Nothing is known of the first moment.
    pub fn everything() -> Self {
        Changes { everything: true, ..Self::default() }
    }

    /// Takes note of a change, if it is one.
    pub(super) fn note(&mut self, key: ObjectKey, before: Option<Object>, now: Option<&Object>) {
        let same = match (&before, now) {
            (Some(before), Some(now)) => before.is_same(now),
            (None, None) => true,
            _ => false,
        };
        if same || self.everything {
            return;
        }
        self.before.entry(key).or_insert(before);
        if self.before.len() > MOST {
            *self = Changes::everything();
        }
    }

    /// Too much, or nobody knows what: everything is to be looked at.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Each object that changed, with what it said before.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, Option<&Object>)> {
        self.before.iter().map(|(key, before)| (key, before.as_ref()))
    }

    /// An object changed.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.before.contains_key(key)
    }
}
