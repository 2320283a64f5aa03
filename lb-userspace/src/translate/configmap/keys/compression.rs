//! Keys about the coding of answers.

use super::{Key, Support};
use crate::model::settings::{FrontSettings, TextMatch};
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

const OURS: &str = "ingress-nginx does not have it.";

pub(super) const KEYS: &[Key] = &[
    applied("use-gzip", "flag", "false", "Whether answers are compressed with gzip.", |settings, text| {
        value::flag(text).map(|on| settings.compression.gzip.on = on)
    }),
    applied("gzip-level", "1-9", "1", "How hard gzip tries.", |settings, text| {
        value::number(text, 1..=9).map(|level| settings.compression.gzip.level = Some(level))
    }),
    applied("gzip-min-length", "bytes", "256", "Shortest body that is compressed.", |settings, text| {
        value::size(text).map(|bytes| settings.compression.gzip.min_length = Some(bytes))
    }),
    applied("gzip-types", "media types", "", "Which bodies are compressed.", |settings, text| {
        settings.compression.gzip.types = types(text);
        Ok(())
    }),
    applied(
        "gzip-disable",
        "pattern",
        "",
        "User agents that get no gzip: a regular expression, whatever the case, or `msie6`.",
        |settings, text| {
            settings.compression.no_gzip = vec![user_agents(text.trim())?];
            Ok(())
        },
    ),
    applied("enable-brotli", "flag", "false", "Whether answers are compressed with brotli.", |settings, text| {
        value::flag(text).map(|on| settings.compression.brotli.on = on)
    }),
    applied("brotli-level", "0-11", "4", "How hard brotli tries.", |settings, text| {
        value::number(text, 0..=11).map(|level| settings.compression.brotli.level = Some(level))
    }),
    applied("brotli-min-length", "bytes", "20", "Shortest body that is compressed.", |settings, text| {
        value::size(text).map(|bytes| settings.compression.brotli.min_length = Some(bytes))
    }),
    applied("brotli-types", "media types", "", "Which bodies are compressed.", |settings, text| {
        settings.compression.brotli.types = types(text);
        Ok(())
    }),
    Key {
        difference: OURS,
        ..applied("enable-zstd", "flag", "false", "Whether answers are compressed with zstd.", |settings, text| {
            value::flag(text).map(|on| settings.compression.zstd.on = on)
        })
    },
    Key {
        difference: OURS,
        ..applied("zstd-level", "1-19", "3", "How hard zstd tries.", |settings, text| {
            value::number(text, 1..=19).map(|level| settings.compression.zstd.level = Some(level))
        })
    },
    Key {
        difference: OURS,
        ..applied("zstd-min-length", "bytes", "20", "Shortest body that is compressed.", |settings, text| {
            value::size(text).map(|bytes| settings.compression.zstd.min_length = Some(bytes))
        })
    },
    Key {
        difference: OURS,
        ..applied("zstd-types", "media types", "", "Which bodies are compressed.", |settings, text| {
            settings.compression.zstd.types = types(text);
            Ok(())
        })
    },
];

fn types(text: &str) -> Option<Vec<String>> {
    let types: Vec<_> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    (!types.is_empty()).then_some(types)
}

/// nginx has a name for those that say they can and cannot.
fn user_agents(text: &str) -> Parsed<TextMatch> {
    let pattern = TextMatch::AnyCase(if text == "msie6" { r"MSIE [4-6]\.".to_owned() } else { text.to_owned() });
    if crate::l7::settings::compiles(&pattern) { Ok(pattern) } else { Err(Wrong::expected("a regular expression")) }
}
