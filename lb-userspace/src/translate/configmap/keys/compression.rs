//! Keys about the coding of answers.

use super::{Key, Support};
use crate::model::settings::FrontSettings;
use crate::translate::ingress::dialect::value::{self, Parsed};

const fn checked(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: fn(&mut FrontSettings, &str) -> Parsed<()>,
) -> Key {
    Key { name, kind, default, meaning, difference: "", support: Support::Checked(apply) }
}

pub(super) const KEYS: &[Key] = &[
    checked("use-gzip", "flag", "false", "Whether answers are compressed with gzip.", |settings, text| {
        value::flag(text).map(|on| settings.compression.gzip.on = on)
    }),
    checked("gzip-level", "1-9", "1", "How hard gzip tries.", |settings, text| {
        value::number(text, 1..=9).map(|level| settings.compression.gzip.level = Some(level))
    }),
    checked("gzip-min-length", "bytes", "256", "Shortest body that is compressed.", |settings, text| {
        value::size(text).map(|bytes| settings.compression.gzip.min_length = Some(bytes))
    }),
    checked("gzip-types", "media types", "", "Which bodies are compressed.", |settings, text| {
        settings.compression.gzip.types = types(text);
        Ok(())
    }),
    checked("enable-brotli", "flag", "false", "Whether answers are compressed with brotli.", |settings, text| {
        value::flag(text).map(|on| settings.compression.brotli.on = on)
    }),
    checked("brotli-level", "0-11", "4", "How hard brotli tries.", |settings, text| {
        value::number(text, 0..=11).map(|level| settings.compression.brotli.level = Some(level))
    }),
    checked("brotli-min-length", "bytes", "20", "Shortest body that is compressed.", |settings, text| {
        value::size(text).map(|bytes| settings.compression.brotli.min_length = Some(bytes))
    }),
    checked("brotli-types", "media types", "", "Which bodies are compressed.", |settings, text| {
        settings.compression.brotli.types = types(text);
        Ok(())
    }),
];

fn types(text: &str) -> Option<Vec<String>> {
    let types: Vec<_> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    (!types.is_empty()).then_some(types)
}
