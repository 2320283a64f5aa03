//! Errors of the front in the terms of gRPC: a caller gets a status and a message instead of a page, in an answer that is
//! nothing but trailers (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, "Responses").

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{StatusCode, Version};

use super::answer::Answer;

const GRPC: &[u8] = b"application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Longest message, before it is escaped.
const LONGEST: usize = 1024;

/// The request is a call of gRPC. gRPC-Web is not: browsers see the status of HTTP.
pub fn is_call(head: &Parts) -> bool {
    let rest = head.headers.get(CONTENT_TYPE).and_then(|content| content.as_bytes().strip_prefix(GRPC));
    head.version >= Version::HTTP_2 && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// An error becomes an answer to a call; what is no error stays.
pub fn translate(answer: Answer) -> Answer {
    if answer.status.as_u16() < 400 {
        return answer;
    }
    let status = HeaderValue::from(code(answer.status));
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/grpc")), (STATUS, status)];
    headers.extend(HeaderValue::try_from(escape(&answer.text)).ok().map(|message| (MESSAGE, message)));
    headers.extend(answer.headers.into_iter().filter(|(name, _)| *name != CONTENT_TYPE));
    Answer { status: StatusCode::OK, text: Bytes::new(), close: answer.close, headers, limit: answer.limit }
}

/// As clients read a status of HTTP ("HTTP to gRPC Status Code Mapping" of the same source); what they cannot tell
/// apart there is told here: who waited too long, and who sent too much.
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        408 | 504 => 4,
        403 => 7,
        413 => 8,
        404 => 12,
        400 | 431 => 13,
        429 | 502 | 503 => 14,
        401 => 16,
        _ => 2,
    }
}

/// In one line, with everything escaped that such a message cannot have.
fn escape(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..LONGEST).unwrap_or(text));
    let line = text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ");
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    line.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::RETRY_AFTER;

    use super::*;

    fn head(version: Version, content: &str) -> Parts {
        let request = Request::builder().version(version).header(CONTENT_TYPE, content).body(()).expect("a request");
        request.into_parts().0
    }

    #[test]
    fn calls_are_told_by_their_content() {
        for (content, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_call(&head(Version::HTTP_2, content)), is, "{content}");
        }
        assert!(!is_call(&head(Version::HTTP_11, "application/grpc")));
    }

    #[test]
    fn errors_become_trailers_alone() {
        let mut answer = Answer::plain(StatusCode::SERVICE_UNAVAILABLE, "100% of \u{e4}");
        answer.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
        let translated = translate(answer);
        assert_eq!((translated.status, translated.text.len()), (StatusCode::OK, 0));
        let has = |name: &HeaderName| translated.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value);
        assert_eq!(has(&STATUS).expect("a status"), "14");
        assert_eq!(has(&MESSAGE).expect("a message"), "503 Service Unavailable: 100%25 of %C3%A4.");
        assert_eq!(has(&RETRY_AFTER).expect("as it was"), "1");
        let fine = Answer::preflight();
        assert_eq!(translate(fine.clone()), fine);
    }
}
