//! Asking another service whether a request may go on.

use std::hash::Hash;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE,
};
use hyper::http::response;
use hyper::{Method, Request, Uri};

use super::Outbound;
use super::variables::Seen;
use crate::l7::answer::Answer;
use crate::l7::forward::{self, Follows};
use crate::l7::proxy::host_of;
use crate::l7::subrequest::{AskError, Times};
use crate::l7::verdicts::{Key, Verdict};
use crate::l7::worker::{View, Worker};
use crate::l7::{chain, destination, host, parameters};
use crate::model::filters::{ExternalAuth, Proxying, Template, Variable, Variables};

/// What the service gave to those whom it lets through.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// For the backend.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// For the client.
    pub(super) cookies: Vec<HeaderValue>,
}

/// Lets those through of whom the service says so; else the answer for the client.
pub(super) async fn check(
    external: &ExternalAuth,
    seen: &Seen<'_>,
    worker: &Rc<Worker>,
    view: &View,
) -> Result<Passed, (Answer, Vec<HeaderValue>)> {
    let url = external.url.expand(seen);
    let url = Uri::try_from(url).map_err(|_| (Answer::not_asked(&seen.rule.entry, "its URL is none"), Vec::new()))?;
    let key = key(external, &url, seen, worker);
    let remembered = key.and_then(|key| worker.verdicts.get(key));
    let verdict = match remembered {
        Some(verdict) => verdict,
        None => match ask(external, &url, seen, worker, view).await {
            Ok(answer) => judge(external, &answer, key, worker),
            Err(error) => return Err((Answer::not_asked(&seen.rule.entry, &chain(&error)), Vec::new())),
        },
    };
    match verdict.status {
        200..300 => Ok(Passed { headers: verdict.headers.clone(), cookies: verdict.cookies.clone() }),
        status => Err((refusal(status, external, &verdict, seen), verdict.cookies.clone())),
    }
}

fn refusal(status: u16, external: &ExternalAuth, verdict: &Verdict, seen: &Seen<'_>) -> Answer {
    match (status, &external.signin) {
        (401, Some(signin)) => match HeaderValue::try_from(sign_in(signin, &external.signin_parameter, seen)) {
            Ok(to) => Answer::redirect(302, to),
            Err(_) => Answer::not_authenticated(&verdict.challenges),
        },
        (401, None) => Answer::not_authenticated(&verdict.challenges),
        (403, _) => Answer::forbidden(),
        _ => Answer::bad_verdict(&seen.rule.entry, status),
    }
}

/// The URL of the sign-in page, with where the client wanted to go, unless that is in it already.
fn sign_in(signin: &Template, parameter: &str, seen: &Seen<'_>) -> String {
    let mut url = signin.expand(seen);
    let query = url.split_once('?').map(|(_, query)| query);
    if query.is_some_and(|query| parameters::first(query, parameter).is_some()) {
        return url;
    }
    url.push(if query.is_some() { '&' } else { '?' });
    url.push_str(parameter);
    url.push('=');
    let mut from = String::new();
    seen.append(&Variable::Scheme, &mut from);
    from.push_str("://");
    from.push_str(host_of(seen.head));
    url.push_str(&from);
    seen.append(&Variable::EscapedRequestUri, &mut url);
    url
}

/// Each route has keys of its own. A key that says nothing would be that of everybody.
fn key(external: &ExternalAuth, url: &Uri, seen: &Seen<'_>, worker: &Rc<Worker>) -> Option<Key> {
    let text = external.cache_key.as_ref()?.expand(seen);
    let host = host::normalise(host_of(seen.head)).unwrap_or_default();
    let entry = &seen.rule.entry;
    (!text.is_empty()).then(|| {
        worker.verdicts.key(Parts { ingress: &entry.ingress, path: &entry.path, host: &host, url, text: &text })
    })
}

#[derive(Hash)]
struct Parts<'a> {
    ingress: &'a str,
    path: &'a crate::model::PathMatch,
    host: &'a str,
    url: &'a Uri,
    text: &'a str,
}

fn judge(external: &ExternalAuth, answer: &response::Parts, key: Option<Key>, worker: &Rc<Worker>) -> Rc<Verdict> {
    let wanted = external.answer_headers.iter().filter_map(|name| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        let value = joined(&answer.headers, &name)?;
        Some((name, value))
    });
    let all = |name| answer.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    let verdict = Rc::new(Verdict {
        status: answer.status.as_u16(),
        headers: wanted.collect(),
        cookies: all(SET_COOKIE),
        challenges: all(WWW_AUTHENTICATE),
    });
    if let (Some(key), Some(time)) = (key, remembered(external, answer)) {
        worker.verdicts.remember(key, &verdict, time);
    }
    verdict
}

/// Several headers of a name are one with commas (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if values.is_empty() { None } else { HeaderValue::from_bytes(&values.join(&b", "[..])).ok() }
}

/// What the service does not want remembered, or what is for one client only, is not.
fn remembered(external: &ExternalAuth, answer: &response::Parts) -> Option<Duration> {
    let forbidden = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or("no-store").to_ascii_lowercase();
        ["no-store", "no-cache", "private", "max-age=0"].iter().any(|word| value.contains(word))
    };
    if answer.headers.contains_key(SET_COOKIE) || answer.headers.get_all(CACHE_CONTROL).iter().any(forbidden) {
        return None;
    }
    external.remembered(answer.status.as_u16())
}

async fn ask(
    external: &ExternalAuth,
    url: &Uri,
    seen: &Seen<'_>,
    worker: &Rc<Worker>,
    view: &View,
) -> Result<response::Parts, Unasked> {
    let authority = url.authority().ok_or(Unasked::Url)?;
    let secure = url.scheme_str() == Some("https");
    let addresses = match &external.service {
        Some(service) => view.addresses(service),
        None => {
            let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
            // The agent hears of names that Ingresses write, not of those that clients make up.
            match external.url.names_host() {
                true => destination::resolve(worker, authority.host(), port).await?,
                false => destination::find(worker, authority.host(), port).await?,
            }
        }
    };
    let request = question(external, url, seen).ok_or(Unasked::Url)?;
    let proxying = &seen.rule.entry.filters.proxying;
    let times = Times {
        connect: Proxying::time(proxying.connect, worker.limits.connect),
        answer: Proxying::time(proxying.read, worker.limits.answer),
    };
    let name = secure.then(|| authority.host());
    let (answer, _) = worker.asker.ask(&request, &addresses, name, external.keep, times).await?;
    Ok(answer)
}

/// The request as the service is told of it: its headers, without its body.
fn question(external: &ExternalAuth, url: &Uri, seen: &Seen<'_>) -> Option<Request<Empty<Bytes>>> {
    let target = Uri::try_from(url.path_and_query().map_or("/", |path| path.as_str())).ok()?;
    let request = forward::request(seen.head, target, Follows::Known, seen.ends, &Outbound::default());
    let mut request = request.map(|()| Empty::new());
    *request.method_mut() = Method::from_bytes(external.method.as_deref().unwrap_or("GET").as_bytes()).ok()?;
    let original = [seen.ends.scheme(), "://", host_of(seen.head), seen.request_uri()].concat();
    let headers = request.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(HOST, HeaderValue::from_str(url.authority()?.as_str()).ok()?);
    let told = [
        (HeaderName::from_static("x-original-uri"), seen.value(&Variable::RequestUri)),
        (HeaderName::from_static("x-original-url"), HeaderValue::try_from(original).ok()),
        (HeaderName::from_static("x-original-method"), seen.value(&Variable::RequestMethod)),
        (HeaderName::from_static("x-scheme"), seen.value(&Variable::Scheme)),
        (HeaderName::from_static("x-sent-from"), Some(HeaderValue::from_static("weir"))),
        (
            HeaderName::from_static("x-auth-request-redirect"),
            match &external.redirect {
                Some(template) => HeaderValue::try_from(template.expand(seen)).ok(),
                None => seen.value(&Variable::RequestUri),
            },
        ),
    ];
    let asked = external.question_headers.iter().filter_map(|(name, template)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(template.expand(seen)).ok()))
    });
    for (name, value) in told.into_iter().chain(asked) {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
    Some(request)
}

/// Why the service could not be asked.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error("its URL names no host")]
    Url,
    #[error("its name")]
    Resolve(#[from] crate::l7::names::NameError),
    #[error("it cannot be reached")]
    Ask(#[from] AskError),
}
