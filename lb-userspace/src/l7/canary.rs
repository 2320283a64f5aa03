//! Which requests go to the canary of a route.

use hyper::http::request::Parts;
use regex::bytes::{Regex, RegexBuilder};

use super::balance::Cookie;
use super::cookies;
use crate::model::filters::{Affinity, Canary};

/// Compiled size; bounds the time of a match with the length of a header.
const SIZE_LIMIT: usize = 128 * 1024;

/// A compiled pattern for values of a header; matches anywhere in it.
#[derive(Clone, Debug)]
pub struct HeaderPattern(Regex);

impl HeaderPattern {
    /// Compiles; `None`: not a regular expression, one with what is not supported, or too big.
    pub fn new(text: &str) -> Option<Self> {
        RegexBuilder::new(text).size_limit(SIZE_LIMIT).nest_limit(50).build().ok().map(HeaderPattern)
    }
}

/// The same text; what is compiled follows from it.
impl PartialEq for HeaderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for HeaderPattern {}

/// The canary of a rule, prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryRule {
    /// Index in [`super::router::Router::upstreams`].
    pub upstream: usize,
    pattern: Option<HeaderPattern>,
}

impl CanaryRule {
    /// Prepares it; `None`: there is nothing to send requests to.
    pub fn new(canary: &Canary, find: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        let upstream = find(&canary.to.as_ref()?.upstream())?;
        Some(CanaryRule { upstream, pattern: canary.pattern.as_deref().and_then(HeaderPattern::new) })
    }

    /// Whether the request goes there, if it says so itself.
    pub fn takes(&self, canary: &Canary, head: &Parts) -> Option<bool> {
        if let Some(decided) = canary.header.as_deref().and_then(|name| self.by_header(canary, name, head)) {
            return Some(decided);
        }
        canary.cookie.as_deref().and_then(|name| match cookies::find(&head.headers, name)? {
            "always" => Some(true),
            "never" => Some(false),
            _ => None,
        })
    }

    fn by_header(&self, canary: &Canary, name: &str, head: &Parts) -> Option<bool> {
        let value = head.headers.get(name)?.as_bytes();
        match (&canary.value, &self.pattern) {
            (Some(wanted), _) => (value == wanted.as_bytes()).then_some(true),
            (None, Some(pattern)) => pattern.0.is_match(value).then_some(true),
            (None, None) if value == b"always" => Some(true),
            (None, None) if value == b"never" => Some(false),
            (None, None) => None,
        }
    }
}

/// Whether a request that leaves it open goes to the canary. `random` is evenly spread.
pub fn by_weight(canary: &Canary, random: u64) -> bool {
    random % u64::from(canary.total.max(1)) < u64::from(canary.weight)
}

/// What the cookie of an affinity says: with the canary (true), or with the route's own upstream (false).
pub fn kept(affinity: &Affinity, cookie: Option<Cookie>, own: &str, canary: &str) -> Option<bool> {
    let cookie = cookie?;
    if cookie.is_for(affinity, own) {
        return Some(false);
    }
    cookie.is_for(affinity, canary).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(Request::builder().uri("/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn takes(canary: &Canary, headers: &[(&str, &str)]) -> bool {
        let mut canary = canary.clone();
        canary.to = Some(crate::model::filters::ServicePort::default());
        let rule = CanaryRule::new(&canary, |_| Some(0)).expect("a target");
        rule.takes(&canary, &head(headers)).unwrap_or_else(|| by_weight(&canary, 50))
    }

    #[test]
    fn header_then_cookie_then_weight() {
        let by = |weight| Canary {
            header: Some("x-canary".into()),
            cookie: Some("canary".into()),
            weight,
            total: 100,
            ..Canary::default()
        };
        for (headers, weight, expected) in [
            (&[][..], 50, false),
            (&[], 51, true),
            (&[("x-canary", "always"), ("cookie", "canary=never")], 0, true),
            (&[("x-canary", "never"), ("cookie", "canary=always")], 100, false),
            (&[("x-canary", "perhaps"), ("cookie", "a=b; canary=always")], 0, true),
            (&[("cookie", "canary=never")], 100, false),
            (&[("cookie", "canary=1")], 100, true),
        ] {
            assert_eq!(takes(&by(weight), headers), expected, "{headers:?} {weight}");
        }
    }

    #[test]
    fn values_and_patterns_of_the_header() {
        let value = Canary {
            header: Some("x-canary".into()),
            value: Some("eu".into()),
            pattern: Some(".*".into()),
            total: 100,
            ..Canary::default()
        };
        let pattern = Canary { value: None, pattern: Some("^(eu|us)-".into()), ..value.clone() };
        for (canary, sent, expected) in [
            (&value, "eu", true),
            (&value, "always", false),
            (&pattern, "us-east", true),
            (&pattern, "aus-east", false),
            (&pattern, "always", false),
        ] {
            assert_eq!(takes(canary, &[("x-canary", sent)]), expected, "{sent}");
        }
        // What the header leaves open, the weight decides.
        assert!(takes(&Canary { weight: 100, ..value }, &[("x-canary", "us")]));
    }
}
