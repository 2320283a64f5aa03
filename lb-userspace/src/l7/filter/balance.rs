//! What ties a request to an endpoint, and the cookie that does so for the next ones.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE, USER_AGENT};
use hyper::http::request::Parts;

use super::variables::Seen;
use crate::l7::balance::{Cookie, Ties, cookie_text};
use crate::l7::cookies;
use crate::l7::forward::Ends;
use crate::l7::rules::Rule;
use crate::model::PathMatch;
use crate::model::filters::{Affinity, Balance, SameSite};
use crate::siphash::UNKEYED;

/// What ties a request to an endpoint.
pub fn ties(balance: &Balance, affinity: Option<&Affinity>, rule: &Rule, head: &Parts, ends: &Ends) -> Ties {
    let seen = Seen { rule, head, ends };
    let hash = balance.hash.as_ref().map(|hash| UNKEYED.hash(hash.key.expand(&seen).as_bytes()));
    let cookie = affinity.and_then(|affinity| cookies::find(&head.headers, &affinity.name)).and_then(Cookie::parse);
    Ties { hash, cookie, secure: seen.is_secure() }
}

/// A cookie that is to be set.
pub fn set_cookie(
    affinity: &Affinity,
    upstream: &str,
    value: u64,
    path: &PathMatch,
    secure: bool,
    request: &HeaderMap,
    now: SystemTime,
) -> Option<(hyper::header::HeaderName, HeaderValue)> {
    let mut text = format!("{}={}", affinity.name, cookie_text(affinity, upstream, value));
    let path = affinity.path.as_deref().unwrap_or_else(|| path_of(path));
    // Writing to a String does not fail.
    let _ = write!(text, "; Path={path}{}", affinity.attributes);
    if let Some(seconds) = affinity.expires {
        let _ = write!(text, "; Expires={}", httpdate::fmt_http_date(now + Duration::from_secs(seconds)));
    }
    if affinity.secure.unwrap_or(secure) {
        text.push_str("; Secure");
    }
    text.push_str("; HttpOnly");
    let agent = request.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let left_out = |site| site == SameSite::None && affinity.conditional && misreads_none(agent);
    if let Some(site) = affinity.same_site.filter(|&site| !left_out(site)) {
        let _ = write!(text, "; SameSite={}", site.text());
    }
    Some((SET_COOKIE, HeaderValue::try_from(text).ok()?))
}

/// Browsers would not send it back for what an expression matches.
fn path_of(path: &PathMatch) -> &str {
    match path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::ImplementationSpecific(path) => path,
        PathMatch::Regex(_) | PathMatch::Default => "/",
    }
}

/// Browsers that take `SameSite=None` for `Strict`, or throw such cookies away, by the list of the Chromium project
/// (chromium.org/updates/same-site/incompatible-clients): iOS 12, Safari on macOS 10.14, Chrome 51 to 66, UC Browser
/// before 12.13.2.
fn misreads_none(agent: &str) -> bool {
    let version = |name: &str| {
        let (_, after) = agent.split_once(name)?;
        let mut numbers = after.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
        Some((numbers.next()?, numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
    };
    if let Some(version) = version("UCBrowser/") {
        return version < (12, 13, 2);
    }
    let old_ios = (agent.contains("(iP")
        && version("CPU iPhone OS ").or_else(|| version("CPU OS ")).is_some_and(|v| v.0 == 12))
        && agent.contains("AppleWebKit/");
    let safari = agent.contains("Macintosh;")
        && agent.contains("Mac OS X 10_14")
        && agent.contains("Safari/")
        && !agent.contains("Chrome/")
        && !agent.contains("Chromium/");
    let chrome = version("Chrome/").or_else(|| version("Chromium/")).is_some_and(|v| (51..=66).contains(&v.0));
    old_ios || safari || chrome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_that_misread_none() {
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let linux = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
        let phone = |version: &str| {
            format!("Mozilla/5.0 (iPhone; CPU iPhone OS {version} like Mac OS X) AppleWebKit/605.1.15 Safari/604.1")
        };
        for (agent, misreads) in [
            (phone("12_4"), true),
            (phone("13_1"), false),
            (format!("{mac} Version/12.1.2 Safari/605.1.15"), true),
            (format!("{mac} Chrome/80.0.3987.0 Safari/537.36"), false),
            (format!("{linux} Chrome/66.0.3359.0 Safari/537.36"), true),
            (format!("{linux} Chrome/67.0.3396.0 Safari/537.36"), false),
            (format!("{linux} Chrome/50.0 Safari/537.36"), false),
            ("Mozilla/5.0 (Linux; U; Android 9) UCBrowser/12.13.1.1 Mobile".to_owned(), true),
            ("Mozilla/5.0 (Linux; U; Android 9) UCBrowser/12.13.2.1 Mobile".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(misreads_none(&agent), misreads, "{agent}");
        }
    }
}
