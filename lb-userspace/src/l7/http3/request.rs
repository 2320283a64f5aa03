//! One request of HTTP/3 and its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Response};
use tokio::time::timeout;

use super::{Received, Stream};
use crate::clock;
use crate::l7::body::{ClientBody, ResponseBody};
use crate::l7::guard::{Refusal, refuse};
use crate::l7::http2::activity::{Place, Watched};
use crate::l7::http2::request;
use crate::l7::proxy::{self, Client};
use crate::l7::worker::Worker;

type Answers = RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;

/// Headers that concern a connection of HTTP/1 (RFC 9114 section 4.2).
const OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Answers what comes on a stream. An error concerns this stream only, and who caused it knows.
pub(super) async fn answer(worker: Rc<Worker>, client: Rc<Client>, stream: Stream, place: Place) {
    let limits = worker.client_limits();
    let Ok(Ok((head, stream))) = timeout(limits.head, stream.resolve_request()).await else { return };
    let (mut answers, body) = stream.split();
    let begun = timeout(limits.stall, Received::begin(body, head.method(), head.headers())).await;
    let Ok(Ok(body)) = begun else { return answers.stop_stream(Code::H3_REQUEST_INCOMPLETE) };
    let to_head = head.method() == Method::HEAD;
    let mut head = request::prepare(head, true, &limits);
    if let Err(refusal) = check(head.headers()) {
        head.extensions_mut().insert(refusal);
    }
    let request: Request<ClientBody> = head.map(|()| ClientBody::Http3(body));
    let response = proxy::answer(worker, client, request).await;
    let stream = place.stream();
    let sent = tokio::select! {
        sent = send(&mut answers, response, to_head, place) => sent.is_ok(),
        () = poll_fn(|cx| stream.poll_cut(cx)) => false,
    };
    if !sent {
        answers.stop_stream(Code::H3_INTERNAL_ERROR);
    }
}

/// What the library does not look at.
fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    if OF_CONNECTIONS.iter().any(|name| headers.contains_key(name)) {
        return Err(refuse(400, "a header that concerns only connections of HTTP/1"));
    }
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        return Err(refuse(400, "TE says more than trailers"));
    }
    // a number that no server could wait for would leave the body out and go on in the head
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if !lengths.all(|length| length.to_str().is_ok_and(|length| length.parse::<u64>().is_ok())) {
        return Err(refuse(400, "Content-Length is not a number"));
    }
    Ok(())
}

/// Why an answer does not reach its end.
enum Broken {
    /// The client does not want it, or is gone.
    Stream,
    /// Its body broke off.
    Body,
}

impl From<StreamError> for Broken {
    fn from(_: StreamError) -> Self {
        Broken::Stream
    }
}

async fn send(
    answers: &mut Answers,
    response: Response<ResponseBody>,
    to_head: bool,
    place: Place,
) -> Result<(), Broken> {
    let (mut head, body) = response.into_parts();
    OF_CONNECTIONS.iter().for_each(|name| drop(head.headers.remove(name)));
    head.headers.entry(DATE).or_insert_with(date);
    if let Some(length) = body.size_hint().exact().filter(|_| !to_head && !head.status.is_informational()) {
        let bodiless = matches!(head.status.as_u16(), 204 | 304);
        if !bodiless {
            head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
    }
    answers.send_response(Response::from_parts(head, ())).await?;
    let mut body = pin!(Watched::new(body, place));
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Broken::Body)?.into_data() {
            Ok(data) if to_head || !data.has_remaining() => {}
            Ok(data) => answers.send_data(data).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    answers.send_trailers(trailers).await?;
                }
            }
        }
    }
    Ok(answers.finish().await?)
}

/// hyper says it for the other versions.
fn date() -> HeaderValue {
    let text = httpdate::fmt_http_date(clock::wall());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
