//! An API server in memory, for what the real one of the tests is too old for, and for faults at a moment of our choice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::source::kube::Api;

/// An answer: what is there, then what comes.
type Answer = Response<StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// An API server in memory.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    /// By plural, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    /// Every change: revision, type, plural, object.
    history: VecDeque<(u64, &'static str, String, Value)>,
    revision: u64,
    watches: Vec<(Query, UnboundedSender<String>)>,
    /// Path and query of each request.
    pub(super) requests: Vec<String>,
    /// Minor version.
    pub(super) minor: u32,
    /// Nobody answers.
    pub(super) away: bool,
    /// Lists cannot be a part of watches, whatever the version.
    pub(super) refuses_streaming: bool,
    /// Plurals that must not be read.
    pub(super) forbidden: BTreeSet<&'static str>,
    /// Versions that are not served.
    pub(super) without: BTreeSet<&'static str>,
}

/// What a request asks for.
#[derive(Clone, Debug)]
struct Query {
    plural: String,
    namespace: Option<String>,
    parameters: BTreeMap<String, String>,
}

impl Fake {
    pub(super) fn api(&self) -> Api {
        let fake = self.clone();
        Api::over(tower::service_fn(move |request: Request<kube::client::Body>| {
            let answer = fake.answer(&request.uri().to_string());
            async move { answer }
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Creates or replaces an object.
    pub(super) fn put(&self, plural: &str, namespace: &str, name: &str, object: Value) {
        self.state().put(plural, namespace, name, object);
    }

    pub(super) fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let mut state = self.state();
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = state.objects.remove(&key).expect("it was there");
        state.revision += 1;
        object["metadata"]["resourceVersion"] = state.revision.to_string().into();
        state.changed("DELETED", plural, object);
    }

    /// Ends all connections.
    pub(super) fn cut(&self) {
        self.state().watches.clear();
    }

    /// Forgets what has changed so far, as a compaction does.
    pub(super) fn forget(&self) {
        self.state().history.clear();
    }

    /// Tells every watch how far it is.
    pub(super) fn bookmark(&self) {
        let state = self.state();
        for (_, watch) in &state.watches {
            let _ = watch.send(state.bookmark(&json!({})));
        }
    }

    fn answer(&self, uri: &str) -> Result<Answer, io::Error> {
        let mut state = self.state();
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        state.requests.push(uri.to_owned());
        if state.away {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
        }
        if path == "/version" {
            return Ok(whole(StatusCode::OK, &version(state.minor)));
        }
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let (group, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Ok(failure(404, "NotFound")),
        };
        if state.without.contains(group.as_str()) {
            return Ok(failure(404, "NotFound"));
        }
        let (namespace, plural) = match rest {
            [] => return Ok(whole(StatusCode::OK, &resources(&group))),
            ["namespaces", namespace, plural] => (Some((*namespace).to_owned()), (*plural).to_owned()),
            [plural] => (None, (*plural).to_owned()),
            _ => return Ok(failure(404, "NotFound")),
        };
        if state.forbidden.contains(plural.as_str()) {
            return Ok(failure(403, "Forbidden"));
        }
        let query = Query { plural, namespace, parameters: parameters(query) };
        Ok(if query.is("watch") { state.watch(query) } else { state.list(&query) })
    }
}

impl State {
    fn put(&mut self, plural: &str, namespace: &str, name: &str, mut object: Value) {
        self.revision += 1;
        object["metadata"]["name"] = name.into();
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        object["metadata"]["managedFields"] = json!([{"manager": "test"}]);
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let kind = if self.objects.insert(key, object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        self.changed(kind, plural, object);
    }

    fn changed(&mut self, kind: &'static str, plural: &str, object: Value) {
        let line = event(kind, &object);
        self.watches.retain(|(query, watch)| !query.matches(plural, &object) || watch.send(line.clone()).is_ok());
        self.history.push_back((self.revision, kind, plural.to_owned(), object));
    }

    fn bookmark(&self, annotations: &Value) -> String {
        let metadata = json!({"resourceVersion": self.revision.to_string(), "annotations": annotations});
        event("BOOKMARK", &json!({"kind": "X", "apiVersion": "v1", "metadata": metadata}))
    }

    fn found(&self, query: &Query) -> Vec<Value> {
        let objects = self.objects.iter().filter(|((plural, _, _), object)| query.matches(plural, object));
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// Pages are numbered by where they begin.
    fn list(&self, query: &Query) -> Answer {
        let number = |name| query.parameters.get(name).and_then(|text| text.parse::<usize>().ok());
        let found = self.found(query);
        let first = number("continue").unwrap_or(0);
        let end = number("limit").map_or(found.len(), |limit| (first + limit).min(found.len()));
        let more = if end < found.len() { end.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": self.revision.to_string(), "continue": more});
        let items = &found[first..end];
        whole(StatusCode::OK, &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn watch(&mut self, query: Query) -> Answer {
        let (sender, receiver) = unbounded_channel();
        if query.is("sendInitialEvents") {
            if self.refuses_streaming {
                return failure(422, "Invalid");
            }
            for object in self.found(&query) {
                let _ = sender.send(event("ADDED", &object));
            }
            let _ = sender.send(self.bookmark(&json!({"k8s.io/initial-events-end": "true"})));
        } else {
            let from: u64 = query.parameters["resourceVersion"].parse().expect("a revision");
            let known = self.history.front().map_or(self.revision, |(revision, ..)| revision - 1);
            if from < known {
                let _ = sender.send(event("ERROR", &status(410, "Expired")));
                return lines(StatusCode::OK, receiver);
            }
            for (_, kind, plural, object) in self.history.iter().filter(|(revision, ..)| *revision > from) {
                if query.matches(plural, object) {
                    let _ = sender.send(event(kind, object));
                }
            }
        }
        self.watches.push((query, sender));
        lines(StatusCode::OK, receiver)
    }
}

impl Query {
    fn is(&self, parameter: &str) -> bool {
        self.parameters.get(parameter).is_some_and(|value| value == "true" || value == "1")
    }

    fn matches(&self, plural: &str, object: &Value) -> bool {
        let fields = self.parameters.get("fieldSelector");
        let (field, value) = fields.and_then(|fields| fields.split_once('=')).unwrap_or_default();
        let pointer = format!("/{}", field.replace('.', "/"));
        plural == self.plural
            && self.namespace.as_ref().is_none_or(|namespace| object["metadata"]["namespace"] == **namespace)
            && (field.is_empty() || object.pointer(&pointer).is_some_and(|found| found == value))
    }
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.replace("%3D", "="))).collect()
}

fn version(minor: u32) -> Value {
    let texts = ["buildDate", "compiler", "gitCommit", "gitTreeState", "gitVersion", "goVersion", "platform"];
    let mut info = json!({"major": "1", "minor": minor.to_string()});
    for name in texts {
        info[name] = "".into();
    }
    info
}

fn resources(group: &str) -> Value {
    let names: &[&str] = match group.split('/').next() {
        Some("v1") => &["services", "nodes", "pods", "configmaps", "secrets", "namespaces"],
        Some("discovery.k8s.io") => &["endpointslices"],
        Some("weir.io") => &["addresspools", "announcements", "hostpolicies"],
        Some("networking.k8s.io") => &["ingresses", "ingressclasses"],
        _ => &["ingresses"],
    };
    let resource =
        |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "X", "verbs": []});
    let resources: Vec<_> = names.iter().map(resource).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources})
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code})
}

fn failure(code: u16, reason: &str) -> Answer {
    whole(StatusCode::from_u16(code).expect("a code"), &status(code, reason))
}

fn whole(code: StatusCode, body: &Value) -> Answer {
    let (sender, receiver) = unbounded_channel();
    let _ = sender.send(body.to_string());
    lines(code, receiver)
}

fn lines(code: StatusCode, receiver: UnboundedReceiver<String>) -> Answer {
    let next = |mut receiver: UnboundedReceiver<String>| async {
        let line = receiver.recv().await?;
        Some((Ok(Frame::data(Bytes::from(line))), receiver))
    };
    let stream: stream::BoxStream<'static, _> = Box::pin(stream::unfold(receiver, next));
    let mut answer = Response::new(StreamBody::new(stream));
    *answer.status_mut() = code;
    answer
}
