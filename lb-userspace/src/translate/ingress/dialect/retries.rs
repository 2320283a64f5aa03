//! When another endpoint is tried.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Support};
use crate::model::filters::Retry;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Retries {
    conditions: Option<Retry>,
    tries: Option<u32>,
    timeout: Option<u64>,
}

impl Retries {
    pub(super) fn retry(self) -> Option<Box<Retry>> {
        let usual = Retry::default();
        let mut retry = self.conditions.unwrap_or_else(|| usual.clone());
        retry.tries = self.tries.unwrap_or(usual.tries);
        retry.timeout = self.timeout.unwrap_or(usual.timeout);
        (retry != usual).then(|| Box::new(retry))
    }
}

const CONDITIONS: &str = "some of error, timeout, invalid_header, http_500, http_502, http_503, http_504, http_403, \
                          http_404, http_429, non_idempotent; or off";

pub(super) const ANNOTATIONS: &[Annotation] = &[
    Annotation {
        name: "proxy-next-upstream",
        kind: "conditions",
        default: "error timeout",
        meaning: "What another endpoint makes good: error (no connection, or it broke), timeout, invalid_header, http_500, \
                  http_502, http_503, http_504, http_403, http_404, http_429; non_idempotent repeats POST and PATCH too; \
                  off.",
        difference: "A body that is on its way already is not sent twice. After a while of many failures only every \
                     fifth request may be repeated.",
        support: Support::Applied(|asked, text| conditions(text).map(|retry| asked.retries.conditions = Some(retry))),
    },
    Annotation {
        name: "proxy-next-upstream-timeout",
        kind: "seconds",
        default: "0",
        meaning: "After this time no further endpoint is tried; 0: no limit.",
        difference: "",
        support: Support::Applied(|asked, text| value::duration(text).map(|time| asked.retries.timeout = Some(time))),
    },
    Annotation {
        name: "proxy-next-upstream-tries",
        kind: "number",
        default: "3",
        meaning: "How many endpoints one request tries; 0: all.",
        difference: "",
        support: Support::Applied(|asked, text| {
            value::number(text, 0..=1_000_000).map(|tries| asked.retries.tries = Some(tries))
        }),
    },
];

fn conditions(text: &str) -> Parsed<Retry> {
    let mut retry = Retry::never();
    let words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
    let mut count = 0;
    for word in words {
        count += 1;
        match word {
            "error" => retry.on_error = true,
            "timeout" => retry.on_timeout = true,
            "invalid_header" => retry.on_invalid = true,
            "non_idempotent" => retry.repeats_all = true,
            "off" => return Ok(Retry::never()),
            _ => retry.on_status.push(status(word).ok_or_else(|| Wrong::expected(CONDITIONS))?),
        }
    }
    if count == 0 { Err(Wrong::expected(CONDITIONS)) } else { Ok(retry) }
}

fn status(word: &str) -> Option<u16> {
    let status = word.strip_prefix("http_")?.parse().ok()?;
    [500, 502, 503, 504, 403, 404, 429].contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_words() {
        let retry = conditions("error http_503,http_429 non_idempotent").expect("good");
        assert!(retry.on_error && retry.repeats_all && !retry.on_timeout && !retry.on_invalid);
        assert_eq!(retry.on_status, [503, 429]);
        assert_eq!(conditions("off"), Ok(Retry::never()));
        for wrong in ["", "http_418", "sometimes", "error;timeout"] {
            assert_eq!(conditions(wrong), Err(Wrong::expected(CONDITIONS)), "{wrong}");
        }
    }
}
