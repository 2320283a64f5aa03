//! Headers that a route adds or changes.

use std::rc::Rc;

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, REFRESH, SET_COOKIE};

use crate::model::filters::{Headers, Replace, Variables};

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What the backend gets beside what it gets anyway.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// Replaces what the client sent; the Host among them does not show in X-Forwarded-Host.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Not for the backend.
    pub removed: Vec<HeaderName>,
    /// In HTTP/1.0.
    pub old_http: bool,
    /// The connection ends after the answer.
    pub close: bool,
}

impl Outbound {
    /// What trailers of a request may not say: it would pass for what was set or removed in its head.
    pub fn barred(&self) -> Option<Rc<[HeaderName]>> {
        let set = self.headers.iter().map(|(name, _)| name);
        let some = !(self.removed.is_empty() && self.headers.is_empty());
        some.then(|| self.removed.iter().chain(set).cloned().collect())
    }

    pub(super) fn new(headers: &Headers, seen: &impl Variables) -> Self {
        let of = |name, template: &Option<_>| Some((name, expand(template.as_ref()?, seen)?));
        let host = of(HOST, &headers.host).filter(|(_, value)| !value.is_empty());
        let headers_of_request = host.into_iter().chain(of(X_FORWARDED_PREFIX, &headers.prefix));
        Outbound {
            headers: headers_of_request.collect(),
            removed: Vec::new(),
            close: headers.close,
            ..Outbound::default()
        }
    }
}

/// Changes of an answer, with all variables known.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    headers: Vec<(HeaderName, HeaderValue)>,
    location: Option<(String, String)>,
    cookie_domain: Option<(String, String)>,
    cookie_path: Option<(String, String)>,
}

impl Inbound {
    pub(super) fn new(headers: &Headers, seen: &impl Variables) -> Self {
        let pair = |replace: &Option<Replace>| replace.as_ref().map(|one| (one.from.clone(), one.to.expand(seen)));
        let added = headers
            .answer
            .iter()
            .filter_map(|(name, template)| Some((HeaderName::try_from(name.as_str()).ok()?, expand(template, seen)?)));
        Inbound {
            headers: added.collect(),
            location: pair(&headers.location),
            cookie_domain: pair(&headers.cookie_domain),
            cookie_path: pair(&headers.cookie_path),
        }
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        if let Some(replace) = &self.location {
            for name in [LOCATION, REFRESH] {
                change(headers, &name, |text| located(text, replace));
            }
        }
        if self.cookie_domain.is_some() || self.cookie_path.is_some() {
            change(headers, &SET_COOKIE, |text| self.cookie(text));
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }

    fn cookie(&self, text: &str) -> Option<String> {
        let attribute = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let (from, to) = match name.trim().to_ascii_lowercase().as_str() {
                "domain" => self.cookie_domain.as_ref().filter(|(from, _)| {
                    value.trim_start_matches('.').eq_ignore_ascii_case(from.trim_start_matches('.'))
                })?,
                "path" => self.cookie_path.as_ref().filter(|(from, _)| value.starts_with(from.as_str()))?,
                _ => return None,
            };
            let rest = value.get(from.len()..).filter(|_| name.trim().eq_ignore_ascii_case("path")).unwrap_or("");
            Some(format!("{name}={to}{rest}"))
        };
        let (pair, attributes) = text.split_once(';')?;
        let parts: Vec<_> =
            attributes.split(';').map(|part| attribute(part).unwrap_or_else(|| part.to_owned())).collect();
        Some(format!("{pair};{}", parts.join(";")))
    }
}

/// The text with another beginning; of a Refresh, that of its URL.
fn located(text: &str, (from, to): &(String, String)) -> Option<String> {
    let start = text.find("url=").or_else(|| text.find("URL=")).map_or(0, |at| at + 4);
    let rest = text[start..].strip_prefix(from.as_str())?;
    Some(format!("{}{to}{rest}", &text[..start]))
}

fn change(headers: &mut HeaderMap, name: &HeaderName, changed: impl Fn(&str) -> Option<String>) {
    let old: Vec<_> = headers.get_all(name).iter().cloned().collect();
    let new = old.iter().map(|value| {
        let changed = value.to_str().ok().and_then(&changed).and_then(|text| HeaderValue::try_from(text).ok());
        changed.unwrap_or_else(|| value.clone())
    });
    let new: Vec<_> = new.collect();
    headers.remove(name);
    for value in new {
        headers.append(name.clone(), value);
    }
}

fn expand(template: &crate::model::filters::Template, seen: &impl Variables) -> Option<HeaderValue> {
    HeaderValue::try_from(template.expand(seen)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_keep_what_is_not_meant() {
        let of = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        let inbound = Inbound {
            cookie_domain: of("pod.local", "a.example"),
            cookie_path: of("/app", "/x"),
            ..Inbound::default()
        };
        for (cookie, expected) in [
            (
                "a=Domain=pod.local; Domain=.POD.local; Path=/app/y; Secure",
                "a=Domain=pod.local; Domain=a.example; Path=/x/y; Secure",
            ),
            ("a=b; domain=other; path=/", "a=b; domain=other; path=/"),
        ] {
            assert_eq!(inbound.cookie(cookie).as_deref(), Some(expected));
        }
        assert_eq!(inbound.cookie("a=b"), None);
    }

    #[test]
    fn locations_change_at_their_beginning() {
        let replace = ("http://pod/".to_owned(), "https://a.example/".to_owned());
        assert_eq!(located("http://pod/x", &replace).as_deref(), Some("https://a.example/x"));
        assert_eq!(located("5; url=http://pod/x", &replace).as_deref(), Some("5; url=https://a.example/x"));
        assert_eq!(located("/x?http://pod/", &replace), None);
    }
}
