//! Compression of answers: gzip (RFC 1952), brotli (RFC 7932), zstd (RFC 8878).
//!
//! What a backend has coded itself, what it forbids to transform (RFC 9111 section 5.2.2.6), parts of bodies, and bodies
//! that are short or of other types stay as they are.

use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::model::settings::{Coding, CompressionSettings};

mod accept;
mod encoder;

use accept::qualities;
pub use encoder::Encoder;

/// The codings, the one that is taken first among equals first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// zstd: nearly as small as brotli, and much cheaper.
    Zstd,
    /// brotli.
    Brotli,
    /// gzip.
    Gzip,
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Zstd, Algorithm::Brotli, Algorithm::Gzip];

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Zstd => "zstd",
            Algorithm::Brotli => "br",
            Algorithm::Gzip => "gzip",
        }
    }

    fn settings(self, all: &CompressionSettings) -> &Coding {
        match self {
            Algorithm::Zstd => &all.zstd,
            Algorithm::Brotli => &all.brotli,
            Algorithm::Gzip => &all.gzip,
        }
    }

    fn usual_level(self) -> u32 {
        match self {
            Algorithm::Zstd => 3,
            Algorithm::Brotli => 4,
            Algorithm::Gzip => 1,
        }
    }

    /// Shortest body, where nothing is said.
    fn usual_length(self) -> u64 {
        match self {
            Algorithm::Gzip => 256,
            Algorithm::Brotli | Algorithm::Zstd => 20,
        }
    }
}

/// Types that are compressed where nothing is said: those of ingress-nginx. text/html always is.
const USUAL_TYPES: [&str; 17] = [
    "application/atom+xml",
    "application/javascript",
    "application/x-javascript",
    "application/json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/x-web-app-manifest+json",
    "application/xhtml+xml",
    "application/xml",
    "font/opentype",
    "image/svg+xml",
    "image/x-icon",
    "text/css",
    "text/javascript",
    "text/plain",
    "text/x-component",
];

/// What a request says about codings.
#[derive(Clone, Copy, Debug)]
pub struct Accepts<'a> {
    settings: &'a CompressionSettings,
    /// The best first.
    algorithms: [Option<Algorithm>; 3],
}

impl<'a> Accepts<'a> {
    /// `None`: nothing is compressed for anybody, or not for this request.
    pub fn new(settings: &'a CompressionSettings, head: &Parts) -> Option<Self> {
        let is_on = Algorithm::ALL.iter().any(|algorithm| algorithm.settings(settings).on);
        if !is_on || head.method == Method::HEAD || head.method == Method::CONNECT {
            return None;
        }
        let qualities = qualities(&head.headers);
        let mut algorithms: Vec<_> = Algorithm::ALL.iter().copied().filter(|one| one.settings(settings).on).collect();
        algorithms.retain(|one| qualities.of(one.name()) > 0);
        algorithms.sort_by_key(|one| std::cmp::Reverse(qualities.of(one.name())));
        let nth = |index: usize| algorithms.get(index).copied();
        Some(Accepts { settings, algorithms: [nth(0), nth(1), nth(2)] })
    }

    /// The same without one of the codings.
    pub fn without(mut self, one: Algorithm) -> Self {
        for algorithm in &mut self.algorithms {
            *algorithm = algorithm.take().filter(|other| *other != one);
        }
        self
    }

    /// How the body of an answer goes out, if not as it is; its headers say so then.
    pub fn apply(&self, status: StatusCode, headers: &mut HeaderMap) -> Option<Encoder> {
        if !may_be_coded(status, headers) {
            return None;
        }
        let fits = |one: &Algorithm| is_wanted(one.settings(self.settings), *one, headers);
        if !Algorithm::ALL.iter().any(|one| one.settings(self.settings).on && fits(one)) {
            return None;
        }
        let algorithm = self.algorithms.into_iter().flatten().find(fits);
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        let algorithm = algorithm?;
        let level = algorithm.settings(self.settings).level.unwrap_or(algorithm.usual_level());
        let encoder = Encoder::new(algorithm, level)?;
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(algorithm.name()));
        for name in OF_THE_PLAIN_BODY {
            headers.remove(name);
        }
        weaken(headers);
        Some(encoder)
    }
}

/// What holds for the body as it was; digests are those of RFC 9530 and RFC 3230.
const OF_THE_PLAIN_BODY: [&str; 6] =
    ["content-length", "accept-ranges", "content-digest", "repr-digest", "digest", "content-md5"];

fn may_be_coded(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_body = !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT);
    let is_forbidden = |value: &HeaderValue| {
        let mut directives = value.as_bytes().split(|&byte| byte == b',');
        directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    };
    has_body
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !headers.get_all(CACHE_CONTROL).iter().any(is_forbidden)
}

fn is_wanted(coding: &Coding, algorithm: Algorithm, headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length < coding.min_length.unwrap_or(algorithm.usual_length()).max(1)) {
        return false;
    }
    let Some(media) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media = media.split(';').next().unwrap_or_default().trim();
    let is_it = |name: &str| name == "*" || name.eq_ignore_ascii_case(media);
    is_it("text/html")
        || match &coding.types {
            Some(types) => types.iter().any(|name| is_it(name)),
            None => USUAL_TYPES.iter().any(|name| is_it(name)),
        }
}

/// The coded body is another one, byte by byte (RFC 9110 section 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else { return };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(ETAG, weak),
        Err(_) => headers.remove(ETAG),
    };
}

#[cfg(test)]
mod tests;
