//! What is remembered about a request until its answer has gone out: for the access log and the counters.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{HOST, HeaderMap, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use tokio::time::Instant;

use super::access_log::{Form, Line, Tries};
use super::body::Progress;
use super::filter::Seen;
use super::forward::Ends;
use super::limiter::Flight;
#[cfg(feature = "otlp")]
use super::otlp::Span;
use super::rules::Rule;
use super::settings::Settings;
use super::traffic::Done;
use super::worker::{View, Worker};
use crate::clock;

/// One request. Dropping it writes its line.
#[derive(Debug)]
pub struct Record {
    /// Bytes of the answer's body so far.
    pub bytes: u64,
    /// Bytes of the backend's body so far.
    pub received: u64,
    worker: Rc<Worker>,
    started: Instant,
    line: Option<Box<Line>>,
    flight: Option<Flight>,
    view: Rc<View>,
    /// Number of its rule.
    rule: Option<usize>,
    method: Method,
    status: u16,
    /// The canary that takes it.
    canary: Option<Arc<str>>,
    tries: Tries,
    /// How much of the request's body has gone by.
    progress: Option<Rc<Progress>>,
    #[cfg(feature = "otlp")]
    span: Option<Box<Span>>,
}

impl Record {
    /// Begins with the head of a request, which came in so many bytes.
    pub fn new(worker: &Rc<Worker>, view: &Rc<View>, head: &Parts, came: u64, ends: &Ends) -> Self {
        let settings = &view.router.settings;
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let wanted = worker.log.borrow().is_on() && settings.asked.log.wants(target);
        let line = wanted.then(|| line(settings, head, came, ends));
        Record {
            bytes: 0,
            received: 0,
            worker: Rc::clone(worker),
            started: Instant::now(),
            line,
            flight: None,
            view: Rc::clone(view),
            rule: None,
            method: head.method.clone(),
            status: 0,
            canary: None,
            tries: Tries::default(),
            progress: None,
            #[cfg(feature = "otlp")]
            span: None,
        }
    }

    /// It is part of a trace.
    #[cfg(feature = "otlp")]
    pub fn trace(&mut self, span: Option<Box<Span>>) {
        self.span = span;
    }

    /// Keeps the request's place among those in flight until its answer has gone out.
    pub fn hold(&mut self, flight: Option<Flight>) {
        self.flight = flight;
    }

    /// The request was refused; what was passed on is a stand-in.
    pub fn refused(&mut self) {
        self.worker.counters.refused.increment();
        if let Some(line) = &mut self.line {
            (line.request, line.host, line.request_bytes) = (None, None, 0);
            line.form.iter_mut().for_each(Form::refused);
        }
    }

    /// No line is written about it.
    pub fn silence(&mut self) {
        self.line = None;
    }

    /// The rule that it has.
    pub fn route(&mut self, rule: &Rule) {
        self.rule = rule.number;
        #[cfg(feature = "otlp")]
        if let Some(span) = &mut self.span {
            span.route(&rule.entry);
        }
        if let Some(form) = self.form() {
            form.route(&rule.entry);
        }
    }

    /// Its body, as it goes by.
    pub fn body(&mut self, progress: &Rc<Progress>) {
        self.progress = Some(Rc::clone(progress));
    }

    /// The upstream that it goes to; another than that of its rule is a canary, or stands in.
    pub fn upstream(&mut self, name: &Arc<str>, rule: &Rule) {
        if rule.canary.is_some() && rule.entry.upstream.as_deref() != Some(name) {
            self.canary = Some(Arc::clone(name));
        }
        #[cfg(feature = "otlp")]
        if let Some(span) = &mut self.span {
            span.upstream(name);
        }
        if let Some(line) = &mut self.line {
            line.upstream = Some(Arc::clone(name));
        }
    }

    /// The endpoint that is tried now.
    pub fn endpoint(&mut self, endpoint: SocketAddr) {
        self.tries.begin(endpoint);
        #[cfg(feature = "otlp")]
        if let Some(span) = &mut self.span {
            span.endpoint(endpoint);
        }
    }

    /// There is a connection to it.
    pub fn connected(&mut self) {
        self.tries.connected();
    }

    /// It answers.
    pub fn upstream_answered(&mut self, status: u16) {
        self.tries.answered(status);
    }

    /// The answer's head is on its way.
    pub fn answered(&mut self, status: u16) {
        self.worker.counters.count_status(status);
        self.status = status;
        if let Some(line) = &mut self.line {
            line.status = status;
        }
    }

    /// The line tells of headers of the answer.
    pub fn wants_headers(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.form.is_some())
    }

    /// The headers with which the answer goes out.
    pub fn sends(&mut self, headers: &HeaderMap) {
        if let Some(form) = self.form() {
            form.answered(headers);
        }
    }

    /// The backend broke off in the middle of its answer.
    pub fn upstream_failed(&mut self) {
        // One that does not get all of a request can give no whole answer to it.
        if self.progress.as_ref().is_some_and(|progress| progress.fault().is_some()) {
            return;
        }
        self.worker.counters.upstream_failures.increment();
    }

    fn form(&mut self) -> Option<&mut Form> {
        self.line.as_mut()?.form.as_mut()
    }
}

fn line(settings: &Settings, head: &Parts, came: u64, ends: &Ends) -> Box<Line> {
    let header = |name| head.headers.get(name).cloned();
    let form = Form::new(&settings.asked, &Seen { rule: &settings.nobody, head, ends });
    Box::new(Line {
        client: ends.client.ip(),
        request: Some((head.method.clone(), head.uri.clone(), head.version)),
        status: 0,
        bytes: 0,
        referer: header(REFERER),
        user_agent: header(USER_AGENT),
        host: header(HOST),
        duration: Default::default(),
        upstream: None,
        tries: Tries::default(),
        request_bytes: came,
        received: 0,
        form,
    })
}

/// Bytes of a head, as HTTP/1.1 has it: the request line, headers, and the empty line. 0 where no line names them.
pub fn head_bytes(settings: &Settings, head: &Parts) -> u64 {
    if settings.asked.log.line().is_none() {
        return 0;
    }
    let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let line = head.method.as_str().len() + target + " ".len() + " HTTP/1.1\r\n".len();
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (line + headers + 2) as u64
}

/// The client left before there was an answer, as nginx counts it.
const LEFT: u16 = 499;

impl Drop for Record {
    fn drop(&mut self) {
        self.tries.end();
        let time = self.started.elapsed();
        let received = self.progress.as_ref().map_or(0, |progress| progress.bytes());
        let done = Done {
            method: &self.method,
            status: if self.status == 0 { LEFT } else { self.status },
            canary: self.canary.as_ref(),
            received,
            sent: self.bytes,
            time,
            tries: &self.tries,
        };
        self.worker.tally.count(&self.view, self.rule, &done);
        #[cfg(feature = "otlp")]
        if let Some(span) = self.span.take() {
            let lost = self.worker.spans.end(*span, time, done.status, self.bytes);
            self.worker.counters.spans_lost.add(lost);
        }
        let Some(mut line) = self.line.take() else { return };
        line.bytes = self.bytes;
        line.received = self.received;
        line.request_bytes += received;
        line.duration = time;
        line.tries = std::mem::take(&mut self.tries);
        let lost = self.worker.log.borrow_mut().add(&line, clock::wall());
        self.worker.counters.log_lines_lost.add(lost);
    }
}
