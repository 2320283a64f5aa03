//! A request on its way to the endpoints of its upstream: attempts, retries, and what comes back.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::body::Body;
use hyper::header::{HeaderMap, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Answer;
use super::balance::Picker;
use super::body::{BackendBody, BodyError, ClientBody, Fault, Kept, Progress, RequestBody, ResponseBody};
use super::compress::Encoder;
use super::filter::Outbound;
use super::forward::{self, Follows};
use super::gather::{Gathered, gather};
use super::hits::Hit;
use super::http2::extended::{self, Extended};
use super::limiter::Flight;
use super::mirror::{self, Copy, Tee};
use super::pool::{ConnectError, Lease, Peer, Place, Reuse};
use super::proxy::Client;
use super::record::Record;
use super::retry::{Attempts, Failure};
use super::rules::Rule;
use super::secure::Transport;
use super::tunnel::{Side, Tunnel};
use super::wire::Failed;
use super::worker::{Limits, Worker};
use crate::model::filters::{Breaker, Proxying};

/// How long a body that is to be sent again may take to come back from a stream that has ended.
const GIVEN_BACK: Duration = Duration::from_secs(1);

/// A backend's answer and the connection it came on.
pub struct Relayed {
    /// The answer; its body is still to come.
    pub response: Response<BackendBody>,
    /// `None`: the connection becomes a tunnel.
    lease: Option<Lease>,
    tunnel: Option<Tunnel>,
    /// How long nothing may come of its body.
    stall: Duration,
    /// When its body must have come to its end, if somebody says so.
    until: Option<Instant>,
}

impl Relayed {
    /// The answer as the client gets it. The request is in flight until its answer has gone out, or its tunnel ends.
    pub fn into_response(
        self,
        mut record: Record,
        encoder: Option<Encoder>,
        pace: Option<(u64, u64)>,
        flight: Option<Flight>,
    ) -> Response<ResponseBody> {
        match self.tunnel {
            Some(tunnel) => tunnel.start(flight),
            None => record.hold(flight),
        }
        let (mut head, body) = self.response.into_parts();
        // It is lowered for clients that speak 1.0.
        head.version = Version::HTTP_11;
        let body = ResponseBody::relay(body, self.lease, (self.stall, self.until), record).coded(encoder).paced(pace);
        Response::from_parts(head, body)
    }
}

/// A request on its way, and what is needed to send it a second time.
pub struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Client,
    rule: &'a Rule,
    head: &'a mut Parts,
    target: Uri,
    outbound: Outbound,
    follows: Follows,
    transport: Transport,
    /// Who collects the body for a copy of the request.
    tee: Option<Rc<Tee>>,
    limits: Times,
    attempts: Attempts<'a>,
    /// There is an endpoint that has not been tried.
    has_more: bool,
    /// The place at the endpoint that is tried, where places are counted.
    place: Option<Place>,
    progress: Rc<Progress>,
    /// The body, or what came back because nothing of it was sent.
    unsent: Option<Unsent>,
    /// What has been read of the body before it is sent on.
    gathered: Option<Rc<Gathered>>,
    /// How it would be sent once more, had it arrived nowhere.
    again: Again,
    /// The method allows to send it twice, should its body be here.
    may_repeat_body: bool,
    /// Sending it twice does no harm (RFC 9110 section 9.2.2), and there is no body that is gone.
    repeatable: bool,
}

/// How long the steps of this exchange may take.
struct Times {
    connect: Duration,
    send: Duration,
    answer: Duration,
    /// For the client to go on with its body.
    client: Duration,
}

impl Times {
    fn new(asked: &Proxying, usual: &Limits, client: Duration) -> Self {
        Times {
            client,
            connect: Proxying::time(asked.connect, usual.connect),
            send: Proxying::time(asked.send, usual.answer),
            answer: Proxying::time(asked.read, usual.answer),
        }
    }
}

enum Unsent {
    Body(ClientBody),
    /// All of the body is here, or there is none.
    Gathered,
    Request(Box<Request<RequestBody>>),
}

/// What would be left of a request that was sent.
enum Again {
    /// All of it.
    Whole,
    /// What is kept of its body.
    Kept(Rc<Kept>),
    /// Not all of it.
    Never,
}

/// How sending on one connection ended without an answer.
enum Broken {
    /// Nothing of the request was sent.
    Unsent,
    /// The endpoint says that it has done nothing with it.
    Refused,
    /// The same, since the connection ends.
    Ended,
    /// It may have been seen.
    Sent,
}

/// The endpoint took the connection, and not the request, which is still here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// A connection that was there ends, which says nothing about the endpoint.
    Old,
    /// One that was just opened ends.
    New,
    /// It has enough to do.
    Full,
}

/// What came of one endpoint: what the client gets, or the answer for it if no other endpoint does better.
type Attempted = Result<Result<Relayed, Answer>, Answer>;

impl<'a> Exchange<'a> {
    /// Before the first attempt.
    pub fn new(
        worker: &'a Rc<Worker>,
        client: &'a Client,
        rule: &'a Rule,
        head: &'a mut Parts,
        body: ClientBody,
        target: Uri,
        outbound: Outbound,
    ) -> Self {
        let empty = body.is_end_stream();
        let follows = match body.size_hint().exact() {
            Some(_) if empty && forward::wants_upgrade(head) => Follows::Upgrade,
            Some(_) => Follows::Known,
            None => Follows::Chunks,
        };
        let attempts = Attempts::new(rule.entry.filters.retry.as_deref());
        let repeats_all = attempts.repeats_all() || worker.view().router.settings.upstreams().retry_all;
        let may_repeat_body = head.method.is_idempotent() || repeats_all;
        let repeatable = empty && may_repeat_body;
        let proxying = &rule.entry.filters.proxying;
        let client_limits = worker.client_limits();
        let limits = Times::new(proxying, &worker.limits, client_limits.stall);
        let progress = Rc::new(Progress::new(proxying.max_body()).at_least(client_limits.floor()));
        Exchange {
            worker,
            client,
            rule,
            head,
            target,
            outbound,
            follows,
            transport: Transport::PLAIN,
            tee: None,
            limits,
            attempts,
            has_more: false,
            place: None,
            progress,
            unsent: Some(Unsent::Body(body)),
            gathered: None,
            again: Again::Never,
            may_repeat_body,
            repeatable,
        }
    }

    /// What is spoken to endpoints; a connection of HTTP/2 to them is nobody's alone, and cannot be upgraded.
    pub fn over(mut self, transport: Transport) -> Self {
        if transport.http2 && self.follows == Follows::Upgrade {
            self.follows = Follows::Known;
        }
        self.transport = transport;
        self
    }

    /// A copy of the request goes elsewhere.
    pub fn copied(mut self, copy: Option<(Copy, bool)>) -> Self {
        let has_body = matches!(&self.unsent, Some(Unsent::Body(body)) if !body.is_end_stream());
        self.tee = copy.and_then(|(copy, with_body)| mirror::send(self.worker, copy, with_body && has_body));
        self
    }

    /// The route asks to read the body before any endpoint hears of the request. Streams of gRPC go both ways at once, so what
    /// is sent over HTTP/2 is never waited for.
    fn gathers(&self) -> bool {
        let wanted = self.rule.entry.filters.proxying.gathers && !self.transport.http2;
        let has_body = matches!(&self.unsent, Some(Unsent::Body(body)) if !body.is_end_stream());
        wanted && has_body && self.follows != Follows::Upgrade
    }

    /// Reads the body as far as there is room.
    async fn gather(&mut self) -> Result<(), Answer> {
        let Some(Unsent::Body(body)) = self.unsent.as_mut() else { return Ok(()) };
        let limit = self.worker.client_limits().stall;
        match gather(body, &self.worker.room, &self.progress, self.tee.as_deref(), limit).await {
            Ok(gathered) => {
                if gathered.is_whole {
                    self.follows = Follows::Known;
                    self.repeatable = self.may_repeat_body;
                    self.unsent = Some(Unsent::Gathered);
                    self.tee = None;
                }
                self.gathered = Some(Rc::new(gathered));
                Ok(())
            }
            Err(BodyError::Stalled) => Err(self.stalled_body()),
            Err(_) => Err(self.refused_body().unwrap_or_else(Answer::broken_body)),
        }
    }

    /// What the client hears if its body is at fault.
    fn refused_body(&self) -> Option<Answer> {
        if self.progress.is_too_large() {
            return Some(Answer::too_large());
        }
        if let Some(refusal) = self.client.guard.broken_body() {
            self.worker.counters.refused.increment();
            return Some(Answer::refused(refusal));
        }
        Some(match self.progress.fault()? {
            Fault::Slow => Answer::slow_body(Hit::BodyRate),
            Fault::Broke => self.client.guard.cut_for().map_or_else(Answer::broken_body, Answer::slow_body),
        })
    }

    /// The client is why its request was not sent: there is nothing to send again.
    fn is_at_fault(&self) -> bool {
        self.progress.fault().is_some() || self.progress.is_too_large()
    }

    /// The client has kept still for too long.
    fn stalled_body(&self) -> Answer {
        // Whoever notices first tells.
        Answer::slow_body(self.client.guard.cut_for().unwrap_or(Hit::BodyTime))
    }

    /// Sends the request, in the time that all of it may take.
    pub async fn run(&mut self, picker: &mut Picker<'_>, record: &mut Record) -> Result<Relayed, Answer> {
        let Some(limit) = self.rule.entry.filters.proxying.whole else { return self.try_all(picker, record).await };
        let until = Instant::now() + Duration::from_millis(limit);
        match timeout_at(until, Box::pin(self.try_all(picker, record))).await {
            Ok(result) => result.map(|relayed| Relayed { until: Some(until), ..relayed }),
            Err(_) => {
                self.worker.counters.upstream_failures.increment();
                Err(Answer::timeout(&self.rule.entry))
            }
        }
    }

    /// Tries one endpoint after the other.
    async fn try_all(&mut self, picker: &mut Picker<'_>, record: &mut Record) -> Result<Relayed, Answer> {
        record.body(&self.progress);
        if self.gathers() {
            // What hardly any request needs takes no memory of the others: the state of each is moved.
            Box::pin(self.gather()).await?;
        }
        self.worker.budget.deposit();
        let mut last = None;
        while let Some(peer) = picker.next() {
            self.has_more = picker.has_more();
            if !self.enter(&peer).await {
                last = Some(Answer::busy(&self.rule.entry));
                continue;
            }
            record.endpoint(peer.endpoint);
            self.attempts.begin();
            match self.attempt(&peer, record).await {
                Ok(result) => return result,
                Err(answer) => last = Some(answer),
            }
        }
        Err(last.unwrap_or_else(|| Answer::bad_gateway(&self.rule.entry, "no endpoint could be reached")))
    }

    /// The request's headers, as the client sent them.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Takes a place at an endpoint, where places are counted. The last endpoint is waited for.
    async fn enter(&mut self, peer: &Peer) -> bool {
        self.place = None;
        let Some(Breaker { connections, pending }) = self.rule.entry.filters.breaker else { return true };
        let (gates, endpoint) = (&self.worker.limiter.gates, peer.endpoint);
        self.place = match self.has_more {
            true => gates.try_enter(endpoint, connections),
            false => Box::pin(gates.enter(endpoint, connections, pending, self.limits.connect)).await,
        };
        self.place.is_some()
    }

    /// An endpoint that refuses a request may take it a moment later: one that was just connected to does not know how many
    /// streams it bears, or the connection is one that ends.
    async fn attempt(&mut self, peer: &Rc<Peer>, record: &mut Record) -> Attempted {
        let first = match self.try_endpoint(peer, record).await {
            Ok(attempted) => return attempted,
            Err(refused) => refused,
        };
        if !self.may_ask_again(first) {
            return self.refused(peer, first);
        }
        self.worker.counters.upstream_retries.increment();
        // What hardly any request needs takes no memory of the others.
        match Box::pin(self.try_endpoint(peer, record)).await {
            Ok(attempted) => attempted,
            Err(refused) => self.refused(peer, refused),
        }
    }

    /// That a connection which was there ends is nobody's failure; any other refusal is one, and a further try has to be allowed.
    fn may_ask_again(&self, refused: Refused) -> bool {
        let now = Instant::now();
        refused == Refused::Old || (self.attempts.go_on(Failure::Error, now) && self.worker.budget.withdraw(now))
    }

    async fn try_endpoint(&mut self, peer: &Rc<Peer>, record: &mut Record) -> Result<Attempted, Refused> {
        let counters = &self.worker.counters;
        // A pooled connection that the backend has just closed says nothing about the endpoint: it gets a second chance.
        while let Some(lease) = self.idle(peer).await {
            counters.upstream_reuses.increment();
            record.connected();
            match self.send(lease, record).await {
                Ok(result) => return Ok(result),
                Err(Broken::Unsent) => counters.upstream_retries.increment(),
                Err(Broken::Refused) => return Err(Refused::Full),
                Err(Broken::Ended) => return Err(Refused::Old),
                Err(Broken::Sent) => {
                    peer.broke();
                    if !self.repeatable {
                        return Ok(self.broken(peer));
                    }
                    counters.upstream_retries.increment();
                    break;
                }
            }
        }
        match Box::pin(self.worker.pool.connect(peer, &self.transport, self.limits.connect)).await {
            Err(error) => Ok(self.unconnected(peer, &error)),
            Ok(lease) => {
                counters.upstream_connections.increment();
                record.connected();
                Ok(match self.send(lease, record).await {
                    Ok(result) => result,
                    Err(Broken::Unsent) => self.unreachable(Failure::Error),
                    Err(Broken::Refused) => return Err(Refused::Full),
                    Err(Broken::Ended) => return Err(Refused::New),
                    Err(Broken::Sent) => self.broken(peer),
                })
            }
        }
    }

    fn unconnected(&self, peer: &Peer, error: &ConnectError) -> Attempted {
        let failure = match error {
            ConnectError::Exhausted => return Ok(Err(Answer::exhausted(&self.rule.entry))),
            ConnectError::Timeout(_) => Failure::Timeout,
            _ => Failure::Error,
        };
        peer.health.unreachable(self.worker.limits.avoid, Instant::now());
        self.unreachable(failure)
    }

    /// An idle connection. For a request that must not be sent twice it is one that has had every chance to be seen
    /// closed: the runtime looks at its sockets before a task that yields goes on. Should the endpoint have closed it
    /// nevertheless, there must be something left to send again.
    async fn idle(&self, peer: &Rc<Peer>) -> Option<Lease> {
        if self.repeatable {
            return peer.take(&self.transport, Reuse::Any);
        }
        if !self.transport.http2 && !self.stays() {
            return None;
        }
        loop {
            let lease = peer.take(&self.transport, Reuse::Proven)?;
            tokio::task::yield_now().await;
            if lease.sender.is_ready() {
                return Some(lease);
            }
        }
    }

    /// Should the request not arrive, it is still here.
    fn stays(&self) -> bool {
        match &self.unsent {
            Some(Unsent::Body(body)) => body.is_end_stream() || (self.gathered.is_none() && Kept::is_for(body)),
            Some(Unsent::Gathered) => true,
            Some(Unsent::Request(_)) | None => !matches!(self.again, Again::Never),
        }
    }

    /// What has arrived nowhere is to be sent once more; false: it is not here any more.
    async fn restore(&mut self) -> bool {
        self.unsent = match std::mem::replace(&mut self.again, Again::Never) {
            Again::Whole => Some(Unsent::Gathered),
            Again::Kept(kept) => {
                // One that is not given back in time cannot be taken back.
                let _ = timeout(GIVEN_BACK, kept.stopped()).await;
                let Some((gone, rest)) = kept.take_back() else { return false };
                self.gathered = Some(Rc::new(gone));
                Some(rest.map_or(Unsent::Gathered, Unsent::Body))
            }
            Again::Never => return self.repeatable,
        };
        true
    }

    fn unreachable(&self, failure: Failure) -> Attempted {
        self.worker.counters.upstream_failures.increment();
        let answer = match failure {
            Failure::Timeout => Answer::timeout(&self.rule.entry),
            _ => Answer::bad_gateway(&self.rule.entry, "no endpoint could be reached"),
        };
        let goes_on = self.has_more && self.attempts.go_on(failure, Instant::now());
        if goes_on { Err(answer) } else { Ok(Err(answer)) }
    }

    /// The endpoint failed a request that it has, or may have, seen.
    fn failed(&self, peer: &Peer, failure: Failure, answer: Answer) -> Attempted {
        self.worker.counters.upstream_failures.increment();
        peer.health.failed(self.worker.limits.avoid, Instant::now());
        if self.may_repeat(failure) { Err(answer) } else { Ok(Err(answer)) }
    }

    /// The endpoint takes no request: another one may. One that has enough to do does not fail, and takes others later.
    fn refused(&self, peer: &Peer, refused: Refused) -> Attempted {
        self.worker.counters.upstream_failures.increment();
        if refused != Refused::Full || peer.in_flight() == 0 {
            peer.health.failed(self.worker.limits.avoid, Instant::now());
        }
        let answer = Answer::bad_gateway(&self.rule.entry, "the endpoint refused the request");
        let now = Instant::now();
        let goes_on = self.has_more && self.attempts.go_on(Failure::Error, now) && self.worker.budget.withdraw(now);
        if goes_on {
            self.worker.counters.upstream_retries.increment();
        }
        if goes_on { Err(answer) } else { Ok(Err(answer)) }
    }

    /// The request may go to another endpoint although one has, or may have, seen it.
    fn may_repeat(&self, failure: Failure) -> bool {
        let now = Instant::now();
        let repeats =
            self.has_more && self.repeatable && self.attempts.go_on(failure, now) && self.worker.budget.withdraw(now);
        if repeats {
            self.worker.counters.upstream_retries.increment();
        }
        repeats
    }

    /// When the endpoint has taken too long: to take a part of the body, or to answer after the last one. Or the client, to
    /// send the next part.
    fn deadline(&self) -> Instant {
        if let Some(since) = self.progress.waits_since() {
            return since + self.limits.client;
        }
        let limit = if self.progress.is_sent() { self.limits.answer } else { self.limits.send };
        self.progress.last() + limit
    }

    /// When to look at the deadline again: until the whole body is on its way, another one may hold any time.
    fn next_look(&self) -> Instant {
        let soon = self.limits.client.min(self.limits.send).min(self.limits.answer);
        if self.progress.is_sent() { self.deadline() } else { self.deadline().min(Instant::now() + soon) }
    }

    fn broken(&self, peer: &Peer) -> Attempted {
        if let Some(answer) = self.refused_body() {
            return Ok(Err(answer));
        }
        let answer = Answer::bad_gateway(&self.rule.entry, "the endpoint broke off without an answer");
        self.failed(peer, Failure::Error, answer)
    }

    async fn send(&mut self, mut lease: Lease, record: &mut Record) -> Result<Attempted, Broken> {
        let request = self.request().ok_or(Broken::Sent)?;
        self.progress.start();
        let started = Instant::now();
        let answer = {
            let answer = pin!(lease.sender.send(request, self.repeatable));
            self.in_time(answer).await
        };
        let broken = match self.outcome(answer, lease, started, record) {
            Ok(attempted) => return Ok(attempted),
            Err(broken) => broken,
        };
        // What hardly any request needs takes no memory of the others.
        match broken {
            Broken::Unsent | Broken::Refused | Broken::Ended
                if self.unsent.is_none() && !Box::pin(self.restore()).await =>
            {
                Err(Broken::Sent)
            }
            broken => Err(broken),
        }
    }

    /// What came of a request that was sent; `None`: nothing in time.
    fn outcome(
        &mut self,
        answer: Option<Result<Response<BackendBody>, Failed>>,
        lease: Lease,
        started: Instant,
        record: &mut Record,
    ) -> Result<Attempted, Broken> {
        match answer {
            None if self.progress.waits_since().is_some() => Ok(Ok(Err(self.stalled_body()))),
            None => Ok(self.failed(lease.peer(), Failure::Timeout, Answer::timeout(&self.rule.entry))),
            Some(Ok(response)) => {
                self.progress.answered();
                record.upstream_answered(response.status().as_u16());
                let now = Instant::now();
                lease.peer().latency.observe((now - started).as_secs_f64(), now);
                Ok(self.accept(response, lease))
            }
            Some(Err(_)) if self.is_at_fault() => Ok(self.broken(lease.peer())),
            Some(Err(failed)) => self.unanswered(failed, &lease),
        }
    }

    /// What is to be done where no answer came.
    fn unanswered(&mut self, failed: Failed, lease: &Lease) -> Result<Attempted, Broken> {
        match failed {
            Failed::Unsent(request) => {
                self.unsent = Some(Unsent::Request(request));
                Err(Broken::Unsent)
            }
            Failed::Unseen => Err(Broken::Unsent),
            Failed::Refused => Err(Broken::Refused),
            Failed::Ended => Err(Broken::Ended),
            Failed::Sent => Err(Broken::Sent),
            Failed::Invalid => {
                let answer = Answer::bad_gateway(&self.rule.entry, "the endpoint's answer is malformed");
                Ok(self.failed(lease.peer(), Failure::Invalid, answer))
            }
        }
    }

    /// What comes of a request, if it comes before its deadline.
    async fn in_time<T>(&self, mut answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let (mut patience, mut look) = (self.worker.timers.take(), None);
        let next = poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(result));
                }
                ready!(patience.poll_until(*look.get_or_insert_with(|| self.next_look()), cx));
                if self.deadline() <= Instant::now() {
                    return Poll::Ready(None);
                }
                look = None;
            }
        });
        next.await
    }

    fn request(&mut self) -> Option<Request<RequestBody>> {
        let body = match self.unsent.take() {
            Some(Unsent::Request(request)) => return Some(*request),
            Some(Unsent::Body(body)) => Some(body).filter(|body| !body.is_end_stream()),
            Some(Unsent::Gathered) => None,
            None if self.repeatable => None,
            None => return None,
        };
        let kept = match (&body, &self.gathered) {
            // Calls of gRPC do not say how long they are.
            (Some(body), None) => Kept::new(body, &self.worker.room, self.transport.http2),
            _ => None,
        };
        self.again = match (&body, &kept) {
            (None, _) => Again::Whole,
            (Some(_), Some(kept)) => Again::Kept(Rc::clone(kept)),
            (Some(_), None) => Again::Never,
        };
        let mut request =
            forward::request(self.head, self.target.clone(), self.follows, &self.client.ends, &self.outbound);
        if self.transport.http2 {
            forward::for_http2(&mut request, self.transport.tls.is_some());
        }
        let body = RequestBody::new(body, Rc::clone(&self.progress)).after(self.gathered.clone());
        let body = body.kept(kept).without(self.outbound.barred());
        Some(request.map(|()| body.seen_by(self.tee.clone())))
    }

    /// Checks an answer; a connection that gave a doubtful one is not used again.
    fn accept(&mut self, mut response: Response<BackendBody>, mut lease: Lease) -> Attempted {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            lease.peer().health.succeeded();
            drop(lease);
            return Ok(self.switch(response));
        }
        if let Err(error) = forward::response(response.headers_mut()) {
            let answer = Answer::bad_gateway(&self.rule.entry, &error.to_string());
            return self.failed(lease.peer(), Failure::Invalid, answer);
        }
        let failure = Failure::Status(response.status().as_u16());
        if self.attempts.is_failure(failure) {
            lease.peer().health.failed(self.worker.limits.avoid, Instant::now());
            if self.may_repeat(failure) {
                return Err(Answer::bad_gateway(&self.rule.entry, "no endpoint gave an answer that is asked for"));
            }
        } else {
            lease.peer().health.succeeded();
        }
        lease.place = self.place.take();
        let stall = self.limits.answer;
        Ok(Ok(Relayed { response, lease: Some(lease), tunnel: None, stall, until: None }))
    }

    /// The backend speaks another protocol from here on, if that was asked for.
    fn switch(&mut self, mut response: Response<BackendBody>) -> Result<Relayed, Answer> {
        let to = |headers: &HeaderMap| headers.get(UPGRADE).map(|to| to.as_bytes().to_ascii_lowercase());
        let agreed = to(response.headers()).is_some_and(|to_this| Some(to_this) == to(&self.head.headers));
        let over_http2 = self.head.extensions.remove::<OnUpgrade>().map(Side::Hyper);
        let asked = agreed && self.follows == Follows::Upgrade;
        let client = over_http2.or_else(|| self.client.awaits_tunnel()).filter(|_| asked);
        let (Some(client), BackendBody::Wire(body)) = (client, response.body()) else {
            self.worker.counters.upstream_failures.increment();
            return Err(Answer::bad_gateway(
                &self.rule.entry,
                "the endpoint switched to a protocol that nobody asked for",
            ));
        };
        let is_extended = self.head.extensions.get::<Extended>().is_some();
        let backend = body.wire().take_tunnel();
        if is_extended && !extended::establish(&self.head.headers, &mut response) {
            self.worker.counters.upstream_failures.increment();
            return Err(Answer::bad_gateway(&self.rule.entry, "the endpoint does not accept the handshake"));
        }
        self.client.guard.become_tunnel();
        let (idle, place) = (self.limits.answer, self.place.take());
        let stream = self.client.tunnels();
        let tunnel = Tunnel { client, backend, idle, place, stream, open: self.worker.opened() };
        Ok(Relayed { response, lease: None, tunnel: Some(tunnel), stall: idle, until: None })
    }
}
