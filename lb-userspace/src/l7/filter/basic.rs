//! User and password (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::l7::answer::Answer;
use crate::l7::rules::Rule;
use crate::l7::worker::View;
use crate::l7::worker::Worker;
use crate::model::filters::BasicAuth;

/// Lets those through who log in.
pub(super) async fn check(
    basic: &BasicAuth,
    rule: &Rule,
    headers: &HeaderMap,
    worker: &Worker,
    view: &View,
) -> Result<(), Answer> {
    let Some(users) = view.router.users.get(&basic.users) else {
        return Err(Answer::closed(&rule.entry, "its users are not known"));
    };
    let Some((user, password)) = credentials(headers) else { return Err(Answer::unauthorized(&basic.realm)) };
    match worker.verifier.verify(users, &user, &password).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Answer::unauthorized(&basic.realm)),
        Err(_) => Err(Answer::too_many(503)),
    }
}

/// Who the client says to be.
pub(super) fn user(headers: &HeaderMap) -> Option<String> {
    credentials(headers).map(|(user, _)| user)
}

fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    Some((String::from_utf8(decoded).ok()?, password))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn of(value: &str) -> Option<(String, Vec<u8>)> {
        credentials(&[(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"))].into_iter().collect())
    }

    #[test]
    fn credentials_are_read() {
        let good = Some(("ann".to_owned(), b"pa:ss".to_vec()));
        assert_eq!((of("Basic YW5uOnBhOnNz"), of("basic  YW5uOnBhOnNz ")), (good.clone(), good));
        for value in ["Basic", "Bearer YW5uOnBhOnNz", "Basic YW5u", "Basic !!!", ""] {
            assert_eq!(of(value), None, "{value}");
        }
    }
}
