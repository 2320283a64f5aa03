//! What is counted of each route: by status and method, and, where somebody wants that, how long requests took and how
//! large they were. Workers count for themselves and hand over once a second; the agent adds up.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::access_log::Tries;
use super::table::RouteEntry;
use super::worker::View;
use crate::model::PathMatch;

/// Routes, statuses and methods that the agent remembers.
const MOST: usize = 200_000;
/// Bytes of their names.
const MOST_BYTES: usize = 128 << 20;
/// Statuses that no server should send are one.
const OTHER_STATUS: u16 = 600;
/// Longest name of a host, and of an object with its namespace (RFC 1123 allows 253 bytes for each).
const LONGEST_HOST: usize = 255;
const LONGEST_NAME: usize = 2 * 253 + 1;
/// A canary is told with its port.
const LONGEST_CANARY: usize = LONGEST_NAME + ":65535".len();
/// Bounds of the buckets of times, in microseconds: those of Prometheus' client libraries.
pub const TIMES: [u64; 11] =
    [5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];
/// Bounds of the buckets of requests, in bytes: those of ingress-nginx.
pub const LENGTHS: [u64; 10] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
/// Bounds of the buckets of answers, in bytes: those of ingress-nginx.
pub const SIZES: [u64; 7] = [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Of what something is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficKey {
    /// The host of the rule; `*`: any. Empty: no rule.
    pub host: String,
    /// The path of the rule.
    pub path: String,
    /// `namespace/name` of the Ingress.
    pub ingress: String,
    /// `namespace/name` of the Service.
    pub service: String,
    /// The canary that took the request, as `namespace/service:port`; empty: none.
    pub canary: String,
    /// The method; those that nobody registered are `OTHER`.
    pub method: String,
    /// Status of the answer; 600: one that is none.
    pub status: u16,
}

impl TrafficKey {
    fn bytes(&self) -> usize {
        let Self { host, path, ingress, service, canary, method, status: _ } = self;
        [host, path, ingress, service, canary, method].iter().map(|text| text.len()).sum()
    }

    /// A front that does what it should can have counted it.
    fn is_plausible(&self) -> bool {
        let Self { host, path, ingress, service, canary, method, status } = self;
        host.len() <= LONGEST_HOST
            && path.len() <= LONGEST_PATH
            && ingress.len() <= LONGEST_NAME
            && service.len() <= LONGEST_NAME
            && canary.len() <= LONGEST_CANARY
            && METHODS.contains(&method.as_str())
            && (100..=OTHER_STATUS).contains(status)
    }
}

/// What is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficCounts {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub received: u64,
    /// Bytes of the bodies of answers.
    pub sent: u64,
    /// From the head of the request to the end of the answer, in microseconds.
    pub time: u64,
    /// In detail, if somebody wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<Detail>>,
}

/// Times in microseconds, sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// From the head of the request to the end of the answer.
    pub request_time: Buckets,
    /// Until there was a connection to the endpoint.
    pub connect_time: Buckets,
    /// Until the endpoint answered.
    pub header_time: Buckets,
    /// Until the end of its answer.
    pub response_time: Buckets,
    /// Bodies of requests.
    pub request_size: Buckets,
    /// Bodies of answers.
    pub response_size: Buckets,
}

/// How many values were at most as large as each bound, the larger ones last; and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// Values of each bucket alone.
    pub counts: Vec<u64>,
    /// Sum of all.
    pub sum: u64,
}

impl Buckets {
    fn observe(&mut self, value: u64, bounds: &[u64]) {
        self.counts.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// The sums never overflow: what is added may come from a front that does not do what it should.
impl AddAssign<&Buckets> for Buckets {
    fn add_assign(&mut self, other: &Buckets) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        self.sum = self.sum.saturating_add(other.sum);
    }
}

impl TrafficCounts {
    fn is_plausible(&self) -> bool {
        self.detail.as_deref().is_none_or(|detail| {
            let Detail { request_time, connect_time, header_time, response_time, request_size, response_size } = detail;
            let all = [request_time, connect_time, header_time, response_time, request_size, response_size];
            all.iter().all(|buckets| buckets.counts.len() <= TIMES.len() + 1)
        })
    }
}

impl AddAssign<&TrafficCounts> for TrafficCounts {
    fn add_assign(&mut self, other: &TrafficCounts) {
        self.requests = self.requests.saturating_add(other.requests);
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.time = self.time.saturating_add(other.time);
        if let Some(other) = &other.detail {
            let detail = self.detail.get_or_insert_default();
            detail.request_time += &other.request_time;
            detail.connect_time += &other.connect_time;
            detail.header_time += &other.header_time;
            detail.response_time += &other.response_time;
            detail.request_size += &other.request_size;
            detail.response_size += &other.response_size;
        }
    }
}

/// What one request adds.
#[derive(Debug)]
pub struct Done<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Status of the answer.
    pub status: u16,
    /// The canary that took it.
    pub canary: Option<&'a Arc<str>>,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// From its head to the end of the answer.
    pub time: Duration,
    /// Endpoints that were tried.
    pub tries: &'a Tries,
}

impl Done<'_> {
    fn add_to(&self, counts: &mut TrafficCounts, in_detail: bool) {
        counts.requests += 1;
        counts.received += self.received;
        counts.sent += self.sent;
        counts.time += micros(self.time);
        if !in_detail {
            return;
        }
        let detail = counts.detail.get_or_insert_default();
        detail.request_time.observe(micros(self.time), &TIMES);
        detail.request_size.observe(self.received, &LENGTHS);
        detail.response_size.observe(self.sent, &SIZES);
        if let Some(last) = self.tries.last() {
            last.connected.iter().for_each(|time| detail.connect_time.observe(micros(*time), &TIMES));
            last.answered.iter().for_each(|(_, time)| detail.header_time.observe(micros(*time), &TIMES));
            detail.response_time.observe(micros(last.ended), &TIMES);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a worker has counted since it handed over last.
#[derive(Debug, Default)]
pub struct Tally {
    in_detail: bool,
    counted: RefCell<HashMap<Seat, (Rc<View>, TrafficCounts)>>,
}

/// A rule of one version of the table, a status, a method, perhaps a canary.
type Seat = (u64, Option<usize>, u16, &'static str, Option<Arc<str>>);

impl Tally {
    /// Nothing so far.
    pub fn new(in_detail: bool) -> Self {
        Tally { in_detail, counted: RefCell::default() }
    }

    /// A request is over; `rule` is its number in the table, if it has one.
    pub fn count(&self, view: &Rc<View>, rule: Option<usize>, done: &Done<'_>) {
        let seat =
            (view.router.version, rule, done.status.min(OTHER_STATUS), method(done.method), done.canary.cloned());
        let mut counted = self.counted.borrow_mut();
        let (_, counts) = counted.entry(seat).or_insert_with(|| (Rc::clone(view), TrafficCounts::default()));
        done.add_to(counts, self.in_detail);
    }

    /// Hands over what was counted.
    pub fn hand_over(&self, to: &mut Traffic) {
        for ((_, rule, status, method, canary), (view, counts)) in self.counted.borrow_mut().drain() {
            let named = rule.and_then(|rule| view.router.rule(rule)).map(|(host, entry)| TrafficKey {
                host: host.to_string(),
                path: path(&entry.path).to_owned(),
                ingress: entry.ingress.clone(),
                service: entry.service.clone(),
                ..TrafficKey::default()
            });
            let canary = canary.as_deref().unwrap_or_default().to_owned();
            let key = TrafficKey { canary, method: method.to_owned(), status, ..named.unwrap_or_default() };
            to.add(key, &counts);
        }
    }
}

/// As the Ingress has it; empty for a default backend.
fn path(path: &PathMatch) -> &str {
    match path {
        PathMatch::Exact(text)
        | PathMatch::Prefix(text)
        | PathMatch::ImplementationSpecific(text)
        | PathMatch::Regex(text) => text,
        PathMatch::Default => "",
    }
}

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", OTHER_METHOD];
const OTHER_METHOD: &str = "OTHER";

/// A client may send any method, and must not make names of its own.
fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|name| *name == method.as_str()).unwrap_or(OTHER_METHOD)
}

/// What was counted, by route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    counted: BTreeMap<TrafficKey, TrafficCounts>,
    /// Of the names in it.
    bytes: usize,
    dropped: u64,
}

impl Traffic {
    /// Adds to what is there, if there is room.
    pub fn add(&mut self, key: TrafficKey, counts: &TrafficCounts) {
        if let Some(sum) = self.counted.get_mut(&key) {
            *sum += counts;
            return;
        }
        let bytes = self.bytes + key.bytes();
        if self.counted.len() >= MOST || bytes > MOST_BYTES {
            self.dropped = self.dropped.saturating_add(counts.requests);
            return;
        }
        self.bytes = bytes;
        *self.counted.entry(key).or_default() += counts;
    }

    /// Adds what a front tells, which is not believed more than it has to be; details only if somebody wants them.
    pub fn hear(&mut self, key: TrafficKey, counts: &TrafficCounts, in_detail: bool) {
        let wanted = in_detail || counts.detail.is_none();
        if wanted && key.is_plausible() && counts.is_plausible() {
            self.add(key, counts);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&TrafficKey, &TrafficCounts)> {
        self.counted.iter()
    }

    /// Requests that are not in it, because there was no room for them or what was told of them could not be.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets what was counted of these.
    pub fn forget(&mut self, gone: impl Fn(&TrafficKey) -> bool) {
        self.counted.retain(|key, _| !gone(key));
        self.bytes = self.counted.keys().map(TrafficKey::bytes).sum();
    }

    /// In portions that fit a message.
    pub fn into_portions(self) -> impl Iterator<Item = Vec<(TrafficKey, TrafficCounts)>> {
        let mut rest = self.counted.into_iter().map(shortened).peekable();
        std::iter::from_fn(move || {
            rest.peek()?;
            let mut portion = Vec::new();
            let mut bytes = 0;
            while let Some(next) = rest.next_if(|next| portion.is_empty() || bytes + size(next) < PORTION) {
                bytes += size(&next);
                portion.push(next);
            }
            Some(portion)
        })
    }
}

/// Bytes of a portion, a good deal below [`super::control::MAX_REPORT`].
const PORTION: usize = 32 << 10;
/// Paths of rules are hardly ever that long.
const LONGEST_PATH: usize = 1024;

fn shortened((key, counts): (TrafficKey, TrafficCounts)) -> (TrafficKey, TrafficCounts) {
    (TrafficKey { path: told_path(&key.path).to_owned(), ..key }, counts)
}

/// The beginning of a path, which is ASCII.
fn told_path(path: &str) -> &str {
    path.get(..LONGEST_PATH).unwrap_or(path)
}

/// The path of a rule as it stands in keys that a front has told.
pub fn path_of(entry: &RouteEntry) -> &str {
    told_path(path(&entry.path))
}

/// About as many as it has as JSON: a path may be escaped throughout.
fn size((key, counts): &(TrafficKey, TrafficCounts)) -> usize {
    let texts = key.host.len() + 2 * key.path.len() + key.ingress.len() + key.service.len() + key.canary.len();
    let detail = if counts.detail.is_some() { 6 * 13 * 12 } else { 0 };
    texts + detail + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str) -> TrafficKey {
        TrafficKey { host: host.to_owned(), status: 200, ..TrafficKey::default() }
    }

    fn counts(time: u64) -> TrafficCounts {
        let done = Done {
            method: &Method::GET,
            status: 200,
            canary: None,
            received: 10,
            sent: 11,
            time: Duration::from_micros(time),
            tries: &Tries::default(),
        };
        let mut counts = TrafficCounts::default();
        done.add_to(&mut counts, true);
        counts
    }

    #[test]
    fn values_stand_in_the_bucket_of_the_next_bound() {
        let mut traffic = Traffic::default();
        for time in [5_000, 5_001, 99_000_000] {
            traffic.add(key("a"), &counts(time));
        }
        let (_, sum) = traffic.iter().next().expect("one");
        let detail = sum.detail.as_ref().expect("in detail");
        assert_eq!((sum.requests, sum.received, sum.time), (3, 30, 99_010_001));
        assert_eq!(detail.request_time.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((detail.request_size.counts[0], detail.response_size.counts[1]), (3, 3));
        assert_eq!((detail.request_time.total(), detail.header_time.total()), (3, 0));
    }

    #[test]
    fn a_front_that_is_not_itself_cannot_fill_the_memory() {
        let mut traffic = Traffic::default();
        let good = TrafficKey { method: "GET".to_owned(), ..key("a.example") };
        let long = |length: usize| "x".repeat(length);
        for wrong in [
            TrafficKey { host: long(256), ..good.clone() },
            TrafficKey { path: long(1025), ..good.clone() },
            TrafficKey { ingress: long(600), ..good.clone() },
            TrafficKey { service: long(600), ..good.clone() },
            TrafficKey { canary: long(600), ..good.clone() },
            TrafficKey { method: "MADEUP".to_owned(), ..good.clone() },
            TrafficKey { status: 601, ..good.clone() },
        ] {
            traffic.hear(wrong, &TrafficCounts::default(), true);
        }
        let mut many = counts(1);
        traffic.hear(good.clone(), &many, false);
        many.detail.get_or_insert_default().request_time.counts = vec![0; 1000];
        traffic.hear(good.clone(), &many, true);
        assert_eq!((traffic.iter().count(), traffic.dropped()), (0, 9));
        for number in 0..60_000 {
            let path = format!("{number}{}", long(1000));
            let key = TrafficKey { path, ingress: long(500), service: long(500), canary: long(500), ..good.clone() };
            traffic.hear(key, &TrafficCounts { requests: u64::MAX, ..TrafficCounts::default() }, false);
        }
        let bytes: usize = traffic.iter().map(|(key, _)| key.bytes()).sum();
        assert!(bytes <= MOST_BYTES && bytes > MOST_BYTES - 4096, "{bytes}");
        assert_eq!(traffic.dropped(), u64::MAX);
        // Whom it knows it goes on counting, and never overflows.
        let (known, before) = traffic.iter().next().map(|(key, counts)| (key.clone(), counts.requests)).expect("one");
        traffic.hear(known.clone(), &TrafficCounts { requests: 7, ..TrafficCounts::default() }, false);
        assert_eq!(traffic.iter().find(|(key, _)| **key == known).map(|(_, counts)| counts.requests), Some(before));
        traffic.forget(|_| true);
        traffic.hear(good, &TrafficCounts::default(), false);
        assert_eq!(traffic.iter().count(), 1);
    }

    #[test]
    fn portions_fit_messages_and_lose_nothing() {
        let mut traffic = Traffic::default();
        for number in 0..1000 {
            let path = format!("/{}", "\"".repeat(number % 2000));
            traffic.add(TrafficKey { path, ..key(&format!("{number:0250}.example")) }, &counts(u64::MAX / 2000));
        }
        let portions: Vec<_> = traffic.into_portions().collect();
        assert_eq!(portions.iter().map(Vec::len).sum::<usize>(), 1000);
        for portion in &portions {
            let length = serde_json::to_string(portion).expect("JSON").len();
            assert!(length < crate::l7::control::MAX_REPORT - 64, "{length}");
        }
    }
}
