//! What all watches told, as one picture. A list that is told again is compared with what was told before, so that an
//! outage or a forgetful server changes nothing by itself. Pure.

use std::collections::BTreeMap;

use super::follow::{Entry, News};
use super::subject::WatchId;
use crate::model::Problem;
use crate::model::problem::code;
use crate::source::{Object, ObjectKey, SourceEvent};

type Set = BTreeMap<ObjectKey, Object>;

/// What all watches told.
#[derive(Debug, Default)]
pub(super) struct Picture {
    watches: BTreeMap<WatchId, Told>,
    /// Every watch has told all once.
    complete: bool,
    problems: Vec<Problem>,
}

/// What one watch told.
#[derive(Debug, Default)]
struct Told {
    objects: Set,
    /// Objects of a list that is not complete; those that could not be read without a value.
    listing: Option<BTreeMap<ObjectKey, Option<Object>>>,
    complete: bool,
    unreadable: BTreeMap<ObjectKey, Problem>,
    fault: Option<Problem>,
}

impl Picture {
    /// The picture is not complete before this watch has told all.
    pub(super) fn expect(&mut self, id: WatchId) {
        self.watches.entry(id).or_default();
    }

    /// A watch has ended: what it told is gone.
    pub(super) fn forget(&mut self, id: &WatchId) -> Vec<SourceEvent> {
        let told = self.watches.remove(id).unwrap_or_default();
        told.objects.into_keys().map(SourceEvent::Delete).collect()
    }

    /// Takes news and returns what it changes.
    pub(super) fn take(&mut self, id: &WatchId, news: News) -> Vec<SourceEvent> {
        let Some(told) = self.watches.get_mut(id) else { return Vec::new() };
        match news {
            News::Listing => told.listing = Some(BTreeMap::new()),
            News::Found(entry) => told.found(*entry),
            News::Listed => return told.listed(),
            News::Changed(entry) => return told.changed(*entry).into_iter().collect(),
            News::Gone(key) => return told.gone(&key).into_iter().collect(),
            News::NotServed => {
                told.listing = Some(BTreeMap::new());
                return told.listed();
            }
            News::Fault(problem) => {
                // A single object that must not be read is missed by those who refer to it, and by nobody else. So are
                // our own kinds and namespaces, which the rights of earlier versions did not have in them.
                told.complete |= problem.as_ref().is_some_and(may_not_read) && id.can_be_missed();
                told.fault = problem;
            }
        }
        Vec::new()
    }

    /// Once, when every watch has told all: the whole picture.
    pub(super) fn complete(&mut self) -> Vec<SourceEvent> {
        if self.complete || self.watches.values().any(|told| !told.complete) {
            return Vec::new();
        }
        self.complete = true;
        let objects = self.watches.values().flat_map(|told| told.objects.values().cloned());
        let init = objects.map(SourceEvent::InitApply);
        [SourceEvent::Init].into_iter().chain(init).chain([SourceEvent::InitDone]).collect()
    }

    /// All Problems, if they changed since they were taken the last time.
    pub(super) fn take_problems(&mut self, outage: Option<Problem>) -> Option<Vec<Problem>> {
        let own = self.watches.values().flat_map(|told| told.unreadable.values().chain(&told.fault).cloned());
        let problems: Vec<_> = outage.into_iter().chain(own).collect();
        (problems != self.problems).then(|| {
            self.problems.clone_from(&problems);
            problems
        })
    }
}

/// The server refused for good; of other faults it may think better in a moment.
fn may_not_read(problem: &Problem) -> bool {
    problem.code == code::API_FORBIDDEN
}

impl Told {
    fn found(&mut self, Entry { key, read }: Entry) {
        let object = match read {
            Ok(object) => {
                self.unreadable.remove(&key);
                object
            }
            Err(problem) => {
                self.unreadable.insert(key.clone(), *problem);
                // What was last read well stays in force.
                self.objects.get(&key).cloned()
            }
        };
        self.listing.get_or_insert_default().insert(key, object);
    }

    fn listed(&mut self) -> Vec<SourceEvent> {
        let listed = self.listing.take().unwrap_or_default();
        self.unreadable.retain(|key, _| listed.contains_key(key));
        let listed: Set = listed.into_iter().filter_map(|(key, object)| Some((key, object?))).collect();
        let gone = self.objects.keys().filter(|key| !listed.contains_key(key)).cloned().map(SourceEvent::Delete);
        let is_news = |(key, object): &(&ObjectKey, &Object)| !self.objects.get(key).is_some_and(|o| o.is_same(object));
        let changed = listed.iter().filter(is_news).map(|(_, object)| SourceEvent::Apply(object.clone()));
        let events = gone.chain(changed).collect();
        self.objects = listed;
        self.complete = true;
        self.fault = None;
        events
    }

    fn changed(&mut self, Entry { key, read }: Entry) -> Option<SourceEvent> {
        self.fault = None;
        match read {
            Ok(Some(object)) => {
                self.unreadable.remove(&key);
                let old = self.objects.insert(key, object.clone());
                (!old.is_some_and(|old| old.is_same(&object))).then_some(SourceEvent::Apply(object))
            }
            Ok(None) => self.gone(&key),
            Err(problem) => {
                self.unreadable.insert(key, *problem);
                None
            }
        }
    }

    fn gone(&mut self, key: &ObjectKey) -> Option<SourceEvent> {
        self.unreadable.remove(key);
        self.objects.remove(key).map(|_| SourceEvent::Delete(key.clone()))
    }
}
