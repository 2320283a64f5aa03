//! Cookies that keep a client with an endpoint.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Context, annotation};
use crate::model::filters::{Affinity, SameSite};
use crate::siphash::UNKEYED;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cookie {
    wanted: bool,
    persistent: bool,
    name: Option<String>,
    path: Option<String>,
    domain: Option<String>,
    expires: Option<u64>,
    max_age: Option<u64>,
    secure: Option<bool>,
    same_site: Option<SameSite>,
    conditional: bool,
    change_on_failure: bool,
}

impl Cookie {
    pub(super) fn affinity(self, context: &Context<'_>) -> Option<Box<Affinity>> {
        if !self.wanted {
            return None;
        }
        let mut attributes = String::new();
        for (name, value) in [("Max-Age", self.max_age.map(|age| age.to_string())), ("Domain", self.domain)] {
            attributes.extend(value.map(|value| format!("; {name}={value}")));
        }
        Some(Box::new(Affinity {
            name: self.name.unwrap_or_else(|| "INGRESSCOOKIE".to_owned()),
            persistent: self.persistent,
            attributes,
            path: self.path,
            expires: self.expires,
            secure: self.secure,
            same_site: self.same_site,
            conditional: self.conditional,
            change_on_failure: self.change_on_failure,
            key: key(context),
        }))
    }
}

/// The same on every node, and known to nobody who cannot read the Ingress: its UID is random. Manifests in files have
/// none; there the name must do.
fn key(context: &Context<'_>) -> [u64; 2] {
    let metadata = &context.ingress.metadata;
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let half = |number: u8| UNKEYED.hash(format!("{number}/{}/{}/{uid}", metadata.namespace, metadata.name).as_bytes());
    [half(0), half(1)]
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "affinity",
        "cookie",
        "",
        "Keeps a client with one endpoint by a cookie.",
        "The cookie holds random numbers and hashes; nothing in it tells an address or a name.",
        |asked, text| match text.trim() {
            "cookie" => {
                asked.balancing.cookie.wanted = true;
                Ok(())
            }
            _ => Err(Wrong::expected("cookie")),
        },
    ),
    annotation(
        "affinity-mode",
        "balanced or persistent",
        "balanced",
        "Whether some clients move when endpoints are added, or all stay until their endpoint is gone.",
        "",
        |asked, text| {
            let modes = [("balanced", false), ("persistent", true)];
            one_of(text, &modes).map(|persistent| asked.balancing.cookie.persistent = persistent)
        },
    ),
    annotation("session-cookie-name", "name", "INGRESSCOOKIE", "The cookie's name.", "", |asked, text| {
        let name = text.trim();
        let good = !name.is_empty() && name.bytes().all(is_token);
        let wrong = || Wrong::expected("letters, digits, dashes and underscores");
        asked.balancing.cookie.name = Some(good.then(|| name.to_owned()).ok_or_else(wrong)?);
        Ok(())
    }),
    annotation(
        "session-cookie-path",
        "path",
        "",
        "The cookie's Path; without it the path of the rule.",
        "Where that is a regular expression it is `/`.",
        |asked, text| attribute(text, '/').map(|path| asked.balancing.cookie.path = Some(path)),
    ),
    annotation("session-cookie-domain", "domain", "", "The cookie's Domain.", "", |asked, text| {
        attribute(text, ' ').map(|domain| asked.balancing.cookie.domain = Some(domain))
    }),
    annotation("session-cookie-expires", "seconds", "", "Seconds until the cookie's Expires.", "", |asked, text| {
        seconds(text).map(|seconds| asked.balancing.cookie.expires = Some(seconds))
    }),
    annotation("session-cookie-max-age", "seconds", "", "The cookie's Max-Age.", "", |asked, text| {
        seconds(text).map(|seconds| asked.balancing.cookie.max_age = Some(seconds))
    }),
    annotation(
        "session-cookie-secure",
        "flag",
        "",
        "Whether the cookie is Secure; without it, if the client speaks TLS.",
        "",
        |asked, text| value::flag(text).map(|secure| asked.balancing.cookie.secure = Some(secure)),
    ),
    annotation("session-cookie-samesite", "None, Lax or Strict", "", "The cookie's SameSite.", "", |asked, text| {
        let sites = [("None", SameSite::None), ("Lax", SameSite::Lax), ("Strict", SameSite::Strict)];
        one_of(text, &sites).map(|site| asked.balancing.cookie.same_site = Some(site))
    }),
    annotation(
        "session-cookie-conditional-samesite-none",
        "flag",
        "false",
        "Leaves SameSite=None out for browsers that do not know it.",
        "",
        |asked, text| value::flag(text).map(|conditional| asked.balancing.cookie.conditional = conditional),
    ),
    annotation(
        "session-cookie-change-on-failure",
        "flag",
        "false",
        "Gives a client another cookie when its endpoint fails.",
        "Without it too a request goes to another endpoint as long as its own is known not to answer.",
        |asked, text| value::flag(text).map(|change| asked.balancing.cookie.change_on_failure = change),
    ),
];

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    let found = choices.iter().find(|(name, _)| text.trim() == *name);
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    found.map(|(_, value)| *value).ok_or_else(|| Wrong::expected(names.join(" or ")))
}

/// What may stand in an attribute of a cookie (RFC 6265 section 4.1.1).
fn attribute(text: &str, first: char) -> Parsed<String> {
    let text = text.trim();
    let good = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
        && (first == ' ' || text.starts_with(first));
    let wrong = || Wrong::expected(if first == '/' { "a path that begins with '/'" } else { "a domain" });
    good.then(|| text.to_owned()).ok_or_else(wrong)
}

fn seconds(text: &str) -> Parsed<u64> {
    value::number(text, 0..=u32::MAX).map(u64::from)
}

/// What names of cookies are made of (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
