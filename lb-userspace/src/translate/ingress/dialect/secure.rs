//! Redirects to HTTPS, TLS as it is, and certificates of clients.

use super::redirects::target;
use super::value::{self, Parsed, Wrong};
use super::{Annotation, Asked, Context, Support, guard};
use crate::l7::tls::SubjectPattern;
use crate::model::filters::{ClientCertificate, Secure, SecureRedirect, Template, Verify};
use crate::source::kinds::Secret;
use crate::x509;

/// What is asked of TLS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Redirect {
    listed: Option<bool>,
    force: bool,
    keeps_slash: bool,
    passthrough: bool,
    ciphers: Vec<String>,
    server_order: Option<bool>,
}

impl Redirect {
    pub(super) fn set_ciphers(&mut self, ciphers: Vec<String>) {
        self.ciphers = ciphers;
    }

    pub(super) fn set_server_order(&mut self, on: bool) {
        self.server_order = Some(on);
    }

    pub(super) fn secure(self) -> Option<Box<Secure>> {
        let redirect = match (self.force, self.listed) {
            (true, _) => SecureRedirect::Always,
            (false, Some(false)) => SecureRedirect::Never,
            (false, _) => SecureRedirect::Listed,
        };
        let Redirect { keeps_slash, passthrough, ciphers, server_order, .. } = self;
        let secure = Secure { redirect, keeps_slash, passthrough, ciphers, server_order };
        (secure != Secure::default()).then(|| Box::new(secure))
    }
}

/// What is asked of clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clients {
    secret: Option<String>,
    /// `None`: as it is without the annotation; inside, `None`: nothing is asked.
    verify: Option<Option<Verify>>,
    depth: Option<u8>,
    error_page: Option<Template>,
    pass: bool,
    subject: Option<String>,
}

impl Clients {
    /// Where the Secret cannot be used, the routes are closed.
    pub(super) fn certificate(self, context: &mut Context<'_>) -> Option<Box<ClientCertificate>> {
        let name = self.secret?;
        let verify = self.verify.unwrap_or(Some(Verify::Required))?;
        let secret = context.secret("auth-tls-secret", &name)?;
        if let Err(fault) = authorities(secret) {
            context.close("auth-tls-secret", &name, fault.expected, &format!("{} of the Secret: {fault}", fault.key));
            return None;
        }
        Some(Box::new(ClientCertificate {
            authorities: format!("{}/{}", secret.metadata.namespace, secret.metadata.name),
            depth: self.depth.unwrap_or(1),
            verify,
            error_page: self.error_page,
            pass: self.pass,
            subject: self.subject,
        }))
    }
}

/// The authorities that a Secret holds.
pub(in crate::translate) fn authorities(secret: &Secret) -> Result<crate::model::Authorities, x509::Fault> {
    let value = |key| secret.data.get(key).map(|value| &*value.0);
    x509::authorities(value(x509::AUTHORITIES).unwrap_or_default(), value(x509::REVOKED))
}

const fn flag(
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    apply: fn(&mut Asked, &str) -> Parsed<()>,
) -> Annotation {
    Annotation { name, kind: "flag", default, meaning, difference, support: Support::Applied(apply) }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    flag(
        "ssl-redirect",
        "true",
        "Redirects plain requests to HTTPS, with status 308, where the host is listed under `spec.tls`.",
        "",
        |asked, text| value::flag(text).map(|on| asked.secure.listed = Some(on)),
    ),
    flag(
        "force-ssl-redirect",
        "false",
        "Redirects plain requests to HTTPS, also where the host is not listed under `spec.tls`.",
        "",
        |asked, text| value::flag(text).map(|on| asked.secure.force = on),
    ),
    flag(
        "preserve-trailing-slash",
        "false",
        "Keeps a slash at the end of a path in redirects to HTTPS.",
        "Without it the slash goes only if there is no query behind it.",
        |asked, text| value::flag(text).map(|on| asked.secure.keeps_slash = on),
    ),
    flag(
        "ssl-passthrough",
        "false",
        "Sends the host's connections over TLS on as they are, by the name in them.",
        "Needs no flag. They go to the backend of the path `/`, or else of the shortest one.",
        |asked, text| value::flag(text).map(|on| asked.secure.passthrough = on),
    ),
    guard(
        "auth-tls-secret",
        "namespace/name",
        "",
        "The Secret with the authorities of client certificates in `ca.crt`, and lists of what they revoked in `ca.crl`.",
        "Holds for all paths of its hosts, of whichever Ingress; of several Ingresses for a host the oldest counts.",
        |asked, text| secret(text).map(|name| asked.clients.secret = Some(name)),
    ),
    guard(
        "auth-tls-verify-client",
        "on, off, optional, optional_no_ca",
        "on",
        "Whether clients need a certificate.",
        "",
        |asked, text| verify(text).map(|verify| asked.clients.verify = Some(verify)),
    ),
    guard(
        "auth-tls-verify-depth",
        "0-10",
        "1",
        "How many authorities may stand between a client's certificate and one of the Secret.",
        "",
        |asked, text| value::number(text, 0..=10).map(|depth| asked.clients.depth = u8::try_from(depth).ok()),
    ),
    Annotation {
        name: "auth-tls-error-page",
        kind: "URL",
        default: "",
        meaning: "Where clients without a good certificate are sent, with status 302.",
        difference: "",
        support: Support::Applied(|asked, text| target(text).map(|to| asked.clients.error_page = to)),
    },
    flag(
        "auth-tls-pass-certificate-to-upstream",
        "false",
        "Passes the client's certificate on, in PEM with escapes, in the header `ssl-client-cert`.",
        "",
        |asked, text| value::flag(text).map(|on| asked.clients.pass = on),
    ),
    guard(
        "auth-tls-match-cn",
        "pattern",
        "",
        "What the subject of a client's certificate has to match, such as `CN=(alice|bob)`; others get 403.",
        "Matching takes linear time; there is no look-around.",
        |asked, text| subject(text).map(|subject| asked.clients.subject = Some(subject)),
    ),
];

fn secret(text: &str) -> Parsed<String> {
    let text = text.trim();
    if text.is_empty() { Err(Wrong::expected("namespace/name of a Secret")) } else { Ok(text.to_owned()) }
}

fn verify(text: &str) -> Parsed<Option<Verify>> {
    match text.trim() {
        "on" => Ok(Some(Verify::Required)),
        "off" => Ok(None),
        "optional" => Ok(Some(Verify::Optional)),
        "optional_no_ca" => Ok(Some(Verify::OptionalNoCa)),
        _ => Err(Wrong::expected("on, off, optional or optional_no_ca")),
    }
}

fn subject(text: &str) -> Parsed<String> {
    SubjectPattern::new(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| Wrong::expected("a regular expression such as CN=a"))
}
