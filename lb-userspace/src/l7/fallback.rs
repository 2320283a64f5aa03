//! Requests that no rule wants, made by a page that came by a rule with `weir.io/asset-fallback`: they go where the page
//! came from, with all that its rule asks for.
//!
//! The page is known by the `Referer`. What a page has loaded asks for more in its own name (a style sheet for its fonts,
//! a module for others), and some pages send no `Referer`: then a cookie tells by which rule this client was served last.

use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, REFERER, SET_COOKIE, VARY};
use hyper::http::request::Parts;

use super::cookies;
use super::forward::Ends;
use super::host;
use super::path::CanonicalPath;
use super::proxy::host_of;
use super::rules::{HostRules, Rule};
use super::table::RouteEntry;
use crate::model::PathMatch;
use crate::siphash::UNKEYED;

/// Holds the [`token`] of a rule.
const NAME: &str = "weir-asset-fallback";
/// For how long what a page has loaded may ask for more, in seconds; each answer begins it anew.
const MAX_AGE: u32 = 60;
/// Browsers send nothing longer ("Referrer Policy" of the W3C, section 8.4).
const LONGEST_REFERER: usize = 4096;

/// What stands for a rule in the cookie: it tells nothing, and only leads to rules of the host that has it.
pub fn token(entry: &RouteEntry) -> Option<u64> {
    let (kind, text) = match &entry.path {
        _ if !entry.filters.asset_fallback => return None,
        PathMatch::Default => return None,
        PathMatch::Exact(text) => ('e', text),
        PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => ('p', text),
        PathMatch::Regex(text) => ('r', text),
    };
    Some(UNKEYED.hash(format!("{kind}{text}\0{}", entry.ingress).as_bytes()))
}

/// How the rule was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By the page that asks.
    Referer,
    /// By what the client was served last.
    Cookie,
}

/// The rule by which the page came that asks.
pub fn find<'a>(rules: &'a HostRules, head: &Parts, ends: &Ends) -> Option<(&'a Rule, By)> {
    let by_cookie = || {
        let foreign =
            head.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
        let token = cookies::find(&head.headers, NAME).filter(|_| !foreign).and_then(parse)?;
        Some((rules.by_token(token)?, By::Cookie))
    };
    let Some(referer) = head.headers.get(REFERER) else { return by_cookie() };
    let page = path_of(referer, head, ends)?;
    match rules.own(&CanonicalPath::new(page).ok()?).ok()? {
        // A page of another rule has nothing to do with what this client was served last.
        Some(rule) => rule.token.map(|_| (rule, By::Referer)),
        None => by_cookie(),
    }
}

/// The path of a URL of the origin that the request is for; `None`: it is of another, or cannot be read.
fn path_of<'a>(referer: &'a HeaderValue, head: &Parts, ends: &Ends) -> Option<&'a str> {
    let text = referer.to_str().ok().filter(|text| text.len() <= LONGEST_REFERER)?;
    let rest = text.strip_prefix(ends.scheme())?.strip_prefix("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let told = ends.told.host.as_ref().and_then(|host| host.to_str().ok());
    let usual = if ends.scheme() == "https" { 443 } else { 80 };
    host::split(authority)?;
    if !host::is_same(authority, told.unwrap_or_else(|| host_of(head)), usual) {
        return None;
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(if path.is_empty() { "/" } else { path })
}

fn parse(value: &str) -> Option<u64> {
    let digits = value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(value, 16).ok()).flatten()
}

/// What the answer tells client and caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The rule of the page, for what it loads; and whether only for connections over TLS.
    token: Option<(u64, bool)>,
    /// Another page, or client, may get another answer.
    varies: bool,
}

impl Trail {
    /// Of an answer by a rule that takes what its pages ask for, or by another.
    pub fn of(rule: &Rule, ends: &Ends) -> Self {
        Trail { token: rule.token.map(|token| (token, ends.scheme() == "https")), varies: false }
    }

    /// The same for a request that had no rule of its own.
    pub fn varying(self) -> Self {
        Trail { varies: true, ..self }
    }

    /// Adds it to the headers of an answer.
    pub fn apply(self, status: StatusCode, headers: &mut HeaderMap) {
        if self.varies {
            // It varies with Referer and Cookie. But what Chromium keeps in memory it compares only by headers that the page
            // set itself, so two pages of one process got what the first had asked for; this it heeds.
            headers.insert(VARY, HeaderValue::from_static("*"));
        }
        if let Some((token, secure)) = self.token.filter(|_| may_ask_for_more(status, headers)) {
            let mut text = format!("{NAME}={token:016x}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax");
            if secure {
                // Writing to a String does not fail.
                let _ = write!(text, "; Secure");
            }
            headers.extend(HeaderValue::try_from(text).ok().map(|value| (SET_COOKIE, value)));
        }
    }
}

/// Data and images ask for nothing: that one page polls must not get in the way of another that loads.
fn may_ask_for_more(status: StatusCode, headers: &HeaderMap) -> bool {
    let asking = ["html", "css", "javascript", "ecmascript", "svg", "manifest"];
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().to_ascii_lowercase();
    status.is_redirection() || asking.iter().any(|one| kind.contains(one))
}

#[cfg(test)]
mod tests;
