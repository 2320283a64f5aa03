//! Keys about proxies in front of this one.

use super::{Key, applied};
use crate::model::name;
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};

pub(super) const KEYS: &[Key] = &[
    applied(
        "use-forwarded-headers",
        "flag",
        "false",
        "Whether X-Forwarded-For, -Host, -Proto and -Port of proxies are believed.",
        "Those of whom proxy-real-ip-cidr does not hold are thrown away.",
        |settings, text| {
            let on = value::flag(text)?;
            settings.forwarded.request = on;
            settings.forwarded.address |= on;
            Ok(())
        },
    ),
    applied(
        "enable-real-ip",
        "flag",
        "false",
        "Whether the client's address is what proxies say.",
        "",
        |settings, text| value::flag(text).map(|on| settings.forwarded.address |= on),
    ),
    applied(
        "proxy-real-ip-cidr",
        "CIDRs",
        "",
        "Where proxies are that are believed.",
        "Without it all are, but only for the address that the last one adds; there the first one counts, which clients can write.",
        |settings, text| value::networks(text).map(|networks| settings.forwarded.proxies = networks),
    ),
    applied(
        "forwarded-for-header",
        "header",
        "X-Forwarded-For",
        "The header with the addresses of client and proxies; `Forwarded` is read as RFC 7239 has it, with its host and proto.",
        "",
        |settings, text| {
            settings.forwarded.header = header(text)?;
            Ok(())
        },
    ),
    applied(
        "forwarded-for-proxy-protocol-header",
        "header",
        "X-Forwarded-For-Proxy-Protocol",
        "The header that tells backends of whom the PROXY protocol told, where it is spoken.",
        "",
        |settings, text| {
            settings.forwarded.proxy_protocol_header = header(text)?;
            Ok(())
        },
    ),
    applied(
        "compute-full-forwarded-for",
        "flag",
        "false",
        "Whether backends get the addresses that came, with the peer's added.",
        "Only of proxies that are believed.",
        |settings, text| value::flag(text).map(|on| settings.forwarded.append = on),
    ),
    applied(
        "add-forwarded-header",
        "flag",
        "false",
        "Whether backends get the header Forwarded (RFC 7239): behind what came, with compute-full-forwarded-for, else alone.",
        "ingress-nginx does not have it.",
        |settings, text| value::flag(text).map(|on| settings.forwarded.rfc7239 = on),
    ),
    applied(
        "proxy-add-original-uri-header",
        "flag",
        "false",
        "Whether backends get path and query as they came, in X-Original-URI.",
        "",
        |settings, text| value::flag(text).map(|on| settings.forwarded.original_uri = on),
    ),
    applied(
        "use-proxy-protocol",
        "flag",
        "false",
        "Whether connections begin with the PROXY protocol, version 1 or 2.",
        "A connection without it, or from elsewhere than proxy-real-ip-cidr, is closed.",
        |settings, text| value::flag(text).map(|on| settings.forwarded.proxy_protocol = on),
    ),
    applied("proxy-protocol-header-timeout", "time", "5s", "How long that may take to come.", "", |settings, text| {
        match value::duration(text)? {
            0 => Err(Wrong::expected("a time above 0")),
            time => {
                settings.forwarded.proxy_protocol_timeout = time;
                Ok(())
            }
        }
    }),
];

fn header(text: &str) -> Parsed<String> {
    let header = text.trim().to_ascii_lowercase();
    if name::is_label(&header) { Ok(header) } else { Err(Wrong::expected("a header such as X-Forwarded-For")) }
}
