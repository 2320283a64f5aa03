//! Headers for pages of other origins.

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;

use crate::model::filters::Cors;

/// The headers for a request whose origin is allowed.
#[derive(Debug)]
pub(super) struct Allowed {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The answer depends on who asks.
    varies: bool,
}

impl Allowed {
    /// `None`: the origin is not allowed. Where all are, the headers are for requests without one too.
    pub(super) fn new(cors: &Cors, head: &Parts) -> Option<Self> {
        let origin = head.headers.get(ORIGIN).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let origin = cors.allowed(origin)?;
        let texts = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, Some(origin)),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, cors.credentials.then_some("true")),
            (ACCESS_CONTROL_ALLOW_METHODS, Some(cors.methods.as_str())),
            (ACCESS_CONTROL_ALLOW_HEADERS, Some(cors.headers.as_str())),
            (ACCESS_CONTROL_EXPOSE_HEADERS, cors.expose.as_deref()),
        ];
        let values = texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(text?).ok()?)));
        let mut headers: Vec<_> = values.collect();
        headers.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age)));
        Some(Allowed { headers, varies: origin != "*" })
    }

    /// What the backend says about it is replaced: two answers would be one too many.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// The browser asks whether it may ask.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
}
