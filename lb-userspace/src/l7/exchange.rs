//! A request on its way to the endpoints of its upstream: attempts, retries, and what comes back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::UPGRADE;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};
use tokio::time::{Instant, sleep_until};

use super::answer::Answer;
use super::body::{Progress, RequestBody, ResponseBody};
use super::filter::Outbound;
use super::forward::{self, Follows};
use super::pool::{Lease, Pool};
use super::proxy::Client;
use super::record::Record;
use super::rules::Rule;
use super::tunnel;
use super::worker::{Limits, Worker};
use crate::model::filters::Proxying;

/// A backend's answer and the connection it came on.
pub struct Relayed {
    /// The answer; its body is still to come.
    pub response: Response<Incoming>,
    /// `None`: the connection has become a tunnel.
    lease: Option<Lease>,
    /// How long nothing may come of its body.
    stall: Duration,
}

impl Relayed {
    /// The answer as the client gets it.
    pub fn into_response(
        self,
        worker: &Rc<Worker>,
        record: Record,
        pace: Option<(u64, u64)>,
    ) -> Response<ResponseBody> {
        let lease = self.lease.map(|lease| (lease, Rc::clone(&worker.pool)));
        let (mut head, body) = self.response.into_parts();
        // hyper lowers it for clients that speak 1.0.
        head.version = Version::HTTP_11;
        Response::from_parts(head, ResponseBody::relay(body, lease, self.stall, record).paced(pace))
    }
}

/// A request on its way, and what is needed to send it a second time.
pub struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Client,
    rule: &'a Rule,
    head: Parts,
    target: Uri,
    outbound: Outbound,
    follows: Follows,
    limits: Times,
    progress: Rc<Progress>,
    /// The body, or what hyper gave back because it had sent nothing of it.
    unsent: Option<Unsent>,
    /// Sending it twice does no harm (RFC 9110 section 9.2.2), and there is no body that is gone.
    repeatable: bool,
}

/// How long the steps of this exchange may take.
struct Times {
    connect: Duration,
    send: Duration,
    answer: Duration,
}

impl Times {
    fn new(asked: &Proxying, usual: &Limits) -> Self {
        Times {
            connect: Proxying::time(asked.connect, usual.connect),
            send: Proxying::time(asked.send, usual.answer),
            answer: Proxying::time(asked.read, usual.answer),
        }
    }
}

enum Unsent {
    Body(Incoming),
    Request(Box<Request<RequestBody>>),
}

/// How an attempt ended without an answer.
enum Failure {
    /// Nothing of the request was sent.
    Unsent,
    /// It may have been seen.
    Broken,
}

impl<'a> Exchange<'a> {
    /// Before the first attempt.
    pub fn new(
        worker: &'a Rc<Worker>,
        client: &'a Client,
        rule: &'a Rule,
        head: Parts,
        body: Incoming,
        target: Uri,
        outbound: Outbound,
    ) -> Self {
        let empty = body.is_end_stream();
        let follows = match body.size_hint().exact() {
            Some(_) if empty && forward::wants_websocket(&head) => Follows::WebSocket,
            Some(_) => Follows::Known,
            None => Follows::Chunks,
        };
        let repeatable = empty && (head.method.is_idempotent());
        let proxying = &rule.entry.filters.proxying;
        let limits = Times::new(proxying, &worker.limits);
        let progress = Rc::new(Progress::new(proxying.max_body()));
        Exchange {
            worker,
            client,
            rule,
            head,
            target,
            outbound,
            follows,
            limits,
            progress,
            unsent: Some(Unsent::Body(body)),
            repeatable,
        }
    }

    /// Tries an endpoint; `None`: the next one may be tried.
    pub async fn attempt(&mut self, endpoint: SocketAddr) -> Option<Result<Relayed, Answer>> {
        let counters = &self.worker.counters;
        // A pooled connection that the backend has just closed says nothing about the endpoint: it gets a second chance.
        while let Some(lease) = self.worker.pool.take(endpoint) {
            counters.upstream_reuses.increment();
            match self.send(lease).await {
                Ok(result) => return Some(result),
                Err(Failure::Unsent) => counters.upstream_retries.increment(),
                Err(Failure::Broken) if self.repeatable => {
                    counters.upstream_retries.increment();
                    break;
                }
                Err(Failure::Broken) => return Some(self.broken()),
            }
        }
        match Pool::connect(endpoint, self.limits.connect).await {
            Err(_) => {
                counters.upstream_failures.increment();
                self.worker.avoid(endpoint);
                None
            }
            Ok(lease) => {
                counters.upstream_connections.increment();
                match self.send(lease).await {
                    Ok(result) => Some(result),
                    Err(Failure::Unsent) => {
                        counters.upstream_failures.increment();
                        None
                    }
                    Err(Failure::Broken) => Some(self.broken()),
                }
            }
        }
    }

    /// When the endpoint has taken too long: to take a part of the body, or to answer after the last one.
    fn deadline(&self) -> Instant {
        let limit = if self.progress.is_sent() { self.limits.answer } else { self.limits.send };
        self.progress.last() + limit
    }

    fn broken(&self) -> Result<Relayed, Answer> {
        if self.progress.is_too_large() {
            return Err(Answer::too_large());
        }
        if let Some(refusal) = self.client.guard.broken_body() {
            self.worker.counters.refused.increment();
            return Err(Answer::refused(refusal));
        }
        self.worker.counters.upstream_failures.increment();
        Err(Answer::bad_gateway(&self.rule.entry, "the endpoint broke off without an answer"))
    }

    async fn send(&mut self, mut lease: Lease) -> Result<Result<Relayed, Answer>, Failure> {
        let request = self.request().ok_or(Failure::Broken)?;
        self.progress.start();
        let mut answer = std::pin::pin!(lease.sender.try_send_request(request));
        let result = loop {
            tokio::select! {
                biased;
                result = &mut answer => break result,
                () = sleep_until(self.deadline()) => if self.deadline() <= Instant::now() {
                    self.worker.counters.upstream_failures.increment();
                    return Ok(Err(Answer::timeout(&self.rule.entry)));
                },
            }
        };
        match result {
            Ok(response) => Ok(self.accept(response, lease)),
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    self.unsent = Some(Unsent::Request(Box::new(request)));
                    Err(Failure::Unsent)
                }
                None => Err(Failure::Broken),
            },
        }
    }

    fn request(&mut self) -> Option<Request<RequestBody>> {
        let body = match self.unsent.take() {
            Some(Unsent::Request(request)) => return Some(*request),
            Some(Unsent::Body(body)) => Some(body).filter(|body| !body.is_end_stream()),
            None if self.repeatable => None,
            None => return None,
        };
        let request =
            forward::request(&self.head, self.target.clone(), self.follows, &self.client.ends, &self.outbound);
        Some(request.map(|()| RequestBody::new(body, Rc::clone(&self.progress))))
    }

    /// Checks an answer; a connection that gave a doubtful one is not used again.
    fn accept(&mut self, mut response: Response<Incoming>, lease: Lease) -> Result<Relayed, Answer> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response);
        }
        if let Err(error) = forward::response(response.headers_mut()) {
            self.worker.counters.upstream_failures.increment();
            return Err(Answer::bad_gateway(&self.rule.entry, &error.to_string()));
        }
        Ok(Relayed { response, lease: Some(lease), stall: self.limits.answer })
    }

    /// The backend speaks another protocol from here on, if that was asked for.
    fn switch(&mut self, mut response: Response<Incoming>) -> Result<Relayed, Answer> {
        let agreed = response.headers().get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let upgrade = self.head.extensions.remove::<OnUpgrade>();
        let (true, true, Some(from_client)) = (agreed, self.follows == Follows::WebSocket, upgrade) else {
            self.worker.counters.upstream_failures.increment();
            return Err(Answer::bad_gateway(
                &self.rule.entry,
                "the endpoint switched to a protocol that nobody asked for",
            ));
        };
        let from_backend = hyper::upgrade::on(&mut response);
        self.client.guard.become_tunnel();
        tokio::task::spawn_local(tunnel::run(from_client, from_backend, self.worker.opened()));
        Ok(Relayed { response, lease: None, stall: self.limits.answer })
    }
}
