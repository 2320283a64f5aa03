//! What filters make of a request before it is sent on, in the order of nginx's phases: redirects, limits, then access; and
//! what they make of its answer.

use std::rc::Rc;

use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY};
use hyper::http::request::Parts;

use super::answer::Answer;
use super::fallback::Trail;
use super::forward::Ends;
use super::limiter::Flight;
use super::settings::Settings;
use super::worker::{View, Worker};
use crate::model::filters::{ClientCertificate, Filters, Redirect};

mod access;
mod audience;
mod balance;
mod basic;
mod cors;
mod errors;
mod external;
mod headers;
mod limits;
mod mirror;
mod secure;
mod variables;

pub use audience::{Audience, Silent};
pub use balance::{set_cookie, ties};
use cors::Allowed;
pub use errors::{Pages, stand_in};
use headers::Inbound;
pub use headers::Outbound;
pub use mirror::copy;
pub use variables::Seen;

/// What filters do with the answer, whoever gives it.
#[derive(Debug, Default)]
pub struct After {
    cors: Option<Allowed>,
    headers: Option<Inbound>,
    /// What the front adds to every answer.
    everywhere: Vec<(HeaderName, HeaderValue)>,
    /// Cookies of an authentication service; with errors too, if so.
    cookies: (Vec<HeaderValue>, bool),
    /// Ends with the answer.
    flight: Option<Flight>,
    /// Bytes per second, and bytes before that holds.
    pace: Option<(u64, u64)>,
    added: Option<(HeaderName, HeaderValue)>,
    trail: Trail,
    /// The client is to come back over TLS only.
    hsts: Option<HeaderValue>,
}

impl After {
    /// Before anything is known of the request but its head.
    pub fn new(settings: &Settings, head: &Parts, ends: &Ends) -> Self {
        if settings.adds_nothing() {
            return After::default();
        }
        After { everywhere: settings.added(&Seen { rule: &settings.nobody, head, ends }), ..After::default() }
    }

    /// How fast the body may go out: bytes per second, and bytes before that holds.
    pub fn pace(&self) -> Option<(u64, u64)> {
        self.pace
    }

    /// The request's place among those in flight, for as long as its answer takes.
    pub fn take_flight(&mut self) -> Option<Flight> {
        self.flight.take()
    }

    /// Adds a header to the answer.
    pub fn add(&mut self, header: (HeaderName, HeaderValue)) {
        self.added = Some(header);
    }

    /// What the answer tells of its rule.
    pub fn leave(&mut self, trail: Trail) {
        self.trail = trail;
    }

    /// Changes the headers of an answer.
    pub fn apply(&self, status: StatusCode, headers: &mut HeaderMap) {
        let (cookies, always) = &self.cookies;
        // The statuses with which nginx adds headers.
        let adds = *always || matches!(status.as_u16(), 200 | 201 | 204 | 206 | 301..=304 | 307 | 308);
        for cookie in cookies.iter().filter(|_| adds) {
            headers.append(SET_COOKIE, cookie.clone());
        }
        for (name, value) in &self.everywhere {
            headers.insert(name, value.clone());
        }
        if let Some(inbound) = &self.headers {
            inbound.apply(headers);
        }
        if let Some(allowed) = &self.cors {
            allowed.apply(headers);
        }
        if let Some(hsts) = &self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if let Some((name, value)) = &self.added {
            headers.append(name, value.clone());
        }
        self.trail.apply(status, headers);
    }
}

/// The answer of a filter, if one answers the request; else what is sent on with it.
pub async fn before<A: Audience>(
    seen: &Seen<'_>,
    body: &impl Body,
    worker: &Rc<Worker>,
    view: &View,
    after: &mut After,
    audience: &mut A,
) -> Result<Outbound, Answer> {
    let Filters {
        closed,
        redirect,
        app_root,
        secure,
        client,
        access,
        basic,
        external,
        errors: _,
        cors,
        headers,
        limits,
        proxying,
        logs: _,
        asset_fallback: _,
        service_upstream: _,
        balance: _,
        breaker: _,
        health: _,
        retry: _,
        canary: _,
        backend: _,
        mirror: _,
    } = &*seen.rule.entry.filters;
    let Seen { rule, head, ends } = *seen;
    if let Some(why) = closed {
        audience.hear("closed", why);
        return Err(Answer::closed(&rule.entry, why));
    }
    after.headers = headers.as_deref().map(|headers| Inbound::new(headers, seen));
    let told = ends.is_secured() && rule.listed;
    after.hsts = view.router.settings.hsts.clone().filter(|_| told);
    let told = if ends.is_secured() { admit(client.as_deref(), seen, view, audience)? } else { Vec::new() };
    let root = app_root.as_deref().filter(|_| head.uri.path() == "/");
    let elsewhere = [
        ("redirect", redirect.as_ref().and_then(|redirect| redirected(redirect, seen))),
        ("app-root", root.and_then(to_app_root)),
        ("https-redirect", secure::redirect(secure.as_deref(), seen, view)),
    ];
    if let Some((filter, answer)) = elsewhere.into_iter().find_map(|(filter, to)| Some((filter, to?))) {
        audience.hear(filter, format_args!("answers {answer}"));
        return Err(answer);
    }
    if !ends.is_secured() {
        admit(client.as_deref(), seen, view, audience)?;
    }
    if let Some(limits) = limits {
        let flight = limits::check(limits, seen, &worker.limiter);
        audience.hear_of("limits", &flight);
        after.flight = flight?;
        after.pace = limits.bytes_per_second.map(|rate| (rate, limits.bytes_before));
    }
    // Browsers ask whether they may ask without saying for whom.
    after.cors = cors.as_deref().and_then(|cors| Allowed::new(cors, head));
    if cors.is_some() {
        audience.hear("cors", if after.cors.is_some() { "the origin is allowed" } else { "the origin is not allowed" });
    }
    if after.cors.is_some() && cors::is_preflight(head) {
        let answer = Answer::preflight();
        audience.hear("preflight", format_args!("answers {answer}"));
        return Err(answer);
    }
    if body.size_hint().lower() > proxying.max_body() {
        let answer = Answer::too_large();
        audience.hear("body-size", format_args!("answers {answer}"));
        return Err(answer);
    }
    let mut outbound = headers.as_deref().map(|headers| Outbound::new(headers, seen)).unwrap_or_default();
    outbound.headers.extend(told);
    outbound.old_http = proxying.old_http;
    if access.is_some() || basic.is_some() || external.is_some() {
        // What only some routes ask for takes no memory of other requests.
        Box::pin(access::admit(seen, worker, view, &mut outbound, after, audience)).await?;
    }
    Ok(outbound)
}

/// What the backend is told of the client's certificate, if the route wants one.
fn admit(
    wanted: Option<&ClientCertificate>,
    seen: &Seen<'_>,
    view: &View,
    audience: &mut impl Audience,
) -> Result<Vec<(HeaderName, HeaderValue)>, Answer> {
    let Some(wanted) = wanted else { return Ok(Vec::new()) };
    let admitted = secure::admit(wanted, seen, view);
    audience.hear_of("client-certificate", &admitted);
    admitted
}

/// A target that no header can carry redirects nobody.
fn redirected(redirect: &Redirect, seen: &Seen<'_>) -> Option<Answer> {
    let to = HeaderValue::try_from(redirect.to.expand(seen)).ok()?;
    Some(Answer::redirect(redirect.status, to))
}

fn to_app_root(path: &str) -> Option<Answer> {
    Some(Answer::redirect(302, HeaderValue::try_from(path).ok()?))
}
