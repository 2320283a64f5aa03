//! One request: route it, pick an endpoint, send it on, pass the answer back.

use std::cell::Cell;
use std::rc::Rc;

use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri};
use tokio::sync::Notify;

use super::answer::Answer;
use super::balance::{Endpoints, Picker, Sticky};
use super::body::{ClientBody, ResponseBody};
use super::canary::by_weight;
use super::destination::{self, Destination};
use super::exchange::{Exchange, Relayed};
use super::filter::{self, After, Pages, Seen, Silent};
use super::forward::Ends;
use super::grpc;
use super::guard::{Handle, Refusal};
use super::http2::activity::{self, Activity};
use super::record::{Record, head_bytes};
use super::routing::{self, Routed, Unrouted};
use super::rules::Rule;
use super::settings::X_REQUEST_ID;
use super::table::External;
use super::tunnel::{Both, Heir, Side};
use super::worker::{View, Worker};
use crate::clock;
use crate::model::PathMatch;

/// What a client's connection is to its requests.
#[derive(Debug)]
pub struct Client {
    /// Both ends.
    pub ends: Ends,
    /// The guard in front of it; one that does nothing where HTTP/2 is spoken.
    pub guard: Handle,
    /// What goes on beside a request, where a connection has several at once.
    activity: Option<Rc<Activity>>,
    /// Who takes the connection over when the answer to its request has gone out; `None`: nobody can.
    heir: Option<Rc<Heir>>,
    served: Cell<u64>,
    last: Notify,
}

impl Client {
    /// Before the first request.
    pub fn new(ends: Ends, guard: Handle) -> Self {
        Client { ends, guard, activity: None, heir: None, served: Cell::new(0), last: Notify::new() }
    }

    /// The same of a connection that has one request at a time, and can become a tunnel.
    pub(super) fn alone(ends: Ends, guard: Handle) -> Self {
        Client { heir: Some(Rc::default()), ..Client::new(ends, guard) }
    }

    /// The same of a connection that has several requests at once.
    pub(super) fn over_streams(ends: Ends, activity: Rc<Activity>) -> Self {
        Client { activity: Some(activity), ..Client::new(ends, Handle::default()) }
    }

    /// Ends when the connection has had as many requests as it may have.
    pub async fn last(&self) {
        self.last.notified().await;
    }

    /// A tunnel begins, to whose end the connection is not idle.
    pub(super) fn tunnels(&self) -> Option<activity::Place> {
        self.activity.as_ref().map(Activity::enter)
    }

    /// The client's side of a tunnel, for when the answer has gone out.
    pub(super) fn awaits_tunnel(&self) -> Option<Side> {
        self.heir.as_ref().map(|heir| heir.expect())
    }

    /// The answer has gone out after which the connection is a tunnel.
    pub(super) fn hand_over(&self, connection: Box<dyn Both>) {
        if let Some(heir) = &self.heir {
            heir.hand_over(connection);
        }
    }

    /// It has had a request.
    pub fn has_been_served(&self) -> bool {
        self.served.get() > 0
    }

    /// The same connection, for one request of whose ends a proxy tells.
    fn told(&self, ends: Ends) -> Self {
        let (activity, heir) = (self.activity.clone(), self.heir.clone());
        Client { activity, heir, served: self.served.clone(), ..Client::new(ends, self.guard.clone()) }
    }
}

/// Answers a request. Never fails: what goes wrong becomes an answer.
pub async fn answer(worker: Rc<Worker>, client: Rc<Client>, request: Request<ClientBody>) -> Response<ResponseBody> {
    let view = worker.view();
    let settings = &view.router.settings;
    let told = settings.ends(&client.ends, request.headers());
    let nobody = told.as_ref().err().copied();
    // What only requests through proxies have takes no memory of the others.
    let told = told.ok().flatten().map(|ends| Box::new(client.told(ends)));
    let asker = told.as_deref().unwrap_or(&client);
    client.served.set(client.served.get() + 1);
    let refusal = client.guard.refusal().or_else(|| request.extensions().get::<Refusal>().copied());
    let (mut head, body) = request.into_parts();
    // Of what the client sent: what is put into it now is ours.
    let came = head_bytes(settings, &head);
    #[cfg(feature = "otlp")]
    let span = worker.spans.begin(&mut head, &asker.ends, &settings.asked.spans, worker.random());
    settings.prepare(&mut head, client.ends.client.ip());
    let mut record = Record::new(&worker, &view, &head, came, &asker.ends);
    #[cfg(feature = "otlp")]
    record.trace(span.map(|span| span.identified(&head.headers)));
    let id = head.headers.get(X_REQUEST_ID).cloned();
    let mut after = After::new(settings, &head, &asker.ends);
    let accepts = settings.accepts(&head);
    let is_call = grpc::is_call(&head);
    let result = match (refusal, nobody) {
        (Some(refusal), _) => {
            record.refused();
            Err(Answer::refused(refusal))
        }
        (None, Some(why)) => {
            record.refused();
            Err(Answer::no_client(why))
        }
        (None, None) if settings.blocks(asker.ends.client, &head.headers) => Err(Answer::forbidden()),
        (None, None) => forward(&worker, &view, asker, (head, body), &mut record, &mut after).await,
    };
    let mut response = match result {
        Ok(mut relayed) => {
            settings.hide(relayed.response.headers_mut());
            record.answered(relayed.response.status().as_u16());
            let status = relayed.response.status();
            let encoder = accepts.and_then(|accepts| accepts.apply(status, relayed.response.headers_mut()));
            relayed.into_response(record, encoder, after.pace(), after.take_flight())
        }
        Err(answer) => {
            worker.counters.hit(answer.limit);
            own(answer, id, record, is_call)
        }
    };
    let status = response.status();
    after.apply(status, response.headers_mut());
    settings.sign(response.headers_mut());
    #[cfg(feature = "http3")]
    super::http3::offer(&worker, &client.ends, response.headers_mut());
    let last = client.served.get() >= settings.requests_per_connection();
    if last {
        client.last.notify_one();
    }
    if (last || worker.is_draining()) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.body().wants_headers() {
        let headers = std::mem::take(response.headers_mut());
        response.body_mut().goes_with(&headers);
        *response.headers_mut() = headers;
    }
    response
}

/// An answer of our own as a response. Errors tell the id of the request, by which it is found in the log, and callers of
/// gRPC get them in their terms; log and metrics tell what they stand for.
fn own(mut answer: Answer, id: Option<HeaderValue>, mut record: Record, is_call: bool) -> Response<ResponseBody> {
    record.answered(answer.status.as_u16());
    answer.name(id.as_ref());
    let answer = if is_call { grpc::translate(answer) } else { answer };
    let empty = answer.text.is_empty();
    let mut response = Response::new(ResponseBody::text(answer.text, record));
    *response.status_mut() = answer.status;
    // A page of a service brings its own type.
    if !empty && !answer.headers.iter().any(|(name, _)| *name == CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    }
    for (name, value) in answer.headers {
        response.headers_mut().append(name, value);
    }
    if answer.close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn forward(
    worker: &Rc<Worker>,
    view: &View,
    client: &Client,
    (mut head, body): (Parts, ClientBody),
    record: &mut Record,
    after: &mut After,
) -> Result<Relayed, Answer> {
    let routed = route(view, &head, &client.ends, after);
    let has_rule = routed.as_ref().is_ok_and(|(rule, _)| rule.entry.path != PathMatch::Default);
    if !has_rule && view.router.settings.asked.log.skip_default {
        record.silence();
    }
    if routed.as_ref().is_err_and(|answer| answer.close) {
        // Its path is refused; its line tells what was asked for.
        worker.counters.refused.increment();
    }
    let (rule, target) = routed?;
    record.route(rule);
    note(rule, &head, &target, record);
    let Some(pages) = rule.entry.filters.errors.as_deref() else {
        return send(worker, view, client, rule, target, (&mut head, body), record, after).await;
    };
    let result = Box::pin(send(worker, view, client, rule, target, (&mut head, body), record, after)).await;
    let pages = Pages { asked: pages, seen: Seen { rule, head: &head, ends: &client.ends } };
    Box::pin(pages.replace(result, worker, view)).await
}

/// To the backend of its rule.
#[expect(clippy::too_many_arguments, reason = "the request with all that it needs, passed on once")]
async fn send(
    worker: &Rc<Worker>,
    view: &View,
    client: &Client,
    rule: &Rule,
    target: Uri,
    (head, body): (&mut Parts, ClientBody),
    record: &mut Record,
    after: &mut After,
) -> Result<Relayed, Answer> {
    let seen = Seen { rule, head, ends: &client.ends };
    let mut outbound = filter::before(&seen, &body, worker, view, after, &mut Silent).await?;
    view.router.settings.complete(&mut outbound, &seen);
    let mut destination = destination::of(rule, view, head, |canary| by_weight(canary, worker.random()));
    if destination.is_none() {
        destination = destination::stand_in(rule, view);
        outbound.headers.extend(destination.iter().flat_map(|_| filter::stand_in(&seen)));
    }
    let Some(Destination { upstream, turn, balance, affinity }) = destination else {
        return Err(Answer::unavailable(&rule.entry, host_of(head), head.uri.path()));
    };
    record.upstream(&upstream.name, rule);
    let named;
    let addresses = match &upstream.external {
        None => &*upstream.endpoints,
        Some(External { host, port }) => {
            named = Box::pin(destination::resolve(worker, host, *port)).await;
            named.as_deref().map_err(|error| Answer::unresolved(&rule.entry, host, *error))?
        }
    };
    let mirror = rule.entry.filters.mirror.as_deref();
    let copy = mirror.and_then(|mirror| filter::copy(mirror, rule, head, &client.ends, &outbound));
    let transport = destination::transport(rule, upstream, &client.ends);
    let ties = balance.map(|balance| filter::ties(balance, affinity, rule, head, &client.ends)).unwrap_or_default();
    let unhealthy = rule.health.map(|kind| (kind, worker.unhealthy()));
    let endpoints = Endpoints {
        addresses,
        weights: upstream.weights.as_deref(),
        pool: &worker.pool,
        unhealthy: unhealthy.as_ref().map(|(kind, unhealthy)| (*kind, &**unhealthy)),
    };
    let sticky = affinity.map(|affinity| Sticky::new(affinity, ties.cookie, &upstream.name, worker.random()));
    let mut picker = Picker::new(endpoints, balance, ties.hash, sticky, turn);
    let mut exchange = Exchange::new(worker, client, rule, head, body, target, outbound).over(transport).copied(copy);
    let result = exchange.run(&mut picker, record).await;
    if let (Some(affinity), Some(value), Ok(_)) = (affinity, picker.tell(), &result)
        && let Some(cookie) = filter::set_cookie(
            affinity,
            &upstream.name,
            value,
            &rule.entry.path,
            ties.secure,
            exchange.headers(),
            clock::wall(),
        )
    {
        after.add(cookie);
    }
    result
}

/// What the route says about logs.
fn note(rule: &Rule, head: &Parts, target: &Uri, record: &mut Record) {
    let logs = rule.entry.filters.logs;
    if logs.no_access {
        record.silence();
    }
    if logs.rewrites && head.uri.path() != target.path() {
        tracing::info!(ingress = rule.entry.ingress, from = ?head.uri.path(), to = ?target.path(), "path rewritten");
    }
}

/// The guard has seen to it that a target in absolute form names the same host.
pub fn host_of(head: &Parts) -> &str {
    let target = || head.uri.authority().map_or("", |authority| authority.as_str());
    head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_else(target)
}

/// The rule, and the target to send.
fn route<'a>(view: &'a View, head: &Parts, ends: &Ends, after: &mut After) -> Result<(&'a Rule, Uri), Answer> {
    let Routed { rule, mut path, trail, .. } = routing::decide(&view.router, head, ends).map_err(|why| match why {
        Unrouted::Front => Answer::options(),
        Unrouted::Path(error) => Answer::bad_path(error),
        Unrouted::Ambiguous => Answer::ambiguous_path(),
        Unrouted::NotFound(trail) => {
            after.leave(trail);
            Answer::not_found(host_of(head), head.uri.path())
        }
    })?;
    after.leave(trail);
    if let Some(query) = head.uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let target = Uri::try_from(path).map_err(|_| Answer::bad_path(super::path::PathError::Control))?;
    Ok((rule, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// The state of each request is moved to where it is kept.
    #[test]
    fn the_state_of_a_request_is_small() {
        let state = size(answer);
        assert!(state <= 6_500, "{state} bytes");
    }
}
