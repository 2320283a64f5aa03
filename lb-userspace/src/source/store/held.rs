//! One object as the sources hold it.

use crate::source::Object;

/// An object, and the same one of sources that are named later, which stand by.
#[derive(Clone, Debug)]
pub(super) struct Held {
    source: usize,
    /// The one that counts.
    pub(super) object: Object,
    /// Of other sources, in their order.
    others: Vec<(usize, Object)>,
}

impl Held {
    /// That of one source.
    pub(super) fn new(source: usize, object: Object) -> Self {
        Held { source, object, others: Vec::new() }
    }

    /// Several sources hold it.
    pub(super) fn is_twice(&self) -> bool {
        !self.others.is_empty()
    }

    /// What a source holds.
    pub(super) fn of(&self, source: usize) -> Option<&Object> {
        if self.source == source {
            return Some(&self.object);
        }
        self.others.iter().find(|(other, _)| *other == source).map(|(_, object)| object)
    }

    /// A source holds this from now on.
    pub(super) fn put(&mut self, source: usize, object: Object) {
        if self.source == source {
            self.object = object;
            return;
        }
        self.others.retain(|(other, _)| *other != source);
        self.others.push((source, object));
        if source < self.source {
            self.promote();
        }
        self.others.sort_by_key(|(other, _)| *other);
    }

    /// A source holds it no longer; false if none does then.
    pub(super) fn remove(&mut self, source: usize) -> bool {
        self.others.retain(|(other, _)| *other != source);
        if self.source != source {
            return true;
        }
        let Some((next, object)) = (!self.others.is_empty()).then(|| self.others.remove(0)) else { return false };
        (self.source, self.object) = (next, object);
        true
    }

    /// The last of the others takes the first place.
    fn promote(&mut self) {
        if let Some((source, object)) = self.others.last_mut() {
            std::mem::swap(source, &mut self.source);
            std::mem::swap(object, &mut self.object);
        }
    }
}
