//! Events for Problems, so that `kubectl describe` shows them: one for each Problem of an object, counted up when it comes
//! back, and at most so many at a time.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, ObjectMeta};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::lease::wall;
use crate::model::{Problem, Severity};
use crate::sink::{Change, Sink};
use crate::source::Kind;
use crate::source::kube::Api;

/// Events that may be written at once ...
const BURST: u32 = 25;
/// ... and how soon another one may.
const EACH: Duration = Duration::from_secs(5);
/// Problems that wait to be written; a cluster with more has other worries.
const WAITING: usize = 1000;
/// An Event's note may be that long.
const MAX_NOTE: usize = 1000;

/// How the Problems changed.
pub(super) struct News {
    appeared: Vec<Problem>,
    resolved: Vec<Problem>,
}

/// Takes Problems to the writer.
#[derive(Debug)]
pub struct EventSink(UnboundedSender<News>);

impl EventSink {
    pub(super) fn new() -> (Self, UnboundedReceiver<News>) {
        let (sender, receiver) = unbounded_channel();
        (EventSink(sender), receiver)
    }
}

impl Sink for EventSink {
    fn accept(&mut self, change: &Change) {
        let News { appeared, resolved } =
            News { appeared: of_objects(&change.appeared), resolved: of_objects(&change.resolved) };
        if !appeared.is_empty() || !resolved.is_empty() {
            let _ = self.0.send(News { appeared, resolved });
        }
    }
}

/// An Event is about an object in a namespace; infos are for those who ask.
fn of_objects(problems: &[Problem]) -> Vec<Problem> {
    let is_of_object = |problem: &&Problem| {
        let object = &problem.object;
        object.kind.is_some()
            && (object.namespace.is_some() || is_own(object))
            && object.name.is_some()
            && problem.severity != Severity::Info
    };
    problems.iter().filter(is_of_object).cloned().collect()
}

/// What is to be written, what was, and how much more may be.
pub(super) struct Events {
    api: Api,
    node: String,
    waiting: VecDeque<Problem>,
    /// How often each was written, by the name of its Event.
    counts: BTreeMap<String, i32>,
    budget: Budget,
}

impl Events {
    pub(super) fn new(api: Api, node: &str) -> Self {
        Self {
            api,
            node: node.to_owned(),
            waiting: VecDeque::new(),
            counts: BTreeMap::new(),
            budget: Budget::default(),
        }
    }

    /// Queues what appeared, and forgets what was resolved before it was written.
    pub(super) fn take(&mut self, news: News) {
        self.waiting.retain(|waiting| !news.resolved.contains(waiting));
        self.waiting.extend(news.appeared);
        self.waiting.truncate(WAITING);
    }

    /// Writes as many as may be written now.
    pub(super) async fn write(&mut self, now: Instant) {
        while !self.waiting.is_empty() && self.budget.take(now) {
            let Some(problem) = self.waiting.pop_front() else { return };
            match self.write_one(&problem).await {
                Ok(()) => {}
                Err(kube::Error::Api(status)) => tracing::debug!(%status, "an Event was refused"),
                Err(error) => {
                    tracing::debug!(%error, "an Event could not be written");
                    self.waiting.push_front(problem);
                    return;
                }
            }
        }
    }

    async fn write_one(&mut self, problem: &Problem) -> kube::Result<()> {
        let Some(event) = self.event(problem).await? else { return Ok(()) };
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let name = event.metadata.name.clone().unwrap_or_default();
        let events = kube::Api::<Event>::namespaced(self.api.client(), &namespace);
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        match events.create(&PostParams::default(), &event).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let again = json!({"count": *count, "lastTimestamp": event.last_timestamp, "message": event.message});
                events.patch(&name, &PatchParams::default(), &Patch::Merge(&again)).await.map(drop)
            }
            written => written.map(drop),
        }
    }

    /// The Event, if its object still exists. `kubectl describe` finds Events by the uid.
    async fn event(&self, problem: &Problem) -> kube::Result<Option<Event>> {
        let object = &problem.object;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let Some(kind) = object.kind.as_deref().and_then(Kind::from_name) else { return Ok(None) };
        let Some(resource) = self.api.discover(kind).await? else { return Ok(None) };
        let (namespace, name) = (text(&object.namespace), text(&object.name));
        let objects = match kind.is_namespaced() {
            true => kube::Api::<DynamicObject>::namespaced_with(self.api.client(), &namespace, &resource),
            false => kube::Api::<DynamicObject>::all_with(self.api.client(), &resource),
        };
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let Some(found) = objects.list_metadata(&named).await?.items.into_iter().next() else { return Ok(None) };
        let now = Time(wall());
        Ok(Some(Event {
            metadata: ObjectMeta {
                name: Some(event_name(problem)),
                // Events about objects without a namespace are kept there.
                namespace: Some(if namespace.is_empty() { "default".to_owned() } else { namespace.clone() }),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(resource.api_version),
                kind: Some(resource.kind),
                namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
                name: Some(name),
                uid: found.metadata.uid,
                field_path: problem.field.clone(),
                ..ObjectReference::default()
            },
            type_: Some("Warning".to_owned()),
            reason: Some(reason(&problem.code)),
            message: Some(problem.message.chars().take(MAX_NOTE).collect()),
            source: Some(EventSource { component: Some("weir".to_owned()), host: Some(self.node.clone()) }),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            ..Event::default()
        }))
    }
}

/// Of our own kinds, which have no namespace.
fn is_own(object: &crate::model::ObjectRef) -> bool {
    object.kind.as_deref().and_then(Kind::from_name).is_some_and(Kind::is_own)
}

/// The same for the same Problem, whichever agent writes it.
fn event_name(problem: &Problem) -> String {
    let mut hasher = DefaultHasher::new();
    (&problem.object, &problem.code, &problem.field, &problem.value).hash(&mut hasher);
    format!("{}.{:016x}", problem.object.name.as_deref().unwrap_or_default(), hasher.finish())
}

/// `port-invalid` is `PortInvalid`.
pub(super) fn reason(code: &str) -> String {
    code.split('-')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        })
        .collect()
}

/// A bucket of tokens.
#[derive(Debug, Default)]
struct Budget {
    spent: u32,
    since: Option<Instant>,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let back = u32::try_from((now - since).as_secs() / EACH.as_secs()).unwrap_or(u32::MAX);
        if back > 0 {
            self.spent = self.spent.saturating_sub(back);
            self.since = Some(since + EACH * back);
        }
        let may = self.spent < BURST;
        self.spent += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectRef;

    #[test]
    fn a_burst_is_written_and_then_one_at_a_time() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let taken = |budget: &mut Budget, now| (0..100).filter(|_| budget.take(now)).count();
        assert_eq!(taken(&mut budget, start), 25);
        assert_eq!(taken(&mut budget, start + EACH - Duration::from_secs(1)), 0);
        assert_eq!(taken(&mut budget, start + EACH), 1);
        assert_eq!(taken(&mut budget, start + 11 * EACH), 10);
        assert_eq!(taken(&mut budget, start + 1000 * EACH), 25);
    }

    #[test]
    fn the_name_is_that_of_the_problem_and_the_reason_one_word() {
        let owner = ObjectRef::new("Service", "a", "web");
        let problem = Problem::error("port-invalid", &owner, "x").at("spec.ports[0].port", 0);
        assert_eq!(event_name(&problem), event_name(&problem.clone()));
        assert!(event_name(&problem).starts_with("web."));
        assert_ne!(event_name(&problem), event_name(&problem.clone().at("spec.ports[1].port", 0)));
        assert_eq!(reason(&problem.code), "PortInvalid");
    }

    #[test]
    fn only_warnings_and_errors_of_objects_are_events() {
        let owner = ObjectRef::new("Service", "a", "web");
        let problems = [
            Problem::error("x", &owner, "x"),
            Problem::info("y", &owner, "y"),
            Problem::warning("z", &ObjectRef::default(), "z"),
        ];
        let (mut sink, mut news) = EventSink::new();
        sink.accept(&Change { appeared: problems.to_vec(), ..Change::default() });
        let codes: Vec<_> = news.try_recv().unwrap().appeared.into_iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["x"]);
    }
}
