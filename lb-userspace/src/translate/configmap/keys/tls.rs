//! Keys about TLS and the redirects to it.

use super::{Key, Support};
use crate::l7::tls;
use crate::model::settings::{FrontSettings, TlsVersion};
use crate::translate::ingress::dialect::suites;
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};

const fn applied(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: fn(&mut FrontSettings, &str) -> Parsed<()>,
) -> Key {
    Key { name, kind, default, meaning, difference: "", support: Support::Applied(apply) }
}

pub(super) const KEYS: &[Key] = &[
    applied("use-http2", "flag", "true", "Whether HTTP/2 is offered over TLS.", |settings, text| {
        value::flag(text).map(|on| settings.tls.http2 = on)
    }),
    applied(
        "http2-max-concurrent-streams",
        "number",
        "128",
        "Requests at once on one of its connections.",
        |s, text| value::number(text, 1..=65_536).map(|streams| s.tls.http2_streams = streams),
    ),
    applied("hsts", "flag", "true", "Whether answers over TLS have Strict-Transport-Security.", |settings, text| {
        let on = value::flag(text)?;
        settings.tls.hsts = on.then(|| settings.tls.hsts.unwrap_or_default());
        Ok(())
    }),
    applied("hsts-include-subdomains", "flag", "true", "Whether that holds for all names below.", |settings, text| {
        let on = value::flag(text)?;
        settings.tls.hsts.iter_mut().for_each(|hsts| hsts.subdomains = on);
        Ok(())
    }),
    applied("hsts-max-age", "seconds", "31536000", "For how long.", |settings, text| {
        let age = value::duration(text)? / 1000;
        settings.tls.hsts.iter_mut().for_each(|hsts| hsts.max_age = age);
        Ok(())
    }),
    applied("hsts-preload", "flag", "false", "Whether browsers may ship with it.", |settings, text| {
        let on = value::flag(text)?;
        settings.tls.hsts.iter_mut().for_each(|hsts| hsts.preload = on);
        Ok(())
    }),
    applied("ssl-protocols", "versions", "TLSv1.2 TLSv1.3", "Versions of TLS that are offered.", |settings, text| {
        settings.tls.versions = text.split_whitespace().map(version).collect::<Parsed<_>>()?;
        if settings.tls.versions.is_empty() { Err(Wrong::expected("TLSv1.2 or TLSv1.3")) } else { Ok(()) }
    }),
    applied("ssl-ciphers", "suites", "", "Suites of TLS 1.2, with the names of OpenSSL.", |settings, text| {
        let (suites, result) = suites::suites(text)?;
        settings.tls.ciphers = suites;
        result
    }),
    applied("ssl-ecdh-curve", "curves", "auto", "Groups for the key exchange.", |settings, text| {
        let named = if text.trim() == "auto" { Vec::new() } else { words(text, ':')? };
        settings.tls.curves = known(named, |name| tls::group(name).is_some(), GROUPS)?;
        Ok(())
    }),
    applied(
        "ssl-session-cache",
        "flag",
        "true",
        "Whether sessions are resumed; as nothing is stored here, by tickets too.",
        |settings, text| value::flag(text).map(|on| settings.tls.session_cache = on),
    ),
    applied(
        "ssl-session-tickets",
        "flag",
        "false",
        "Whether sessions are resumed by tickets; `ssl-session-cache` alone does that too.",
        |settings, text| value::flag(text).map(|on| settings.tls.tickets = on),
    ),
    Key {
        name: "ssl-session-timeout",
        kind: "time",
        default: "10m",
        meaning: "For how long.",
        difference: "",
        support: Support::Moot("tickets are sealed with keys that change every six hours"),
    },
    applied(
        "ssl-reject-handshake",
        "flag",
        "false",
        "Whether names without a certificate get no handshake.",
        |settings, text| value::flag(text).map(|on| settings.tls.reject_unknown = on),
    ),
    applied("http-redirect-code", "301, 302, 307 or 308", "308", "Status of redirects to HTTPS.", |settings, text| {
        let status = value::number(text, 300..=399)?;
        settings.tls.redirect_status = match status {
            301 => 301,
            302 => 302,
            307 => 307,
            308 => 308,
            _ => return Err(Wrong::expected("301, 302, 307 or 308")),
        };
        Ok(())
    }),
    applied(
        "no-tls-redirect-locations",
        "paths",
        "/.well-known/acme-challenge",
        "Beginnings of paths that are not redirected to HTTPS.",
        |settings, text| {
            settings.tls.no_redirect = value::list(text).map(value::path).collect::<Parsed<_>>()?;
            Ok(())
        },
    ),
];

const GROUPS: &str = "auto, X25519MLKEM768, X25519, prime256v1 or secp384r1";

/// Those of the names that are known; lists for nginx have others beside them.
fn known(names: Vec<String>, is_known: impl Fn(&str) -> bool, expected: &str) -> Parsed<Vec<String>> {
    let known: Vec<_> = names.iter().filter(|name| is_known(name)).cloned().collect();
    if known.is_empty() && !names.is_empty() { Err(Wrong::expected(expected)) } else { Ok(known) }
}

fn version(text: &str) -> Parsed<TlsVersion> {
    match text {
        "TLSv1.2" => Ok(TlsVersion::V12),
        "TLSv1.3" => Ok(TlsVersion::V13),
        _ => Err(Wrong::expected("TLSv1.2 or TLSv1.3; older versions are not safe")),
    }
}

fn words(text: &str, between: char) -> Parsed<Vec<String>> {
    let word = |word: &str| match word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        true => Ok(word.to_owned()),
        false => Err(Wrong::expected("names with colons between them")),
    };
    text.split(between).map(str::trim).filter(|word| !word.is_empty()).map(word).collect()
}
