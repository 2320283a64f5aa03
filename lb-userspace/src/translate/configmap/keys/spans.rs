//! Keys about spans of requests (OpenTelemetry), which a weir has that is built with them.

use super::{Key, Support, applied};
use crate::model::settings::{FrontSettings, Sampler};
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};

const fn spans(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    apply: fn(&mut FrontSettings, &str) -> Parsed<()>,
) -> Key {
    Key { support: Support::Spans(apply), ..applied(name, kind, default, meaning, difference, apply) }
}

pub(super) const KEYS: &[Key] = &[
    spans(
        "enable-opentelemetry",
        "flag",
        "false",
        "Whether a collector gets a span of each request.",
        "Also true where the agent has `--otlp`, unless this says otherwise.",
        |settings, text| value::flag(text).map(|on| settings.spans.on = Some(on)),
    ),
    spans(
        "otlp-collector-host",
        "host",
        "",
        "The collector, by name or address.",
        "Without it that of `--otlp`.",
        |settings, text| host(text).map(|host| settings.spans.host = Some(host)),
    ),
    spans(
        "otlp-collector-port",
        "port",
        "4318",
        "Its port.",
        "For OTLP over HTTP; there 4317, for gRPC.",
        |settings, text| value::number(text, 1..=65535).map(|port| settings.spans.port = port as u16),
    ),
    spans("otel-service-name", "text", "weir", "As whom the front tells them.", "", |settings, text| {
        service(text).map(|name| settings.spans.service = Some(name))
    }),
    spans(
        "otel-sampler",
        "AlwaysOn, AlwaysOff or TraceIdRatioBased",
        "AlwaysOn",
        "Which requests have spans where their traces begin here.",
        "",
        |settings, text| sampler(text).map(|sampler| settings.spans.sampler = Some(sampler)),
    ),
    spans(
        "otel-sampler-ratio",
        "number from 0 to 1",
        "0.01",
        "The part of them, with TraceIdRatioBased.",
        "",
        |settings, text| ratio(text).map(|part| settings.spans.per_million = part),
    ),
    spans(
        "otel-sampler-parent-based",
        "flag",
        "true",
        "Whether whoever began a trace says if it is sampled.",
        "",
        |settings, text| value::flag(text).map(|on| settings.spans.parent_based = on),
    ),
    spans(
        "opentelemetry-trust-incoming-span",
        "flag",
        "true",
        "Whether traces of clients go on; else each request begins one.",
        "",
        |settings, text| value::flag(text).map(|on| settings.spans.trusts = on),
    ),
];

/// A name, or an address, of IPv6 in brackets or without.
fn host(text: &str) -> Parsed<String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = bare.parse::<std::net::IpAddr>().is_ok() || (bare.len() < 254 && bare.bytes().all(name));
    if fits && !bare.is_empty() {
        Ok(bare.to_owned())
    } else {
        Err(Wrong::expected("a name or an address, without a port"))
    }
}

fn service(text: &str) -> Parsed<String> {
    let text = text.trim();
    let fits = text.len() <= 256 && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(Wrong::expected("at most 256 characters")) }
}

fn sampler(text: &str) -> Parsed<Sampler> {
    match text.trim() {
        "AlwaysOn" => Ok(Sampler::Always),
        "AlwaysOff" => Ok(Sampler::Never),
        "TraceIdRatioBased" => Ok(Sampler::Part),
        _ => Err(Wrong::expected("AlwaysOn, AlwaysOff or TraceIdRatioBased")),
    }
}

fn ratio(text: &str) -> Parsed<u32> {
    let part = text.trim().parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
    part.map(|part| (part * 1e6).round() as u32).ok_or_else(|| Wrong::expected("a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!((host("tempo.svc"), host("[2001:db8::1]")), (Ok("tempo.svc".into()), Ok("2001:db8::1".into())));
        assert!(host("tempo:4318").is_err() && host("a/b").is_err() && host("").is_err());
        assert_eq!((ratio("0.01"), ratio("1"), ratio(" 0 ")), (Ok(10_000), Ok(1_000_000), Ok(0)));
        assert!(ratio("1.1").is_err() && ratio("NaN").is_err() && ratio("-1").is_err());
        assert!(sampler("alwayson").is_err() && service("a\nb").is_err());
    }
}
