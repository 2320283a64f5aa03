//! What filters make of a request before it is sent on, in the order of nginx's phases: redirects, then limits, then
//! access.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use super::answer::Answer;
use super::forward::Ends;
use super::rules::Rule;
use crate::model::filters::{Filters, Redirect};

mod variables;

use variables::Seen;

/// The answer of a filter, if one answers the request; else it may be sent on.
pub fn before(rule: &Rule, head: &Parts, ends: &Ends) -> Option<Answer> {
    let Filters { closed, redirect, app_root } = &*rule.entry.filters;
    if let Some(why) = closed {
        return Some(Answer::closed(&rule.entry, why));
    }
    let seen = Seen { rule, head, ends };
    let redirect = redirect.as_ref().and_then(|redirect| redirected(redirect, &seen));
    redirect.or_else(|| to_app_root(app_root.as_deref().filter(|_| head.uri.path() == "/")?))
}

/// A target that no header can carry redirects nobody.
fn redirected(redirect: &Redirect, seen: &Seen<'_>) -> Option<Answer> {
    let to = HeaderValue::try_from(redirect.to.expand(seen)).ok()?;
    Some(Answer::redirect(redirect.status, to))
}

fn to_app_root(path: &str) -> Option<Answer> {
    Some(Answer::redirect(302, HeaderValue::try_from(path).ok()?))
}
