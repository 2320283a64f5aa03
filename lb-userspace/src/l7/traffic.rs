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
use super::worker::View;
use crate::model::PathMatch;

/// Routes, statuses and methods that the agent remembers.
const MOST: usize = 200_000;
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
    /// Status of the answer.
    pub status: u16,
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
        self.counts.iter().sum()
    }
}

impl AddAssign<&Buckets> for Buckets {
    fn add_assign(&mut self, other: &Buckets) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

impl AddAssign<&TrafficCounts> for TrafficCounts {
    fn add_assign(&mut self, other: &TrafficCounts) {
        self.requests += other.requests;
        self.received += other.received;
        self.sent += other.sent;
        self.time += other.time;
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
        let seat = (view.router.version, rule, done.status, method(done.method), done.canary.cloned());
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

/// A client may send any method, and must not make names of its own.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}

/// What was counted, by route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic(BTreeMap<TrafficKey, TrafficCounts>);

impl Traffic {
    /// Adds to what is there.
    pub fn add(&mut self, key: TrafficKey, counts: &TrafficCounts) {
        if self.0.len() < MOST || self.0.contains_key(&key) {
            *self.0.entry(key).or_default() += counts;
        }
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&TrafficKey, &TrafficCounts)> {
        self.0.iter()
    }

    /// In portions that fit a message.
    pub fn into_portions(self) -> impl Iterator<Item = Vec<(TrafficKey, TrafficCounts)>> {
        let mut rest = self.0.into_iter().map(shortened).peekable();
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

fn shortened((mut key, counts): (TrafficKey, TrafficCounts)) -> (TrafficKey, TrafficCounts) {
    // A path is ASCII.
    key.path.truncate(LONGEST_PATH);
    (key, counts)
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
