//! Which rule a request goes by: host and path decide, and where those have no rule, the page that asks.

use hyper::Method;
use hyper::http::request::Parts;

use super::fallback::{self, By, Trail};
use super::forward::Ends;
use super::host;
use super::path::{CanonicalPath, PathError};
use super::proxy::host_of;
use super::router::{Decision, Router};
use super::rules::Rule;
use crate::model::PathMatch;

/// The rule of a request.
#[derive(Debug)]
pub struct Routed<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The path to forward, without the query.
    pub path: String,
    /// The request has no rule of its own: how this one was found.
    pub by: Option<By>,
    /// What the answer tells.
    pub trail: Trail,
}

/// Why there is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// `OPTIONS *` is for the front itself.
    Front,
    /// The path cannot be read.
    Path(PathError),
    /// Servers read the path in ways that belong to different rules, or lead out of the target of a rewrite.
    Ambiguous,
    /// No rule matches and there is no default backend.
    NotFound(Trail),
}

/// Decides.
pub fn decide<'a>(router: &'a Router, head: &Parts, ends: &Ends) -> Result<Routed<'a>, Unrouted> {
    let path = head.uri.path();
    if path == "*" && head.method == Method::OPTIONS {
        return Err(Unrouted::Front);
    }
    // HTTP/1.0 without a Host is matched like an unknown one.
    let host = host::normalise(host_of(head)).unwrap_or_default();
    let default = match router.route(&host, path).map_err(Unrouted::Path)? {
        Decision::Ambiguous => return Err(Unrouted::Ambiguous),
        Decision::Forward { rule, path } if rule.entry.path != PathMatch::Default => {
            return Ok(Routed { rule, path, by: None, trail: Trail::of(rule, ends) });
        }
        Decision::Forward { rule, path } => Some((rule, path)),
        Decision::NotFound => None,
    };
    let mut trail = Trail::default();
    if let Some(rules) = router.rules_of(&host).filter(|rules| rules.has_fallbacks()) {
        trail = trail.varying();
        if let Some((rule, by)) = fallback::find(rules, head, ends) {
            // As it was asked for: the page means what its server has at that path, whatever prefix leads to the page.
            let path = CanonicalPath::new(path).map_err(Unrouted::Path)?.text.into_owned();
            return Ok(Routed { rule, path, by: Some(by), trail: Trail::of(rule, ends).varying() });
        }
    }
    match default {
        Some((rule, path)) => Ok(Routed { rule, path, by: None, trail }),
        None => Err(Unrouted::NotFound(trail)),
    }
}
