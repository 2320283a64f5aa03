//! The Kubernetes API as a source: lists and watches the kinds that are used, and says what changed in the words that
//! every source uses.
//!
//! One task follows one kind ([`follow`]); what they tell becomes one picture ([`picture`]), which knows what was said
//! before: after an outage, or when the server has forgotten what changed since, only what differs is said.

mod api;
mod discover;
mod follow;
mod outage;
mod pauses;
mod picture;
mod reach;
mod received;
mod references;
mod subject;

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

pub use api::{Api, ApiError};

use super::{ObjectKey, SourceEvent};
use follow::News;
use outage::Outage;
use picture::Picture;
use references::References;
use subject::{Subject, WatchId};

/// What is watched beside the kinds that always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose pods are watched.
    pub node_name: String,
    /// The weights that pods of all nodes ask for are of use, so all pods are watched.
    pub pod_weights: bool,
    /// Namespace and name of each ConfigMap that a flag names.
    pub config_maps: Vec<(String, String)>,
    /// The same of Secrets.
    pub secrets: Vec<(String, String)>,
}

/// News of all watches that wait for being taken in.
const QUEUE: usize = 1024;

/// Delivers what the API server holds, then every change, until nobody listens any more. `index` is the number of this
/// source among all sources. Whatever fails is tried again and told as a Problem meanwhile.
pub async fn run(api: Api, wanted: Wanted, index: usize, events: Sender<(usize, SourceEvent)>) {
    Follower::new(api, &wanted).run(index, events).await;
}

struct Follower {
    api: Api,
    picture: Picture,
    references: References,
    outage: Outage,
    watches: BTreeMap<WatchId, AbortHandle>,
    /// Those that do not end with a reference.
    always: BTreeSet<WatchId>,
    /// Where each watch tells its news, and where they arrive.
    tell: Sender<(WatchId, News)>,
    news: Receiver<(WatchId, News)>,
}

impl Follower {
    fn new(api: Api, wanted: &Wanted) -> Self {
        let (tell, news) = channel(QUEUE);
        let mut follower = Follower {
            api,
            picture: Picture::default(),
            references: References::default(),
            outage: Outage::default(),
            watches: BTreeMap::new(),
            always: BTreeSet::new(),
            tell,
            news,
        };
        for subject in subject::always(wanted) {
            follower.always.insert(subject.id());
            follower.watch(subject);
        }
        follower
    }

    async fn run(mut self, index: usize, events: Sender<(usize, SourceEvent)>) {
        let mut reach = self.api.reach().watch();
        loop {
            let reminder = self.outage.next_reminder();
            let told = tokio::select! {
                Some((id, news)) = self.news.recv() => self.take(&id, news),
                Ok(()) = reach.changed() => {
                    let failing = reach.borrow_and_update().clone();
                    self.outage.observe(failing, Instant::now());
                    Vec::new()
                }
                () = sleep_until(reminder.unwrap_or_else(Instant::now)), if reminder.is_some() => {
                    self.outage.remind(Instant::now());
                    Vec::new()
                }
                () = events.closed() => return,
            };
            let problems = self.picture.take_problems(self.outage.problem());
            for event in told.into_iter().chain(problems.map(SourceEvent::Problems)) {
                if events.send((index, event)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes news in and returns what the agent has to hear of it.
    fn take(&mut self, id: &WatchId, news: News) -> Vec<SourceEvent> {
        if !self.watches.contains_key(id) {
            // The last words of a watch that was ended.
            return Vec::new();
        }
        let mut events = self.picture.take(id, news);
        for event in &events {
            self.references.follow(event);
        }
        let (more, less) = self.references.take_changes();
        for id in less.iter().map(WatchId::named).filter(|id| !self.always.contains(id)).collect::<Vec<_>>() {
            events.extend(self.unwatch(&id));
        }
        for key in more {
            self.watch(Subject::named(&key));
        }
        let all = self.picture.complete();
        if !all.is_empty() {
            tracing::info!(objects = all.len() - 2, "everything was read once from the API server");
        }
        events.extend(all);
        events
    }

    fn watch(&mut self, subject: Subject) {
        let id = subject.id();
        if self.watches.contains_key(&id) {
            return;
        }
        self.picture.expect(id.clone());
        let task = tokio::spawn(follow::follow(self.api.clone(), subject, self.tell.clone()));
        self.watches.insert(id, task.abort_handle());
    }

    fn unwatch(&mut self, id: &WatchId) -> Vec<SourceEvent> {
        if let Some(task) = self.watches.remove(id) {
            task.abort();
        }
        self.picture.forget(id)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.watches.values().for_each(AbortHandle::abort);
    }
}

/// The object that a watch of one object is about.
fn named(kind: super::Kind, name: &(String, String)) -> ObjectKey {
    ObjectKey { kind, namespace: name.0.clone(), name: name.1.clone() }
}

#[cfg(test)]
mod tests;
