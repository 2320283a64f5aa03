//! What is spoken to backends.

use std::sync::Arc;

use super::value::{self, Wrong};
use super::{Annotation, Context, annotation, guard};
use crate::l7::proxy_protocol::Version;
use crate::l7::secure::SUITES;
use crate::model::filters::{Backend, BackendTls, TlsUse};
use crate::x509;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Speaking {
    http2: bool,
    secure: TlsUse,
    verify: bool,
    secret: Option<String>,
    depth: Option<u32>,
    name: Option<String>,
    tells_name: bool,
    versions: Option<(bool, bool)>,
    suites: Vec<String>,
    proxy_protocol: Option<Version>,
}

impl Speaking {
    /// Where a backend is to be checked and cannot be, the routes are closed.
    pub(super) fn backend(self, context: &mut Context<'_>) -> Option<Box<Backend>> {
        let (http2, proxy_protocol) = (self.http2, self.proxy_protocol);
        if self.secure == TlsUse::Never {
            let plain = Backend { http2, proxy_protocol, ..Backend::default() };
            return (plain != Backend::default()).then(|| Box::new(plain));
        }
        let (v12, v13) = self.versions.unwrap_or((true, true));
        let mut tls = BackendTls {
            depth: self.depth.unwrap_or(1),
            name: self.name,
            tells_name: self.tells_name,
            v12,
            v13,
            suites: self.suites,
            ..BackendTls::default()
        };
        if let Some(named) = &self.secret {
            let secret = context.secret("proxy-ssl-secret", named)?;
            tls.certificate = secret.pair.as_ref().and_then(|pair| pair.usable()).cloned();
            let authorities = secret.data.get(x509::AUTHORITIES).and_then(|value| value.text());
            let authorities = authorities.filter(|text| x509::chain_of(x509::AUTHORITIES, text.as_bytes()).is_ok());
            tls.authorities = authorities.filter(|_| self.verify).map(str::to_owned);
        }
        if self.verify && tls.authorities.is_none() {
            let expected = "proxy-ssl-secret with certificates of authorities in ca.crt";
            context.close("proxy-ssl-verify", "on", expected, "nobody is named who vouches for the backend");
        }
        Some(Box::new(Backend { http2, secure: self.secure, tls: Arc::new(tls), proxy_protocol }))
    }
}

/// Our own.
pub(super) const OWN: &[Annotation] = &[annotation(
    "proxy-protocol",
    "v1 or v2",
    "",
    "Tells backends of the client by the PROXY protocol, at the beginning of each connection.",
    "Connections are for the requests of one client then, and kept for those.",
    |asked, text| {
        asked.speaking.proxy_protocol = match text.trim() {
            "v1" => Some(Version::V1),
            "v2" => Some(Version::V2),
            _ => return Err(Wrong::expected("v1 or v2")),
        };
        Ok(())
    },
)];

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "backend-protocol",
        "HTTP, HTTPS, AUTO_HTTP, GRPC, GRPCS",
        "HTTP",
        "What the backend speaks: HTTP/1.1, the same over TLS, whichever the client speaks, HTTP/2, or HTTP/2 over TLS.",
        "FCGI is refused: put a server that speaks it beside the application.",
        |asked, text| {
            let speaking = &mut asked.speaking;
            (speaking.http2, speaking.secure) = match text.trim().to_ascii_uppercase().as_str() {
                "HTTP" => (false, TlsUse::Never),
                "HTTPS" => (false, TlsUse::Always),
                "AUTO_HTTP" => (false, TlsUse::Alike),
                "GRPC" => (true, TlsUse::Never),
                "GRPCS" => (true, TlsUse::Always),
                "FCGI" => return Err(Wrong::expected("HTTP, to a server that speaks FastCGI beside the application")),
                _ => return Err(Wrong::expected("HTTP, HTTPS, AUTO_HTTP, GRPC or GRPCS")),
            };
            Ok(())
        },
    ),
    guard(
        "proxy-ssl-secret",
        "name",
        "",
        "The Secret with our certificate for backends (tls.crt, tls.key) and the authorities of theirs (ca.crt).",
        "It has to be in the namespace of the Ingress.",
        |asked, text| {
            asked.speaking.secret = Some(text.trim().to_owned()).filter(|name| !name.is_empty());
            Ok(())
        },
    ),
    guard(
        "proxy-ssl-verify",
        "on or off",
        "off",
        "Whether certificates of backends are checked.",
        "Without an authority to check by the routes answer 503.",
        |asked, text| value::switch(text).map(|verify| asked.speaking.verify = verify),
    ),
    guard(
        "proxy-ssl-verify-depth",
        "number",
        "1",
        "How many certificates may stand between a backend's own and the authority's.",
        "Those that the backend sends are counted.",
        |asked, text| value::number(text, 0..=100).map(|depth| asked.speaking.depth = Some(depth)),
    ),
    guard(
        "proxy-ssl-name",
        "host",
        "",
        "The name that a backend's certificate has to have.",
        "Without it that of the Service, `name.namespace.svc`, or what an ExternalName Service stands for. Names are \
         subject alternative names.",
        |asked, text| {
            let name = text.trim().to_ascii_lowercase();
            match rustls::pki_types::ServerName::try_from(name.as_str()) {
                Ok(_) => {
                    asked.speaking.name = Some(name);
                    Ok(())
                }
                Err(_) => Err(Wrong::expected("a host name")),
            }
        },
    ),
    annotation(
        "proxy-ssl-server-name",
        "on or off",
        "off",
        "Whether backends are told the name, by SNI.",
        "",
        |asked, text| value::switch(text).map(|tells| asked.speaking.tells_name = tells),
    ),
    annotation(
        "proxy-ssl-protocols",
        "versions",
        "TLSv1.2 TLSv1.3",
        "Versions of TLS towards backends.",
        "Versions before 1.2 are not spoken.",
        |asked, text| {
            let named = |version: &str| text.split_whitespace().any(|word| word == version);
            match (named("TLSv1.2"), named("TLSv1.3")) {
                (false, false) => Err(Wrong::expected("TLSv1.2, TLSv1.3 or both")),
                versions => {
                    asked.speaking.versions = Some(versions);
                    Ok(())
                }
            }
        },
    ),
    annotation(
        "proxy-ssl-ciphers",
        "text",
        "DEFAULT",
        "Suites towards backends, in OpenSSL's names between colons.",
        "Only suites with forward secrecy and authenticated encryption; others in the list are left out.",
        |asked, text| {
            let words: Vec<_> = text.trim().split(':').collect();
            let known = |word: &&&str| SUITES.iter().any(|(name, _)| *name == **word);
            asked.speaking.suites = words.iter().filter(known).map(|word| (*word).to_owned()).collect();
            let all = words.iter().any(|word| matches!(*word, "DEFAULT" | "HIGH" | "ALL"));
            if all {
                asked.speaking.suites.clear();
            }
            if all || !asked.speaking.suites.is_empty() {
                return Ok(());
            }
            let names: Vec<_> = SUITES.iter().map(|(name, _)| *name).collect();
            Err(Wrong::expected(format!("DEFAULT, or some of {}", names.join(", "))))
        },
    ),
];
