//! How much one client may ask for.

use ipnet::IpNet;

use super::value::{self, Parsed, Wrong};
use super::{Annotation, annotation};
use crate::model::filters::{GlobalLimit, RequestLimits, Template};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    limits: RequestLimits,
    requests: Option<u32>,
    window: Option<u64>,
    key: Option<Template>,
    uncounted: Vec<IpNet>,
}

impl Limits {
    pub(super) fn limits(mut self) -> Option<Box<RequestLimits>> {
        // Without both nothing is limited, as with ingress-nginx.
        self.limits.global = self.requests.zip(self.window).map(|(requests, window)| GlobalLimit {
            requests,
            window,
            key: self.key.unwrap_or_else(|| Template::parse("$remote_addr").unwrap_or_default()),
            exempt: self.uncounted,
        });
        let limits = self.limits;
        let limited = limits.per_second.or(limits.per_minute).or(limits.in_flight).is_some()
            || limits.global.is_some()
            || limits.bytes_per_second.is_some();
        limited.then(|| Box::new(limits))
    }
}

const PER_NODE: &str = "Counted by each node for itself; there is no memcached between them.";

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation("limit-rps", "number", "0", "Requests of one client per second; more get 503.", "", |asked, text| {
        positive(text).map(|rate| asked.limits.limits.per_second = rate)
    }),
    annotation("limit-rpm", "number", "0", "Requests of one client per minute; more get 503.", "", |asked, text| {
        positive(text).map(|rate| asked.limits.limits.per_minute = rate)
    }),
    annotation(
        "limit-burst-multiplier",
        "number",
        "5",
        "How many times the rate may come at once.",
        "",
        |asked, text| positive(text).map(|times| asked.limits.limits.burst_multiplier = times),
    ),
    annotation(
        "limit-connections",
        "number",
        "0",
        "Requests in flight of one client; more get 503.",
        "",
        |asked, text| positive(text).map(|count| asked.limits.limits.in_flight = count),
    ),
    annotation(
        "limit-whitelist",
        "CIDRs",
        "",
        "Clients for whom limit-rps, limit-rpm and limit-connections do not hold.",
        "",
        |asked, text| value::networks(text).map(|networks| asked.limits.limits.exempt = networks),
    ),
    annotation("limit-rate", "kilobytes", "0", "Kilobytes per second of one answer.", "", |asked, text| {
        positive(text).map(|rate| asked.limits.limits.bytes_per_second = rate.map(|rate| u64::from(rate) << 10))
    }),
    annotation(
        "limit-rate-after",
        "kilobytes",
        "0",
        "Kilobytes of an answer before limit-rate holds.",
        "",
        |asked, text| positive(text).map(|size| asked.limits.limits.bytes_before = u64::from(size.unwrap_or(0)) << 10),
    ),
    annotation(
        "global-rate-limit",
        "number",
        "0",
        "Requests per global-rate-limit-window; more get 429.",
        PER_NODE,
        |asked, text| positive(text).map(|requests| asked.limits.requests = requests),
    ),
    annotation("global-rate-limit-window", "time", "", "The window of global-rate-limit.", "", |asked, text| {
        match value::duration(text)? {
            0 => Err(Wrong::expected("a time above 0")),
            window => {
                asked.limits.window = Some(window);
                Ok(())
            }
        }
    }),
    annotation(
        "global-rate-limit-key",
        "template",
        "$remote_addr",
        "What is counted together.",
        "Variables come from a closed list.",
        |asked, text| value::template(text).map(|key| asked.limits.key = Some(key)),
    ),
    annotation("global-rate-limit-ignored-cidrs", "CIDRs", "", "Clients that are not counted.", "", |asked, text| {
        value::networks(text).map(|networks| asked.limits.uncounted = networks)
    }),
];

/// 0 stands for no limit.
fn positive(text: &str) -> Parsed<Option<u32>> {
    value::number(text, 0..=1_000_000_000).map(|number| Some(number).filter(|&number| number > 0))
}
