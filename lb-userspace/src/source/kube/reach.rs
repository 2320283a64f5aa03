//! Whether the API server answers: every read that goes to it passes here. A watch that begins well says nothing for a
//! long time, so its events alone could not tell when an outage is over.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::{Method, Request, Response};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

/// Paths that could not be read the last time.
pub(super) type Failing = BTreeMap<String, Failure>;

/// A read that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Why, in words.
    pub(super) why: String,
    /// When it was last tried.
    pub(super) tried: Instant,
}

/// A path that is needed is tried again far sooner; one that was not tried for so long is of no use any more.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Notes which paths of the API server cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    failing: watch::Sender<Failing>,
}

impl Default for Reach {
    fn default() -> Self {
        Reach { failing: watch::Sender::new(Failing::new()) }
    }
}

impl Reach {
    /// Tells changes.
    pub(super) fn watch(&self) -> watch::Receiver<Failing> {
        self.failing.subscribe()
    }

    /// Takes the outcome of one read.
    fn note(&self, path: String, failure: Option<String>) {
        let now = Instant::now();
        self.failing.send_if_modified(|failing| match failure {
            Some(why) => failing.insert(path, Failure { why, tried: now }).is_none(),
            None => {
                let before = failing.len();
                failing.retain(|failed, Failure { tried, .. }| *failed != path && now - *tried < FORGOTTEN);
                failing.len() != before
            }
        });
    }
}

impl<S> Layer<S> for Reach {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, reach: self.clone() }
    }
}

/// A connection to the API server whose answers are noted.
#[derive(Clone, Debug)]
pub(super) struct Observed<S> {
    inner: S,
    reach: Reach,
}

impl<S, Body, Answer> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let read = (request.method() == Method::GET).then(|| request.uri().path().to_owned());
        let (answer, reach) = (self.inner.call(request), self.reach.clone());
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            if let Some(path) = read {
                reach.note(path, failure(&answer));
            }
            answer
        })
    }
}

/// What counts as being away: no answer, or one that says that the server cannot do its work (5xx), as one does that has
/// lost its storage. That it refuses is an answer.
fn failure<Answer>(answer: &Result<Response<Answer>, BoxError>) -> Option<String> {
    match answer {
        Ok(response) if response.status().is_server_error() => Some(format!("it answers {}", response.status())),
        Ok(_) => None,
        Err(error) => Some(crate::telemetry::chain(error.as_ref())),
    }
}
