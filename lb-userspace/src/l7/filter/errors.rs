//! Pages in the place of errors.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{
    ACCEPT, CONTENT_LENGTH, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, StatusCode, Uri};

use super::Outbound;
use super::access::reserved;
use super::variables::Seen;
use crate::l7::answer::Answer;
use crate::l7::exchange::Relayed;
use crate::l7::forward::{self, Follows};
use crate::l7::subrequest::Times;
use crate::l7::worker::{View, Worker};
use crate::model::filters::{ErrorPages, KeepAlive, Proxying, Variable};

/// Pages for the errors of one request.
#[derive(Debug)]
pub struct Pages<'a> {
    /// What the route asks for.
    pub asked: &'a ErrorPages,
    /// The request.
    pub seen: Seen<'a>,
}

impl Pages<'_> {
    /// The answer, or the page that replaces it.
    pub async fn replace(
        &self,
        result: Result<Relayed, Answer>,
        worker: &Worker,
        view: &View,
    ) -> Result<Relayed, Answer> {
        let (status, own) = match &result {
            Ok(relayed) => (relayed.response.status(), false),
            Err(answer) => (answer.status, true),
        };
        if !self.asked.statuses.contains(&status.as_u16()) || (!own && self.asked.only_own) {
            return result;
        }
        let addresses = match &self.asked.service {
            Some(service) => view.addresses(service),
            None => view.default_addresses(),
        };
        let request = self.request(status);
        let proxying = &self.seen.rule.entry.filters.proxying;
        let times = Times {
            connect: Proxying::time(proxying.connect, worker.limits.connect),
            answer: Proxying::time(proxying.read, worker.limits.answer),
        };
        let page = worker.asker.ask(&request, &addresses, None, KeepAlive::default(), times).await;
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
        let (close, limit) = result.as_ref().err().map_or((false, None), |answer| (answer.close, answer.limit));
        Err(Answer { status: head.status, text: body, close, headers, limit })
    }

    /// The request for the page of an error. The service does not take for true what only an authentication service may
    /// say: the request may be one that it has just refused.
    fn request(&self, status: StatusCode) -> Request<Empty<Bytes>> {
        let Seen { rule, head, ends } = self.seen;
        let outbound = Outbound { removed: reserved(&rule.entry.filters).collect(), ..Outbound::default() };
        let request = forward::request(head, Uri::from_static("/"), Follows::Known, ends, &outbound);
        let mut request = request.map(|()| Empty::new());
        if *request.method() != Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let headers = request.headers_mut();
        // Of the client's body and of what it has already of another resource.
        for name in [CONTENT_LENGTH, RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        headers.extend(told(&self.seen));
        headers.insert(X_CODE, HeaderValue::from(status.as_u16()));
        request
    }
}

const X_CODE: HeaderName = HeaderName::from_static("x-code");
const X_FORMAT: HeaderName = HeaderName::from_static("x-format");

/// What the service is told beside the code; the values are those that ingress-nginx sends.
const TOLD: [(HeaderName, Variable); 6] = [
    (HeaderName::from_static("x-original-uri"), Variable::RequestUri),
    (HeaderName::from_static("x-namespace"), Variable::Namespace),
    (HeaderName::from_static("x-ingress-name"), Variable::IngressName),
    (HeaderName::from_static("x-service-name"), Variable::ServiceName),
    (HeaderName::from_static("x-service-port"), Variable::ServicePort),
    (HeaderName::from_static("x-request-id"), Variable::RequestId),
];

fn told(seen: &Seen<'_>) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let format = seen.head.headers.get(ACCEPT).filter(|format| !format.is_empty());
    let told = TOLD.into_iter().filter_map(|(name, variable)| {
        let value = seen.value(&variable).filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    told.chain(format.map(|format| (X_FORMAT, format.clone())))
}

/// For a request that goes to the service in the place of a backend without endpoints.
pub fn stand_in(seen: &Seen<'_>) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    told(seen).chain([(X_CODE, HeaderValue::from_static("503"))])
}
