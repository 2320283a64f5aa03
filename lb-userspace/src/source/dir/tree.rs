//! What a directory holds as one set of objects, and what changed in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::DirError;
use super::files::{Manifest, unreadable};
use super::scan::{Listing, scan};
use crate::model::Problem;
use crate::model::problem::{self, code};
use crate::source::{Body, Kind, Object, ObjectKey, SourceEvent, derive};

/// What a look at the directory found.
enum Found {
    /// Nothing can have changed.
    Nothing,
    /// Files changed, or are gone with these objects.
    Files(Vec<Object>),
    /// There is more to it.
    More,
}

/// A directory as last read.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    manifests: BTreeMap<PathBuf, Manifest>,
    listing_problems: Vec<Problem>,
    objects: BTreeMap<ObjectKey, Object>,
    problems: Vec<Problem>,
    /// Directories that could not be read at the last look.
    unreadable: Vec<PathBuf>,
    unread: BTreeSet<PathBuf>,
    /// The directory itself could not be read at the last look.
    lost_root: bool,
}

impl Tree {
    /// A directory that has not been read yet.
    pub(super) fn new(root: &Path) -> Self {
        Tree {
            root: root.to_owned(),
            manifests: BTreeMap::new(),
            listing_problems: Vec::new(),
            objects: BTreeMap::new(),
            problems: Vec::new(),
            unreadable: Vec::new(),
            unread: BTreeSet::new(),
            lost_root: false,
        }
    }

    /// Reads everything.
    pub(super) fn first_picture(&mut self) -> Result<Vec<SourceEvent>, DirError> {
        let listing = scan(&self.root).map_err(|source| DirError::Unreadable { path: self.root.clone(), source })?;
        self.read(listing);
        let (objects, problems) = self.compose();
        let applies = objects.values().cloned().map(SourceEvent::InitApply);
        let mut events: Vec<_> = std::iter::once(SourceEvent::Init).chain(applies).collect();
        self.unread = self.never_understood();
        events.push(SourceEvent::Unread(self.unread.clone()));
        events.extend([SourceEvent::Problems(problems.clone()), SourceEvent::InitDone]);
        (self.objects, self.problems) = (objects, problems);
        Ok(events)
    }

    /// Reads what changed. If the directory itself cannot be read, what it held stays in force.
    pub(super) fn changes(&mut self) -> Vec<SourceEvent> {
        let (objects, problems) = match scan(&self.root) {
            Ok(listing) => match self.read(listing) {
                Found::Nothing => return Vec::new(),
                Found::Files(gone) => match self.direct(gone) {
                    Some(events) => return events,
                    None => self.compose(),
                },
                Found::More => self.compose(),
            },
            Err(error) => {
                self.lost_root = true;
                (self.objects.clone(), vec![unreadable(&self.root, &error)])
            }
        };
        let mut events = difference(&self.objects, &objects);
        if self.problems != problems {
            events.push(SourceEvent::Problems(problems.clone()));
        }
        let unread = self.never_understood();
        if self.unread != unread {
            // After the objects, so that they are known when nothing is held for them any more.
            events.push(SourceEvent::Unread(unread.clone()));
            self.unread = unread;
        }
        (self.objects, self.problems) = (objects, problems);
        events
    }

    /// Reads the manifests of a listing.
    fn read(&mut self, listing: Listing) -> Found {
        let mut before = std::mem::take(&mut self.manifests);
        for path in &listing.files {
            self.manifests.insert(path.clone(), Manifest::read(path, before.remove(path)));
        }
        let hidden = |path: &Path| listing.unreadable.iter().any(|directory| path.starts_with(directory));
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = before.into_iter().partition(|(path, _)| hidden(path));
        let fresh = self.manifests.values().any(|manifest| manifest.fresh);
        let good = gone.values().all(|manifest| manifest.problems.is_empty());
        let more =
            self.listing_problems != listing.problems || self.lost_root || !listing.unreadable.is_empty() || !good;
        let found = match (more, fresh || !gone.is_empty()) {
            (true, _) => Found::More,
            (false, true) => Found::Files(gone.into_values().flat_map(|manifest| manifest.objects).collect()),
            (false, false) => Found::Nothing,
        };
        self.manifests.extend(kept);
        self.listing_problems = listing.problems;
        self.unreadable = listing.unreadable;
        self.lost_root = false;
        found
    }

    /// What changed, where that is objects from which none is derived, in files with which nothing is or was wrong, and no
    /// object stands in two files: all that has not changed is not looked at, which would take longer than the rest.
    fn direct(&mut self, gone: Vec<Object>) -> Option<Vec<SourceEvent>> {
        if self.problems.iter().any(|problem| problem.code == code::OBJECT_DUPLICATE) {
            return None;
        }
        let mut before: BTreeMap<_, _> = gone.into_iter().map(|object| (object.key(), object)).collect();
        let mut now = BTreeMap::new();
        for manifest in self.manifests.values().filter(|manifest| manifest.fresh) {
            if !manifest.problems.is_empty() {
                return None;
            }
            before.extend(manifest.before.as_ref()?.iter().map(|object| (object.key(), object.clone())));
            for object in &manifest.objects {
                if now.insert(object.key(), object.clone()).is_some() {
                    return None;
                }
            }
        }
        let in_another_file = now.keys().any(|key| !before.contains_key(key) && self.objects.contains_key(key));
        let events = difference(&before, &now);
        let alone = |event: &SourceEvent| match event {
            SourceEvent::Apply(object) => stands_alone(before.get(&object.key()), Some(object)),
            SourceEvent::Delete(key) => stands_alone(before.get(key), None),
            _ => false,
        };
        if in_another_file || !events.iter().all(alone) {
            return None;
        }
        for event in &events {
            match event {
                SourceEvent::Apply(object) => drop(self.objects.insert(object.key(), object.clone())),
                SourceEvent::Delete(key) => drop(self.objects.remove(key)),
                _ => {}
            }
        }
        Some(events)
    }

    /// Manifests that were not once read well, and directories of which nothing was ever read.
    fn never_understood(&self) -> BTreeSet<PathBuf> {
        let files = self.manifests.iter().filter(|(_, manifest)| !manifest.understood).map(|(path, _)| path);
        let known = |directory: &&PathBuf| self.manifests.keys().any(|path| path.starts_with(directory));
        let directories = self.unreadable.iter().filter(|directory| !known(directory));
        files.chain(directories).cloned().collect()
    }

    /// One set of all objects; the file whose path comes first counts where an object is given twice.
    fn compose(&self) -> (BTreeMap<ObjectKey, Object>, Vec<Problem>) {
        let mut objects: BTreeMap<ObjectKey, Object> = BTreeMap::new();
        let mut problems = self.listing_problems.clone();
        for manifest in self.manifests.values() {
            problems.extend(manifest.problems.iter().cloned());
            for object in &manifest.objects {
                match objects.get(&object.key()) {
                    None => drop(objects.insert(object.key(), object.clone())),
                    Some(first) => problems.push(given_twice(first, object)),
                }
            }
        }
        let slices = derive::slices(&objects);
        objects.extend(slices.into_iter().map(|slice| (slice.key(), slice)));
        problem::sort(&mut problems);
        (objects, problems)
    }
}

fn difference(before: &BTreeMap<ObjectKey, Object>, after: &BTreeMap<ObjectKey, Object>) -> Vec<SourceEvent> {
    let unchanged = |key, object: &Object| before.get(key).is_some_and(|before| before.is_same(object));
    let applied = after.iter().filter(|(key, object)| !unchanged(*key, object));
    let deleted = before.keys().filter(|key| !after.contains_key(*key));
    let applied = applied.map(|(_, object)| SourceEvent::Apply(object.clone()));
    applied.chain(deleted.map(|key| SourceEvent::Delete(key.clone()))).collect()
}

/// No slice is derived from it, and none in its place ([`derive`]).
fn stands_alone(before: Option<&Object>, now: Option<&Object>) -> bool {
    let service = |object: Option<&Object>| match &object?.body {
        Body::EndpointSlice(slice) => slice.service().map(str::to_owned),
        _ => None,
    };
    match before.or(now).map(|object| object.body.kind()) {
        Some(Kind::Ingress | Kind::IngressClass | Kind::Secret | Kind::ConfigMap | Kind::Namespace) => true,
        Some(kind) if kind.is_own() => true,
        Some(Kind::EndpointSlice) => before.is_some() && now.is_some() && service(before) == service(now),
        _ => false,
    }
}

fn given_twice(first: &Object, second: &Object) -> Problem {
    let place = |object: &Object| match &object.origin {
        Some(origin) => format!("{}:{}", origin.file.display(), origin.lines.line),
        None => "elsewhere".to_owned(),
    };
    let what = format!("given twice: in {} and in {}; the first counts", place(first), place(second));
    let problem = Problem::warning(code::OBJECT_DUPLICATE, &second.key().reference(), what);
    match &second.origin {
        Some(origin) => problem.in_file(&*origin.file, Some(origin.lines.line)),
        None => problem,
    }
}
