//! What filters make of a request before it is sent on, in the order of nginx's phases: redirects, then access; and
//! what they make of its answer.

use hyper::body::Body;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;

use super::answer::Answer;
use super::forward::Ends;
use super::rules::Rule;
use crate::model::filters::{Filters, Redirect};

mod cors;
mod variables;

use cors::Allowed;
use variables::Seen;

/// What filters do with the answer, whoever gives it.
#[derive(Debug, Default)]
pub struct After {
    cors: Option<Allowed>,
}

impl After {
    /// Changes the headers of an answer.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some(allowed) = &self.cors {
            allowed.apply(headers);
        }
    }
}

/// The answer of a filter, if one answers the request; else it may be sent on.
pub fn before(rule: &Rule, head: &Parts, body: &impl Body, ends: &Ends, after: &mut After) -> Result<(), Answer> {
    let Filters { closed, redirect, app_root, access, cors, proxying } = &*rule.entry.filters;
    if let Some(why) = closed {
        return Err(Answer::closed(&rule.entry, why));
    }
    let seen = Seen { rule, head, ends };
    if let Some(to) = redirect.as_ref().and_then(|redirect| redirected(redirect, &seen)) {
        return Err(to);
    }
    if let Some(to) = app_root.as_deref().filter(|_| head.uri.path() == "/").and_then(to_app_root) {
        return Err(to);
    }
    if access.as_ref().is_some_and(|access| !access.admits(ends.client.ip())) {
        return Err(Answer::forbidden());
    }
    after.cors = cors.as_deref().and_then(|cors| Allowed::new(cors, head));
    if after.cors.is_some() && cors::is_preflight(head) {
        return Err(Answer::preflight());
    }
    if body.size_hint().lower() > proxying.max_body() {
        return Err(Answer::too_large());
    }
    Ok(())
}

/// A target that no header can carry redirects nobody.
fn redirected(redirect: &Redirect, seen: &Seen<'_>) -> Option<Answer> {
    let to = HeaderValue::try_from(redirect.to.expand(seen)).ok()?;
    Some(Answer::redirect(redirect.status, to))
}

fn to_app_root(path: &str) -> Option<Answer> {
    Some(Answer::redirect(302, HeaderValue::try_from(path).ok()?))
}
