//! One watch, for as long as its objects are of use: finds the version that the server has, lists, watches, and begins
//! again where it must. `kube` pages the list, asks for bookmarks, and lists anew when the server has forgotten what
//! changed since (410).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::core::{ApiResource, TypeMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc::Sender;

use super::api::Api;
use super::discover::plural;
use super::pauses::Pauses;
use super::received::Received;
use super::subject::{Subject, WatchId};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::kinds::{EndpointSlice, Pod, SERVICE_NAME_LABEL, WEIGHT};
use crate::source::{Body, Object, ObjectKey, parse};

/// Objects in one answer to a list.
const PAGE: u32 = 500;
/// The server ends a watch after so long, and we begin it again where it ended; 5 s later a connection that is silently
/// dead is given up.
const WATCH_SECONDS: u32 = 60;
/// There are many watches of single objects.
const WATCH_ONE_SECONDS: u32 = 290;
/// A kind that a server does not have may come with its next version.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Our own kinds come when somebody installs them, and waits for them.
const LOOK_AGAIN_FOR_OWN: Duration = Duration::from_secs(20);

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// A list begins. What was told before holds until [`News::Listed`].
    Listing,
    /// An object of the list.
    Found(Box<Entry>),
    /// The list is complete.
    Listed,
    /// An object is new or has changed.
    Changed(Box<Entry>),
    /// An object is gone.
    Gone(ObjectKey),
    /// The server does not have the kind: there are no objects.
    NotServed,
    /// The server refuses; or no longer.
    Fault(Option<Problem>),
}

/// An object: as read; not of use (`None`); or why it cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    pub(super) read: Result<Option<Object>, Box<Problem>>,
}

/// Nobody listens any more.
struct Unheard;

/// Follows a subject until nobody listens any more.
pub(super) async fn follow(api: Api, subject: Subject, news: Sender<(WatchId, News)>) {
    let watch = Watch { api, id: subject.id(), subject, news };
    let mut pauses = Pauses::default();
    loop {
        let ended = match watch.api.discover(watch.subject.kind).await {
            Ok(Some(resource)) => {
                pauses = Pauses::default();
                watch.run(&resource).await
            }
            Ok(None) => {
                let told = watch.tell(News::NotServed).await;
                let is_own = watch.subject.kind.is_own();
                tokio::time::sleep(if is_own { LOOK_AGAIN_FOR_OWN } else { LOOK_AGAIN }).await;
                told
            }
            Err(error) => {
                let told = watch.fault(&error).await;
                tokio::time::sleep(pauses.longer()).await;
                told
            }
        };
        if ended.is_err() {
            return;
        }
    }
}

struct Watch {
    api: Api,
    id: WatchId,
    subject: Subject,
    news: Sender<(WatchId, News)>,
}

impl Watch {
    /// Lists and watches, until the server no longer has the version.
    async fn run(&self, resource: &ApiResource) -> Result<(), Unheard> {
        let streaming = self.api.streams_lists().await;
        let objects = match &self.subject.one {
            Some(key) => kube::Api::namespaced_with(self.api.client(), &key.namespace, resource),
            None => kube::Api::<Received>::all_with(self.api.client(), resource),
        };
        let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
        let mut events = pin!(watcher::watcher(objects, self.config(streaming)).backoff(Pauses::default()));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.tell(self.news_of(event, &types)).await?,
                Err(error) => match Refusal::of(&error) {
                    Refusal::NotServed => return Ok(()),
                    Refusal::NoStreaming if streaming => {
                        self.api.never_stream_lists();
                        return Ok(());
                    }
                    Refusal::Told(error) => self.fault(error).await?,
                    Refusal::NoStreaming | Refusal::Transient => tracing::debug!(%error, id = ?self.id, "watch"),
                },
            }
        }
        Ok(())
    }

    fn config(&self, streaming: bool) -> watcher::Config {
        let seconds = if self.subject.one.is_some() { WATCH_ONE_SECONDS } else { WATCH_SECONDS };
        let mut config = watcher::Config::default().timeout(seconds).page_size(PAGE);
        config.field_selector.clone_from(&self.subject.fields);
        if streaming { config.streaming_lists() } else { config }
    }

    fn news_of(&self, event: Event<Received>, types: &TypeMeta) -> News {
        match event {
            Event::Init => News::Listing,
            Event::InitApply(received) => News::Found(Box::new(self.entry(&received, types))),
            Event::InitDone => News::Listed,
            Event::Apply(received) => News::Changed(Box::new(self.entry(&received, types))),
            Event::Delete(received) => News::Gone(self.key(&received)),
        }
    }

    fn entry(&self, received: &Received, types: &TypeMeta) -> Entry {
        let read = parse::object(self.subject.kind, types, &received.document);
        let of_all_nodes = self.subject.fields.is_none();
        let useful = |body| useful(body, of_all_nodes).map(|body| Object { body, origin: None });
        Entry { key: self.key(received), read: read.map(useful) }
    }

    fn key(&self, received: &Received) -> ObjectKey {
        let (namespace, name) = received.names();
        ObjectKey { kind: self.subject.kind, namespace, name }
    }

    async fn fault(&self, error: &kube::Error) -> Result<(), Unheard> {
        match error {
            kube::Error::Api(status) if matches!(status.code, 400..=499) => {
                let what = format!("the API server refuses to list and watch {}: {}", self.words(), status.message);
                let problem = match status.code {
                    401 | 403 => Problem::error(code::API_FORBIDDEN, &ObjectRef::default(), what)
                        .expected("the rights of the ClusterRole that comes with weir"),
                    _ => Problem::error(code::API_REFUSED, &ObjectRef::default(), what),
                };
                self.tell(News::Fault(Some(problem))).await
            }
            // That the server cannot be reached is told once for all watches.
            error => {
                tracing::debug!(%error, id = ?self.id, "watch");
                Ok(())
            }
        }
    }

    fn words(&self) -> String {
        match &self.subject.one {
            Some(key) => key.reference().to_string(),
            None => plural(self.subject.kind).to_owned(),
        }
    }

    async fn tell(&self, news: News) -> Result<(), Unheard> {
        self.news.send((self.id.clone(), news)).await.map_err(|_| Unheard)
    }
}

/// What a failure means.
enum Refusal<'a> {
    /// This version of the kind is gone.
    NotServed,
    /// The list cannot be part of the watch.
    NoStreaming,
    /// An administrator has to do something.
    Told(&'a kube::Error),
    /// Connections end and servers forget.
    Transient,
}

impl<'a> Refusal<'a> {
    fn of(error: &'a watcher::Error) -> Self {
        let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
            return Refusal::Transient;
        };
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Refusal::NotServed,
                400 | 422 => Refusal::NoStreaming,
                401 | 403 => Refusal::Told(error),
                _ => Refusal::Transient,
            },
            _ => Refusal::Transient,
        }
    }
}

/// Keeps only what is of use: of pods those with host ports, and where the pods of all nodes are read those with weights:
/// weights that only their own node knew would give each node another ring; of nodes and namespaces only annotations of
/// our own; of slices what [`trim`] leaves.
fn useful(body: Body, of_all_nodes: bool) -> Option<Body> {
    match body {
        Body::EndpointSlice(mut slice) => {
            trim(Arc::make_mut(&mut slice));
            Some(Body::EndpointSlice(slice))
        }
        Body::Pod(mut pod) => {
            let inner = Arc::make_mut(&mut pod);
            inner.metadata.annotations.retain(|name, _| of_all_nodes && name == WEIGHT);
            inner.metadata.labels.clear();
            (has_host_ports(inner) || !inner.metadata.annotations.is_empty()).then_some(Body::Pod(pod))
        }
        Body::Node(mut node) => {
            Arc::make_mut(&mut node).metadata.annotations.retain(|name, _| name.starts_with("weir.io/"));
            Some(Body::Node(node))
        }
        Body::Namespace(mut namespace) => {
            Arc::make_mut(&mut namespace).metadata.annotations.retain(|name, _| name.starts_with("weir.io/"));
            Some(Body::Namespace(namespace))
        }
        body => Some(body),
    }
}

/// There are ten times as many endpoints as anything else, so they are kept small: the node by its name alone, and no
/// namespace of a pod where it is that of the slice.
fn trim(slice: &mut EndpointSlice) {
    let metadata = &mut slice.metadata;
    metadata.labels.retain(|name, _| name == SERVICE_NAME_LABEL);
    metadata.annotations.retain(|name, _| name.starts_with("weir.io/"));
    (metadata.uid, metadata.creation_timestamp, metadata.generation) = (None, None, None);
    for endpoint in &mut slice.endpoints {
        endpoint.node_name = endpoint.node().map(str::to_owned);
        endpoint.topology.clear();
        // Consumers take the first (API documentation of EndpointSlice).
        endpoint.addresses.truncate(1);
        endpoint.addresses.shrink_to_fit();
        if let Some(target) = endpoint.target_ref.as_mut().filter(|target| target.namespace == metadata.namespace) {
            target.namespace = String::new();
        }
    }
    slice.endpoints.shrink_to_fit();
}

fn has_host_ports(pod: &Pod) -> bool {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    containers.flat_map(|container| &container.ports).any(|port| port.host_port.is_some_and(|number| number != 0))
}
