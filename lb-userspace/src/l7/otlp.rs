//! Spans of requests for a collector of OpenTelemetry, by OTLP over HTTP in JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! A request has one span, of kind server. It goes on with the trace that `traceparent` names (W3C trace context), or begins
//! one, and backends get its id as that of their parent. Who began the trace says whether it is sampled; where nobody has, a
//! part of the requests is. Workers collect spans, and a thread of its own sends them: requests never wait for a collector,
//! and what cannot be sent is lost and counted.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime};

use hyper::Version;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use serde::Serialize;

use super::control::Collector;
use super::forward::Ends;
use super::table::RouteEntry;
use super::trace::{self, Context};
use crate::clock;
use crate::model::PathMatch;
use crate::model::settings::SpanSettings;

mod export;
mod wire;

pub use export::start;
use wire::{Attribute, attribute};

/// As whom the front tells them, if nobody says.
const SERVICE: &str = "weir";
/// Spans that wait in a worker; those beyond are lost.
const MOST: usize = 2048;
/// Bytes that they may take, as clients choose how long what they tell of is: so no more than 64 times as many wait for the
/// collector.
const MOST_BYTES: usize = 1 << 20;

/// A worker's end.
#[derive(Debug)]
pub struct Spans {
    exporter: Option<Exporter>,
    waiting: RefCell<Vec<Span>>,
    /// Bytes of those.
    bytes: Cell<usize>,
}

/// The thread that sends spans, and what the agent's flags say of them.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// Takes them.
    pub to: SyncSender<Batch>,
    /// Where they go unless the settings say otherwise.
    pub flags: Option<Collector>,
}

/// Spans for one collector.
#[derive(Debug)]
pub struct Batch {
    /// `HOST:PORT`.
    pub collector: String,
    /// As whom the front tells them.
    pub service: String,
    /// What it tells.
    pub spans: Vec<Span>,
}

impl Exporter {
    /// `HOST:PORT`; `None`: there are to be no spans.
    fn collector(&self, settings: &SpanSettings) -> Option<String> {
        if settings.on == Some(false) {
            return None;
        }
        settings.collector().or_else(|| self.flags.as_ref().map(|flags| flags.address.clone()))
    }

    /// Of a million requests with which traces begin so many are sampled; `None`: there are to be no spans.
    fn per_million(&self, settings: &SpanSettings) -> Option<u32> {
        let asked = settings.on == Some(true) && settings.host.is_some();
        if settings.on == Some(false) || !(asked || self.flags.is_some()) {
            return None;
        }
        let all = 1_000_000;
        Some(settings.part().unwrap_or_else(|| self.flags.as_ref().map_or(all, |flags| flags.per_million)))
    }
}

/// What a request does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_span_id: String,
    name: String,
    /// Server.
    kind: u8,
    #[serde(serialize_with = "wire::nanoseconds")]
    start_time_unix_nano: SystemTime,
    #[serde(serialize_with = "wire::nanoseconds")]
    end_time_unix_nano: SystemTime,
    attributes: Vec<Attribute>,
    status: wire::Status,
}

impl Spans {
    /// Without an exporter there are none.
    pub fn new(exporter: Option<Exporter>) -> Self {
        Spans { exporter, waiting: RefCell::default(), bytes: Cell::default() }
    }

    /// A request begins: backends get its span as their parent. `None`: it is not sampled.
    pub fn begin(&self, head: &mut Parts, ends: &Ends, settings: &SpanSettings, chance: u64) -> Option<Box<Span>> {
        let per_million = self.exporter.as_ref()?.per_million(settings)?;
        let parent = Context::of(&head.headers).filter(|_| settings.trusts);
        let sampled = match &parent {
            Some(parent) if settings.parent_based => parent.is_sampled(),
            _ => chance % 1_000_000 < u64::from(per_million),
        };
        let (trace, span) =
            (parent.as_ref().map_or_else(trace::fresh_trace, |one| one.trace.clone()), trace::fresh_span());
        if parent.is_none() {
            trace::forget_state(&mut head.headers);
        }
        trace::insert(&mut head.headers, &trace, &span, sampled);
        sampled.then(|| Box::new(Span::new(trace, span, parent, head, ends)))
    }

    /// A request is over; how many spans were lost.
    pub fn end(&self, mut span: Span, time: Duration, status: u16, sent: u64) -> u64 {
        span.end_time_unix_nano = span.start_time_unix_nano + time;
        span.attributes.push(attribute("http.response.status_code", i64::from(status)));
        span.attributes.push(attribute("http.response.body.size", i64::try_from(sent).unwrap_or(i64::MAX)));
        span.status = wire::Status::of(status);
        let mut waiting = self.waiting.borrow_mut();
        let bytes = self.bytes.get() + span.bytes();
        if waiting.len() >= MOST || bytes > MOST_BYTES {
            return 1;
        }
        self.bytes.set(bytes);
        waiting.push(span);
        0
    }

    /// Hands over what there is; how many were lost because too many are waiting.
    pub fn flush(&self, settings: &SpanSettings) -> u64 {
        let spans = std::mem::take(&mut *self.waiting.borrow_mut());
        self.bytes.set(0);
        let Some(exporter) = self.exporter.as_ref().filter(|_| !spans.is_empty()) else { return 0 };
        // Where that has just changed to nowhere, they are lost.
        let Some(collector) = exporter.collector(settings) else { return spans.len() as u64 };
        let service = settings.service.clone().unwrap_or_else(|| SERVICE.to_owned());
        match exporter.to.try_send(Batch { collector, service, spans }) {
            Ok(()) => 0,
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => batch.spans.len() as u64,
        }
    }
}

impl Span {
    /// Names are those of OpenTelemetry's conventions for HTTP servers.
    fn new(trace_id: String, span_id: String, parent: Option<Context>, head: &Parts, ends: &Ends) -> Self {
        let now = clock::wall();
        let mut attributes = vec![
            attribute("http.request.method", head.method.as_str()),
            attribute("url.scheme", ends.scheme()),
            attribute("url.path", head.uri.path()),
            attribute("client.address", ends.client.ip().to_canonical().to_string()),
            attribute("network.protocol.version", version(head.version)),
        ];
        attributes.extend(text(&head.headers, "user-agent").map(|agent| attribute("user_agent.original", agent)));
        attributes.extend(text(&head.headers, HOST.as_str()).map(|host| attribute("server.address", host)));
        Span {
            trace_id,
            span_id,
            parent_span_id: parent.map(|parent| parent.span).unwrap_or_default(),
            name: head.method.as_str().to_owned(),
            kind: wire::SERVER,
            start_time_unix_nano: now,
            end_time_unix_nano: now,
            attributes,
            status: wire::Status::of(0),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.attributes.iter().map(Attribute::bytes).sum::<usize>()
    }

    /// The id by which the log knows the request.
    pub fn identified(mut self: Box<Self>, headers: &HeaderMap) -> Box<Self> {
        self.attributes.extend(text(headers, "x-request-id").map(|id| attribute("weir.request_id", id)));
        self
    }

    /// The rule that the request has.
    pub fn route(&mut self, entry: &RouteEntry) {
        if let PathMatch::Exact(path)
        | PathMatch::Prefix(path)
        | PathMatch::ImplementationSpecific(path)
        | PathMatch::Regex(path) = &entry.path
        {
            self.name = format!("{} {path}", self.name);
            self.attributes.push(attribute("http.route", path.as_str()));
        }
        self.attributes.push(attribute("weir.ingress", entry.ingress.as_str()));
    }

    /// The upstream that it goes to.
    pub fn upstream(&mut self, name: &Arc<str>) {
        self.attributes.push(attribute("weir.upstream", &**name));
    }

    /// The endpoint that is tried now; of several tries each is told.
    pub fn endpoint(&mut self, endpoint: std::net::SocketAddr) {
        self.attributes.push(attribute("weir.endpoint", endpoint.to_string()));
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::to_str)?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use hyper::Request;

    use super::*;
    use crate::model::settings::Sampler;

    fn flags(per_million: u32) -> Option<Collector> {
        Some(Collector { address: "127.0.0.1:4318".to_owned(), per_million })
    }

    fn begun(spans: &Spans, traceparent: Option<&str>, chance: u64) -> (Option<Box<Span>>, Context) {
        let mut request = Request::builder().uri("/x?secret");
        if let Some(value) = traceparent {
            request = request.header("traceparent", value);
        }
        let mut head = request.body(()).expect("a request").into_parts().0;
        let ends = Ends::new(([192, 0, 2, 7], 40000).into(), ([203, 0, 113, 1], 80).into());
        let span = spans.begin(&mut head, &ends, &SpanSettings::default(), chance);
        (span, Context::of(&head.headers).expect("backends get one"))
    }

    #[test]
    fn otlp_traces_go_on_and_begin() {
        let (to, _from) = sync_channel(1);
        let spans = Spans::new(Some(Exporter { to, flags: flags(500_000) }));
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (span, told) = begun(&spans, Some(parent), u64::MAX);
        let span = span.expect("the parent is sampled");
        assert_eq!((&*span.trace_id, &*span.parent_span_id), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
        assert_eq!((&told.trace, &told.span, told.is_sampled()), (&span.trace_id, &span.span_id, true));
        let (span, told) = begun(&spans, Some(&parent.replace("-01", "-00")), 0);
        assert!(span.is_none() && !told.is_sampled(), "whoever began it did not want it");
        let (span, told) = begun(&spans, None, 7_499_999);
        assert_eq!((span.expect("sampled").parent_span_id.as_str(), told.is_sampled()), ("", true));
        let (span, told) = begun(&spans, None, 7_500_000);
        assert!(span.is_none() && !told.is_sampled());
    }

    #[test]
    fn otlp_settings_are_stronger_than_flags() {
        let (to, _from) = sync_channel(1);
        let exporter = |flags| Exporter { to: to.clone(), flags };
        let asked = |on, host: Option<&str>, sampler| SpanSettings {
            on,
            host: host.map(str::to_owned),
            sampler,
            ..SpanSettings::default()
        };
        let says = |flags, settings: &SpanSettings| {
            let exporter = exporter(flags);
            (exporter.collector(settings), exporter.per_million(settings))
        };
        let (flag, own) = (Some("127.0.0.1:4318".to_owned()), Some("b:4318".to_owned()));
        assert_eq!(says(None, &asked(None, None, None)), (None, None));
        assert_eq!(says(None, &asked(Some(true), Some("b"), None)), (own.clone(), Some(1_000_000)));
        assert_eq!(says(None, &asked(None, Some("b"), None)), (None, None), "nobody has asked for them");
        assert_eq!(says(flags(5), &asked(None, None, None)), (flag.clone(), Some(5)));
        assert_eq!(says(flags(5), &asked(Some(true), Some("b"), Some(Sampler::Part))), (own, Some(10_000)));
        assert_eq!(says(flags(5), &asked(Some(true), None, Some(Sampler::Never))), (flag, Some(0)));
        assert_eq!(says(flags(5), &asked(Some(false), Some("b"), None)), (None, None));
    }

    #[test]
    fn otlp_spans_never_wait() {
        let (to, from) = sync_channel(1);
        let spans = Spans::new(Some(Exporter { to, flags: flags(1_000_000) }));
        let one = || {
            let span = begun(&spans, None, 0).0.expect("sampled");
            spans.end(*span, Duration::from_millis(1), 200, 5)
        };
        assert_eq!(
            (one(), spans.flush(&SpanSettings::default()), one(), spans.flush(&SpanSettings::default())),
            (0, 0, 0, 1),
            "nobody takes the second"
        );
        assert_eq!(from.recv().expect("a batch").spans.len(), 1);
        let fitting = MOST_BYTES / begun(&spans, None, 0).0.expect("sampled").bytes();
        let lost: u64 = (0..MOST + 3).map(|_| one()).sum();
        assert!(lost >= 3 && lost >= (MOST + 3 - fitting) as u64, "{lost} of {}", MOST + 3);
        spans.flush(&SpanSettings::default());
        let long = || {
            let mut span = begun(&spans, None, 0).0.expect("sampled");
            span.attributes.push(attribute("user_agent.original", "x".repeat(60_000)));
            spans.end(*span, Duration::from_millis(1), 200, 5)
        };
        assert!((0..20).map(|_| long()).sum::<u64>() >= 3, "twenty long ones take more than a megabyte");
    }
}
