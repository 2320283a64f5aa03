//! How an endpoint is chosen.

use super::affinity::Cookie;
use super::value::{self, Parsed, Wrong};
use super::{Annotation, Context, annotation};
use crate::model::filters::{Algorithm, Balance, Breaker, HashBy, Template};

/// How large a group is where nothing else is said.
const SUBSET: u32 = 3;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Balancing {
    pub(super) cookie: Cookie,
    algorithm: Algorithm,
    hash: Option<Template>,
    subset: bool,
    subset_size: Option<u32>,
    slow_start: u64,
    breaker: Breaker,
}

impl Balancing {
    /// Who may wait is of no account without a bound to wait for.
    pub(super) fn breaker(&self) -> Option<Breaker> {
        Some(self.breaker).filter(|breaker| breaker.connections > 0)
    }

    pub(super) fn balance(self, context: &Context<'_>) -> Option<Box<Balance>> {
        let subset = self.subset.then(|| self.subset_size.unwrap_or(SUBSET));
        let balance = Balance {
            algorithm: self.algorithm,
            hash: self.hash.map(|key| HashBy { key, subset }),
            affinity: self.cookie.affinity(context),
            slow_start: self.slow_start,
        };
        (balance != Balance::default()).then(|| Box::new(balance))
    }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "load-balance",
        "round_robin, ewma or least_conn",
        "round_robin",
        "How an endpoint is chosen: in turn by weight; the better of two at random, by times of answers and requests in \
         flight; the one with the fewest requests in flight.",
        "`least_conn` is ours. What is known of endpoints, each core of the front knows for itself.",
        |asked, text| algorithm(text).map(|algorithm| asked.balancing.algorithm = algorithm),
    ),
    annotation(
        "upstream-hash-by",
        "template",
        "",
        "Requests with the same value go to the same endpoint; when endpoints come or go, only their share moves.",
        "Variables come from a closed list. An endpoint with much more than its share of requests in flight is passed \
         over.",
        |asked, text| match value::template(text)? {
            key if key.is_empty() => Err(Wrong::expected("a text with a variable, such as $request_uri")),
            key => {
                asked.balancing.hash = Some(key);
                Ok(())
            }
        },
    ),
    annotation(
        "upstream-hash-by-subset",
        "flag",
        "false",
        "The hash chooses a group of endpoints, which take turns.",
        "",
        |asked, text| value::flag(text).map(|subset| asked.balancing.subset = subset),
    ),
    annotation("upstream-hash-by-subset-size", "number", "3", "How large such a group is.", "", |asked, text| {
        value::number(text, 1..=10_000).map(|size| asked.balancing.subset_size = Some(size))
    }),
];

/// Our own.
pub(super) const OWN: &[Annotation] = &[
    annotation(
        "slow-start",
        "seconds",
        "0",
        "For so long an endpoint that is new gets less than its share of requests, growing with its age.",
        "",
        |asked, text| value::duration(text).map(|time| asked.balancing.slow_start = time),
    ),
    annotation(
        "max-connections",
        "number",
        "0",
        "How many requests the front of a node has with one endpoint at once: over HTTP/1 that is connections. Others go to \
         an endpoint that has room, else wait as `max-pending-requests` says; 0: no bound.",
        "",
        |asked, text| value::number(text, 0..=1_000_000).map(|most| asked.balancing.breaker.connections = most),
    ),
    annotation(
        "max-pending-requests",
        "number",
        "0",
        "How many requests may wait for an endpoint that has as many as `max-connections` says, each for as long as a \
         connection may take; the answer to others is 503.",
        "",
        |asked, text| value::number(text, 0..=1_000_000).map(|most| asked.balancing.breaker.pending = most),
    ),
];

fn algorithm(text: &str) -> Parsed<Algorithm> {
    match text.trim() {
        "round_robin" => Ok(Algorithm::RoundRobin),
        "ewma" => Ok(Algorithm::Ewma),
        "least_conn" => Ok(Algorithm::LeastConnections),
        _ => Err(Wrong::expected("round_robin, ewma or least_conn")),
    }
}
