//! Pages in the place of errors.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Uri};

use super::Outbound;
use super::variables::Seen;
use crate::l7::answer::Answer;
use crate::l7::exchange::Relayed;
use crate::l7::forward::{self, Follows};
use crate::l7::subrequest::Times;
use crate::l7::worker::{View, Worker};
use crate::model::filters::{ErrorPages, KeepAlive, Proxying, Template};

/// The request for a page; the code of the error is still to be put in.
#[derive(Debug)]
pub struct PageRequest<'a> {
    pages: &'a ErrorPages,
    request: Request<Empty<Bytes>>,
    times: Times,
}

/// What the service is told beside the code; the values are those that ingress-nginx sends.
const TOLD: [(&str, &str); 7] = [
    ("x-format", "$http_accept"),
    ("x-original-uri", "$request_uri"),
    ("x-namespace", "$namespace"),
    ("x-ingress-name", "$ingress_name"),
    ("x-service-name", "$service_name"),
    ("x-service-port", "$service_port"),
    ("x-request-id", "$request_id"),
];

impl<'a> PageRequest<'a> {
    /// For the case that the request in hand fails.
    pub fn new(pages: &'a ErrorPages, seen: &Seen<'_>, worker: &Worker) -> Self {
        let request =
            forward::request(seen.head, Uri::from_static("/"), Follows::Known, seen.ends, &Outbound::default());
        let mut request = request.map(|()| Empty::new());
        if *request.method() != Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let headers = request.headers_mut();
        // Of the client's body and of what it has already of another resource.
        for name in [CONTENT_LENGTH, RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        if seen.rule.entry.filters.basic.is_some() {
            headers.remove(AUTHORIZATION);
        }
        for (name, value) in told(seen) {
            headers.insert(name, value);
        }
        let proxying = &seen.rule.entry.filters.proxying;
        let times = Times {
            connect: Proxying::time(proxying.connect, worker.limits.connect),
            answer: Proxying::time(proxying.read, worker.limits.answer),
        };
        PageRequest { pages, request, times }
    }

    /// The answer, or the page that replaces it.
    pub async fn replace(
        mut self,
        result: Result<Relayed, Answer>,
        worker: &Worker,
        view: &View,
    ) -> Result<Relayed, Answer> {
        let (status, own) = match &result {
            Ok(relayed) => (relayed.response.status(), false),
            Err(answer) => (answer.status, true),
        };
        if !self.pages.statuses.contains(&status.as_u16()) || (!own && self.pages.only_own) {
            return result;
        }
        self.request.headers_mut().insert(X_CODE, HeaderValue::from(status.as_u16()));
        let addresses = match &self.pages.service {
            Some(service) => view.addresses(service),
            None => view.default_addresses(),
        };
        let page = worker.asker.ask(&self.request, &addresses, None, KeepAlive::default(), self.times).await;
        let Ok((mut head, Some(body))) = page else { return result };
        if forward::response(&mut head.headers).is_err() {
            return result;
        }
        head.headers.remove(CONTENT_LENGTH);
        let mut headers: Vec<_> = head.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Err(answer) = &result {
            // Without it nobody could log in.
            headers.extend(answer.headers.iter().filter(|(name, _)| *name == WWW_AUTHENTICATE).cloned());
        }
        let close = result.as_ref().is_err_and(|answer| answer.close);
        Err(Answer { status: head.status, text: body, close, headers })
    }
}

const X_CODE: HeaderName = HeaderName::from_static("x-code");

fn told(seen: &Seen<'_>) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    TOLD.into_iter().filter_map(|(name, text)| {
        let value = Template::parse(text).ok()?.expand(seen);
        let value = HeaderValue::try_from(value).ok().filter(|value| !value.is_empty())?;
        Some((HeaderName::from_static(name), value))
    })
}

/// For a request that goes to the service in the place of a backend without endpoints.
pub fn stand_in(seen: &Seen<'_>) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    told(seen).chain([(X_CODE, HeaderValue::from_static("503"))])
}
