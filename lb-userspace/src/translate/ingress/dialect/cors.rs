//! Requests of pages of other origins.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Support};
use crate::model::filters::{Cors, Origin};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str =
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization";
const MAX_AGE: u32 = 1_728_000;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Origins {
    enabled: bool,
    origins: Option<Vec<Origin>>,
    methods: Option<String>,
    headers: Option<String>,
    expose: Option<String>,
    credentials: Option<bool>,
    max_age: Option<u32>,
}

impl Origins {
    pub(super) fn cors(self) -> Option<Box<Cors>> {
        self.enabled.then(|| {
            Box::new(Cors {
                origins: self.origins.unwrap_or_else(|| vec![Origin::Any]),
                methods: self.methods.unwrap_or_else(|| METHODS.to_owned()),
                headers: self.headers.unwrap_or_else(|| HEADERS.to_owned()),
                expose: self.expose,
                credentials: self.credentials.unwrap_or(true),
                max_age: self.max_age.unwrap_or(MAX_AGE),
            })
        })
    }
}

const fn annotation(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    support: Support,
) -> Annotation {
    Annotation { name, kind, default, meaning, difference: "", support }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "enable-cors",
        "flag",
        "false",
        "Adds headers for pages of other origins, and answers their preflights with 204.",
        Support::Applied(|asked, text| value::flag(text).map(|on| asked.origins.enabled = on)),
    ),
    annotation(
        "cors-allow-origin",
        "origins",
        "*",
        "Which origins are allowed, between commas; `https://*.example.com` stands for hosts below.",
        Support::Applied(|asked, text| {
            value::list(text).map(origin).collect::<Parsed<_>>().map(|origins| asked.origins.origins = Some(origins))
        }),
    ),
    annotation(
        "cors-allow-methods",
        "methods",
        METHODS,
        "Access-Control-Allow-Methods.",
        Support::Applied(|asked, text| tokens(text).map(|text| asked.origins.methods = Some(text))),
    ),
    annotation(
        "cors-allow-headers",
        "names",
        HEADERS,
        "Access-Control-Allow-Headers.",
        Support::Applied(|asked, text| tokens(text).map(|text| asked.origins.headers = Some(text))),
    ),
    annotation(
        "cors-expose-headers",
        "names",
        "",
        "Access-Control-Expose-Headers.",
        Support::Applied(|asked, text| tokens(text).map(|text| asked.origins.expose = Some(text))),
    ),
    annotation(
        "cors-allow-credentials",
        "flag",
        "true",
        "Access-Control-Allow-Credentials.",
        Support::Applied(|asked, text| value::flag(text).map(|on| asked.origins.credentials = Some(on))),
    ),
    annotation(
        "cors-max-age",
        "seconds",
        "1728000",
        "Access-Control-Max-Age.",
        Support::Applied(|asked, text| {
            value::number(text, 0..=u32::MAX).map(|seconds| asked.origins.max_age = Some(seconds))
        }),
    ),
];

/// `*`, `scheme://host[:port]`, or a star in the place of the first labels.
fn origin(text: &str) -> Parsed<Origin> {
    if text == "*" {
        return Ok(Origin::Any);
    }
    let wrong =
        || Wrong::expected(format!("origins such as https://a.example or https://*.a.example; {text:?} is none"));
    let lower = text.trim_end_matches('/').to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(wrong)?;
    let named =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) || scheme.is_empty() {
        return Err(wrong());
    }
    match authority.split_once('*') {
        None if named(authority) => Ok(Origin::Exact(lower)),
        Some(("", behind)) if behind.starts_with('.') && named(behind) => {
            Ok(Origin::Wildcard(format!("{scheme}://"), behind.to_owned()))
        }
        _ => Err(wrong()),
    }
}

/// Names between commas, each a token (RFC 9110 section 5.6.2) or a star.
fn tokens(text: &str) -> Parsed<String> {
    let is_token = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let names: Vec<_> = value::list(text).collect();
    if !names.is_empty() && names.iter().all(|name| is_token(name)) {
        Ok(names.join(", "))
    } else {
        Err(Wrong::expected("names between commas"))
    }
}
