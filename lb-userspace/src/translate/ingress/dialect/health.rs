//! Questions to endpoints, whether they can serve.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, annotation};
use crate::model::filters::HealthCheck;

/// What is asked for; nothing is without a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Health {
    path: Option<String>,
    host: Option<String>,
    interval: Option<u64>,
    timeout: Option<u64>,
    healthy: Option<u32>,
    unhealthy: Option<u32>,
    statuses: Option<Vec<(u16, u16)>>,
}

const INTERVAL: u64 = 10_000;
const TIMEOUT: u64 = 5_000;

impl Health {
    pub(super) fn check(self) -> Option<Box<HealthCheck>> {
        let interval = self.interval.unwrap_or(INTERVAL);
        Some(Box::new(HealthCheck {
            path: self.path?,
            host: self.host,
            interval,
            timeout: self.timeout.unwrap_or(TIMEOUT),
            healthy: self.healthy.unwrap_or(2),
            unhealthy: self.unhealthy.unwrap_or(3),
            statuses: self.statuses.unwrap_or_else(|| vec![(200, 399)]),
        }))
    }
}

/// Our own.
pub(super) const OWN: &[Annotation] = &[
    annotation(
        "health-check-path",
        "path",
        "",
        "The front of each node asks each endpoint for it by GET, over a new connection as those for requests are; \
         endpoints that do not answer well take requests only where no other does.",
        "",
        |asked, text| value::path(text).map(|path| asked.health.path = Some(path)),
    ),
    annotation(
        "health-check-host",
        "host",
        "the endpoint's address",
        "The Host of such a request.",
        "",
        |asked, text| host(text).map(|host| asked.health.host = Some(host)),
    ),
    annotation(
        "health-check-interval",
        "seconds",
        "10",
        "How long to wait between two such requests, from 100 ms to a day.",
        "",
        |asked, text| time(text, 100).map(|time| asked.health.interval = Some(time)),
    ),
    annotation("health-check-timeout", "seconds", "5", "How long the answer may take.", "", |asked, text| {
        time(text, 1).map(|time| asked.health.timeout = Some(time))
    }),
    annotation(
        "health-check-healthy-threshold",
        "number",
        "2",
        "Good answers in a row after which an endpoint that was left out takes requests again.",
        "",
        |asked, text| value::number(text, 1..=1000).map(|count| asked.health.healthy = Some(count)),
    ),
    annotation(
        "health-check-unhealthy-threshold",
        "number",
        "3",
        "Bad answers in a row, or none, after which an endpoint is left out. A new one is taken for healthy.",
        "",
        |asked, text| value::number(text, 1..=1000).map(|count| asked.health.unhealthy = Some(count)),
    ),
    annotation(
        "health-check-statuses",
        "statuses and ranges between commas",
        "200-399",
        "Which answers are good.",
        "",
        |asked, text| statuses(text).map(|statuses| asked.health.statuses = Some(statuses)),
    ),
];

fn time(text: &str, least: u64) -> Parsed<u64> {
    let wrong = || Wrong::expected(format!("a time from {least} ms to 1d"));
    value::duration(text).and_then(|time| if (least..=86_400_000).contains(&time) { Ok(time) } else { Err(wrong()) })
}

fn host(text: &str) -> Parsed<String> {
    let good = |text: &&str| crate::l7::host::split(text).is_some();
    Some(text.trim()).filter(good).map(str::to_owned).ok_or_else(|| Wrong::expected("a host, with or without a port"))
}

fn statuses(text: &str) -> Parsed<Vec<(u16, u16)>> {
    let wrong = || Wrong::expected("statuses between commas, such as 200-299,404");
    let status = |text: &str| text.trim().parse().ok().filter(|status| (100..600).contains(status));
    let range = |piece: &str| {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let range = status(first).zip(status(last)).filter(|(first, last)| first <= last);
        range.ok_or_else(wrong)
    };
    let ranges: Vec<_> = value::list(text).map(range).collect::<Parsed<_>>()?;
    if ranges.is_empty() { Err(wrong()) } else { Ok(ranges) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        assert_eq!(statuses("200-299, 404"), Ok(vec![(200, 299), (404, 404)]));
        for text in ["", "2xx", "299-200", "200-", "99", "600", "200 300"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_asked_without_a_path() {
        assert_eq!(Health { interval: Some(1), ..Health::default() }.check(), None);
        let check = Health { path: Some("/".to_owned()), ..Health::default() }.check().expect("a check");
        assert_eq!((check.interval, check.timeout, check.healthy, check.unhealthy), (10_000, 5_000, 2, 3));
        assert!(check.expects(200) && check.expects(399) && !check.expects(400) && !check.expects(199));
    }
}
