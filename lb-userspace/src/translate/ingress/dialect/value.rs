//! Values of annotations and settings, as the dialect of ingress-nginx writes them.

#![cfg_attr(not(test), allow(dead_code, reason = "shared by all groups of annotations, of which some come later"))]

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::filters::Template;

/// What would have been right, if a value is wrong, and whether the rest of it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Wrong(pub(in crate::translate) String, bool);

impl Wrong {
    pub(in crate::translate) fn expected(what: impl Into<String>) -> Self {
        Wrong(what.into(), false)
    }

    /// A part of the value is wrong; the rest has been applied.
    pub(in crate::translate) fn in_part(what: impl Into<String>) -> Self {
        Wrong(what.into(), true)
    }

    /// What comes of it, where that is usually something else.
    pub(in crate::translate) fn consequence(&self, usual: &'static str) -> &'static str {
        if self.1 { "the rest of it holds" } else { usual }
    }
}

pub(in crate::translate) type Parsed<T> = Result<T, Wrong>;

/// `true` or `false`, and what Go takes for them (ingress-nginx parses with strconv.ParseBool).
pub(in crate::translate) fn flag(text: &str) -> Parsed<bool> {
    match text.trim() {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err(Wrong::expected("\"true\" or \"false\"")),
    }
}

/// `on` or `off`; `true` and `false` say the same.
pub(in crate::translate) fn switch(text: &str) -> Parsed<bool> {
    match text.trim() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(Wrong::expected("\"on\" or \"off\"")),
    }
}

/// A whole number in a range.
pub(in crate::translate) fn number(text: &str, range: std::ops::RangeInclusive<u32>) -> Parsed<u32> {
    let wrong = || Wrong::expected(format!("a number from {} to {}", range.start(), range.end()));
    text.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
}

/// Seconds, with or without the unit; nginx's `1m30s`, `2h`, `1d` as well. In milliseconds.
pub(in crate::translate) fn duration(text: &str) -> Parsed<u64> {
    let wrong = || Wrong::expected("a time such as 60, 60s, 5m or 1h");
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(u64::from(seconds) * 1000);
    }
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&end| end > 0).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = behind;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A size such as `8m`; in bytes, with k = 1024.
pub(in crate::translate) fn size(text: &str) -> Parsed<u64> {
    let wrong = || Wrong::expected("a size such as 512, 8k, 50m or 1g");
    let text = text.trim();
    let (digits, shift) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// What stands between commas, trimmed; empty pieces are nothing.
pub(in crate::translate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|piece| !piece.is_empty())
}

/// Networks between commas; an address alone is a network of one.
pub(in crate::translate) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network = |piece: &str| {
        let network = piece.parse().or_else(|_| piece.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| Wrong::expected(format!("CIDRs between commas, such as 10.0.0.0/8; {piece:?} is none")))
    };
    list(text).map(network).collect()
}

/// A text with variables.
pub(in crate::translate) fn template(text: &str) -> Parsed<Template> {
    Template::parse(text.trim()).map_err(|error| Wrong::expected(format!("a text without what is in it: {error}")))
}

/// A path that begins with a slash, without anything that would have to be encoded.
pub(in crate::translate) fn path(text: &str) -> Parsed<String> {
    let text = text.trim();
    let good = text.starts_with('/') && !text.starts_with("//") && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(text.to_owned()) } else { Err(Wrong::expected("a path that begins with one '/'")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_switches() {
        assert_eq!(
            (flag("true"), flag("F"), switch("on"), switch("false")),
            (Ok(true), Ok(false), Ok(true), Ok(false))
        );
        assert!(flag("yes").is_err() && flag("").is_err() && switch("1").is_err());
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("60", 60_000), ("60s", 60_000), ("1m30s", 90_000), ("1h", 3_600_000), ("500ms", 500), (" 5 ", 5000)]
        {
            assert_eq!(duration(text), Ok(milliseconds), "{text}");
        }
        for text in ["", "soon", "5 apples", "-1", "1.5", "s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("8k", 8192), ("50m", 50 << 20), ("1G", 1 << 30), ("512", 512)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "50 apples", "-1", "99999999999999999999g"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_and_addresses() {
        let networks = |text: &str| networks(text).map(|list| list.iter().map(IpNet::to_string).collect::<Vec<_>>());
        assert_eq!(
            networks("10.0.0.0/8, 192.0.2.1,,2001:db8::/32"),
            Ok(vec!["10.0.0.0/8".to_owned(), "192.0.2.1/32".to_owned(), "2001:db8::/32".to_owned()])
        );
        assert!(networks("10.0.0.0/33").is_err_and(|wrong| wrong.0.contains("10.0.0.0/33")));
        assert_eq!(networks(""), Ok(vec![]));
    }
}
