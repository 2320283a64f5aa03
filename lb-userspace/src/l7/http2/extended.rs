//! WebSocket over a stream of HTTP/2 (RFC 8441): a CONNECT with a protocol, which goes on to backends as the upgrade of
//! HTTP/1.1 that says the same (RFC 6455 section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};
use sha1::{Digest, Sha1};

use crate::l7::guard::{Refusal, refuse};
use crate::l7::trace;

/// Appended to the key of a handshake (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Mark of a request that began as such a CONNECT.
#[derive(Clone, Copy, Debug)]
pub(in crate::l7) struct Extended;

/// Mark of an answer with which a tunnel begins.
#[derive(Clone, Copy, Debug)]
struct Established;

/// Makes an upgrade of such a CONNECT; others stay what they are.
pub(super) fn prepare<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let Some(protocol) = request.extensions_mut().remove::<Protocol>() else { return Ok(()) };
    if request.method() != Method::CONNECT {
        return Err(refuse(400, "only CONNECT has a protocol"));
    }
    if protocol.as_str() != "websocket" {
        return Err(refuse(501, "no other protocol than websocket is tunnelled in HTTP/2"));
    }
    *request.method_mut() = Method::GET;
    request.extensions_mut().insert(Extended);
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // Sixteen bytes that differ; clients of HTTP/2 send none.
    let key = STANDARD.encode(&trace::fresh_trace().as_bytes()[..16]);
    headers.extend(HeaderValue::try_from(key).ok().map(|key| (SEC_WEBSOCKET_KEY, key)));
    Ok(())
}

/// The backend has switched: what the client hears of it. False: it has not accepted the handshake, which the client cannot
/// see any more.
pub(in crate::l7) fn establish<B>(asked: &HeaderMap, response: &mut Response<B>) -> bool {
    let key = asked.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let expected = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let accepted = response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    for name in [CONNECTION, UPGRADE, CONTENT_LENGTH] {
        response.headers_mut().remove(name);
    }
    *response.status_mut() = StatusCode::OK;
    response.extensions_mut().insert(Established);
    accepted.is_some_and(|accepted| accepted.as_bytes() == expected.as_bytes())
}

/// Any success means to such a client that the tunnel stands. An answer that means something else is none.
pub(super) fn deny<B>(response: &mut Response<B>) {
    if response.status().is_success() && response.extensions().get::<Established>().is_none() {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_is_accepted() {
        let mut asked = HeaderMap::new();
        asked.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for (accept, fine) in [("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true), ("another", false)] {
            let mut response = Response::builder().status(101).header(SEC_WEBSOCKET_ACCEPT, accept);
            response = response.header(UPGRADE, "websocket");
            let mut response = response.body(()).expect("a response");
            assert_eq!(establish(&asked, &mut response), fine);
            assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 0));
            deny(&mut response);
            assert_eq!(response.status(), StatusCode::OK);
        }
        let mut other = Response::new(());
        deny(&mut other);
        assert_eq!(other.status(), StatusCode::BAD_GATEWAY);
    }
}
