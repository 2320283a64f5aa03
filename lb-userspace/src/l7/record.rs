//! What is remembered about a request until its answer has gone out: for the access log and the counters.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::Request;
use hyper::header::{HOST, REFERER, USER_AGENT};
use tokio::time::Instant;

use super::access_log::Line;
use super::forward::Ends;
use super::limiter::Flight;
use super::worker::Worker;
use crate::clock;
use crate::model::settings::LogSettings;

/// One request. Dropping it writes its line.
#[derive(Debug)]
pub struct Record {
    /// Bytes of the answer's body so far.
    pub bytes: u64,
    worker: Rc<Worker>,
    started: Instant,
    line: Option<Box<Line>>,
    flight: Option<Flight>,
}

impl Record {
    /// Begins with the head of a request.
    pub fn new<B>(worker: &Rc<Worker>, ends: &Ends, request: &Request<B>, log: &LogSettings) -> Self {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let line = (worker.log.borrow().is_on() && log.wants(target)).then(|| {
            let header = |name| request.headers().get(name).cloned();
            Box::new(Line {
                client: ends.client.ip(),
                request: Some((request.method().clone(), request.uri().clone(), request.version())),
                status: 0,
                bytes: 0,
                referer: header(REFERER),
                user_agent: header(USER_AGENT),
                host: header(HOST),
                duration: Default::default(),
                upstream: None,
                endpoint: None,
            })
        });
        Record { bytes: 0, worker: Rc::clone(worker), started: Instant::now(), line, flight: None }
    }

    /// Keeps the request's place among those in flight until its answer has gone out.
    pub fn hold(&mut self, flight: Option<Flight>) {
        self.flight = flight;
    }

    /// The request was refused; what hyper delivered is a stand-in.
    pub fn refused(&mut self) {
        self.worker.counters.refused.increment();
        if let Some(line) = &mut self.line {
            (line.request, line.host) = (None, None);
        }
    }

    /// No line is written about it.
    pub fn silence(&mut self) {
        self.line = None;
    }

    /// The upstream that the route names.
    pub fn upstream(&mut self, name: &Arc<str>) {
        if let Some(line) = &mut self.line {
            line.upstream = Some(Arc::clone(name));
        }
    }

    /// The endpoint that is tried now.
    pub fn endpoint(&mut self, endpoint: SocketAddr) {
        if let Some(line) = &mut self.line {
            line.endpoint = Some(endpoint);
        }
    }

    /// The answer's head is on its way.
    pub fn answered(&mut self, status: u16) {
        self.worker.counters.count_status(status);
        if let Some(line) = &mut self.line {
            line.status = status;
        }
    }

    /// The backend broke off in the middle of its answer.
    pub fn upstream_failed(&mut self) {
        self.worker.counters.upstream_failures.increment();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        line.bytes = self.bytes;
        line.duration = self.started.elapsed();
        let lost = self.worker.log.borrow_mut().add(&line, clock::wall());
        self.worker.counters.log_lines_lost.add(lost);
    }
}
