//! Accept-Encoding (RFC 9110 section 12.5.3).

use hyper::header::{ACCEPT_ENCODING, HeaderMap};

/// Codings and how much they are wanted, in thousandths.
#[derive(Debug, Default)]
pub(super) struct Qualities<'a>(Vec<(&'a str, u16)>);

impl Qualities<'_> {
    /// 0: not wanted.
    pub(super) fn of(&self, name: &str) -> u16 {
        let find = |wanted: &str| self.0.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(wanted));
        let alias = if name == "gzip" { find("x-gzip") } else { None };
        find(name).or(alias).or_else(|| find("*")).map_or(0, |(_, quality)| *quality)
    }
}

/// Without the header nothing is coded: clients that do not say what they take are often such that take nothing.
pub(super) fn qualities(headers: &HeaderMap) -> Qualities<'_> {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    Qualities(values.flat_map(|value| value.split(',')).filter_map(one).collect())
}

/// `name` or `name;q=0.5`; what has a wrong weight is not wanted.
fn one(piece: &str) -> Option<(&str, u16)> {
    let mut parts = piece.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((name, weight.map_or(1000, |weight| thousandths(weight).unwrap_or(0))))
}

/// `0.123`, at most three digits behind the point, at most 1 (section 12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let whole = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts = rest.parse().unwrap_or(0) * 10u16.pow(3 - u32::try_from(rest.len()).ok()?);
    Some(whole + parts).filter(|weight| *weight <= 1000)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn weights() {
        let of = |text: &str, name: &str| {
            let headers = [(ACCEPT_ENCODING, HeaderValue::from_str(text).expect(text))].into_iter().collect();
            qualities(&headers).of(name)
        };
        for (text, name, weight) in [
            ("gzip, br", "br", 1000),
            ("gzip;q=0.5, *;q=0.1", "gzip", 500),
            ("gzip;q=0.5, *;q=0.1", "br", 100),
            ("gzip; q=0", "gzip", 0),
            ("*, gzip;q=0", "gzip", 0),
            ("GZIP;Q=0.25", "gzip", 250),
            ("x-gzip", "gzip", 1000),
            ("gzip;q=2", "gzip", 0),
            ("gzip;q=0.1234", "gzip", 0),
            ("identity", "gzip", 0),
            ("", "gzip", 0),
        ] {
            assert_eq!(of(text, name), weight, "{text} {name}");
        }
        assert_eq!(qualities(&HeaderMap::new()).of("gzip"), 0);
    }
}
