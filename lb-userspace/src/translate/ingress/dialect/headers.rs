//! Headers that a route adds or changes.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Context, annotation};
use crate::model::filters::{Headers, Replace, Template};
use crate::model::name;

/// Headers that say how a message is framed or sent on: nobody else's to set (RFC 9110 section 7.6.1, RFC 9112).
pub(super) const RESERVED: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    headers: Headers,
    /// Namespace, if one is written, and name of a ConfigMap.
    custom: Option<(Option<String>, String)>,
    location_from: Option<String>,
    location_to: Option<Template>,
}

impl Changes {
    pub(super) fn headers(mut self, context: &mut Context<'_>) -> Option<Box<Headers>> {
        self.headers.location = self.location_from.zip(self.location_to).map(|(from, to)| Replace { from, to });
        if let Some((namespace, name)) = self.custom {
            self.headers.answer = of_config_map("custom-headers", namespace, &name, context);
        }
        (self.headers != Headers::default()).then(|| Box::new(self.headers))
    }
}

/// The headers in a ConfigMap of the Ingress's namespace.
pub(super) fn of_config_map(
    annotation: &str,
    namespace: Option<String>,
    name: &str,
    context: &mut Context<'_>,
) -> Vec<(String, Template)> {
    let Some(found) = context.config_map(annotation, namespace, name) else { return Vec::new() };
    let mut headers = Vec::new();
    for (key, text) in &found.data {
        match header(key, text) {
            Ok(header) if annotation != "custom-headers" || context.allows(&header.0) => headers.push(header),
            Ok(_) => {
                let wrong = Wrong::expected("one of global-allowed-response-headers");
                context.problem(annotation, key, &wrong, "an answer may not have this header");
            }
            Err(wrong) => context.problem(annotation, key, &wrong, "this header cannot be set"),
        }
    }
    headers
}

/// A header as a ConfigMap has it.
pub(in crate::translate) fn header(key: &str, text: &str) -> Parsed<(String, Template)> {
    let name = key.to_ascii_lowercase();
    let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !is_token || RESERVED.contains(&name.as_str()) {
        return Err(Wrong::expected("a header such as X-Frame-Options that does not say how the answer is framed"));
    }
    Ok((name, value::template(text)?))
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "http2-push-preload",
        "flag",
        "false",
        "Turns Link headers into HTTP/2 pushes.",
        "Nothing is pushed: browsers no longer take it (nor has nginx it since 1.25.1). Link headers reach clients, which load ahead by them.",
        |_, text| value::flag(text).map(drop),
    ),
    annotation(
        "custom-headers",
        "namespace/name",
        "",
        "A ConfigMap of headers for answers.",
        "Any header is allowed except those that frame the message; the ConfigMap has to be in the namespace of the Ingress.",
        |asked, text| qualified(text).map(|named| asked.changes.custom = named),
    ),
    annotation("upstream-vhost", "template", "", "The Host that the backend gets.", "", |asked, text| {
        value::template(text).map(|host| asked.changes.headers.host = some(host))
    }),
    annotation(
        "x-forwarded-prefix",
        "template",
        "",
        "X-Forwarded-Prefix for the backend.",
        "Set whether the path is rewritten or not.",
        |asked, text| value::template(text).map(|prefix| asked.changes.headers.prefix = some(prefix)),
    ),
    annotation(
        "connection-proxy-header",
        "keep-alive or close",
        "keep-alive",
        "With close, the connection to the backend ends after each answer.",
        "Other options of a connection are ours alone.",
        |asked, text| {
            asked.changes.headers.close = match text.trim().to_ascii_lowercase().as_str() {
                "close" => true,
                "" | "keep-alive" => false,
                _ => return Err(Wrong::expected("keep-alive or close")),
            };
            Ok(())
        },
    ),
    annotation(
        "proxy-redirect-from",
        "off, default or text",
        "off",
        "What is replaced at the beginning of Location and Refresh headers; default: the address of the backend.",
        "",
        |asked, text| {
            asked.changes.location_from =
                Some(text.trim().to_owned()).filter(|text| !matches!(text.as_str(), "" | "off"));
            Ok(())
        },
    ),
    annotation("proxy-redirect-to", "template", "", "What takes its place.", "", |asked, text| {
        value::template(text).map(|to| asked.changes.location_to = Some(to))
    }),
    annotation(
        "proxy-cookie-domain",
        "off, or two domains",
        "off",
        "Replaces the Domain of cookies that the backend sets.",
        "Regular expressions are not taken.",
        |asked, text| pair(text).map(|pair| asked.changes.headers.cookie_domain = pair),
    ),
    annotation(
        "proxy-cookie-path",
        "off, or two paths",
        "off",
        "Replaces the beginning of the Path of cookies that the backend sets.",
        "Regular expressions are not taken.",
        |asked, text| pair(text).map(|pair| asked.changes.headers.cookie_path = pair),
    ),
];

fn some(template: Template) -> Option<Template> {
    Some(template).filter(|template| !template.is_empty())
}

/// `name` or `namespace/name`.
pub(super) fn qualified(text: &str) -> Parsed<Option<(Option<String>, String)>> {
    let text = text.trim();
    match text.split_once('/') {
        None if text.is_empty() => Ok(None),
        None => Ok(Some((None, text.to_owned()))),
        Some(_) => match name::split_qualified(text) {
            Some((namespace, name)) => Ok(Some((Some(namespace.to_owned()), name.to_owned()))),
            None => Err(Wrong::expected("namespace/name of a ConfigMap")),
        },
    }
}

/// `off`, or two texts with a space between them.
fn pair(text: &str) -> Parsed<Option<Replace>> {
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None | Some("off"), None, None) => Ok(None),
        (Some(from), Some(to), None) if !from.starts_with('~') => {
            Ok(Some(Replace { from: from.to_owned(), to: value::template(to)? }))
        }
        _ => Err(Wrong::expected("off, or two texts with a space between them")),
    }
}
