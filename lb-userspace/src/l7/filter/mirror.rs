//! The copy of a request that somebody else gets.

use hyper::Uri;
use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;

use super::Outbound;
use super::variables::Seen;
use crate::l7::forward::{self, Ends, Follows};
use crate::l7::mirror::Copy;
use crate::l7::rules::Rule;
use crate::model::filters::Mirror;

/// The copy, and whether it has the body too; `None`: what was put in for variables makes no URL or no Host.
pub fn copy(mirror: &Mirror, rule: &Rule, head: &Parts, ends: &Ends, outbound: &Outbound) -> Option<(Copy, bool)> {
    let seen = Seen { rule, head, ends };
    let target = Uri::try_from(mirror.target.expand(&seen)).ok()?;
    let host = match &mirror.host {
        Some(host) => host.expand(&seen),
        None => target.authority()?.to_string(),
    };
    let mut head = forward::request(head, target.clone(), Follows::Known, ends, outbound);
    head.headers_mut().insert(HOST, HeaderValue::try_from(host).ok()?);
    Some((Copy { head, target }, mirror.body))
}
