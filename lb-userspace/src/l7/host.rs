//! The host that a request names: syntax (RFC 9110 section 7.2, RFC 3986 section 3.2.2) and the form used for matching.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest host that is accepted; DNS names end at 253.
const MAX_LENGTH: usize = 255;

/// Splits `host[:port]` and checks both. `None`: not a valid authority. User information and lists are not valid.
pub fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (&authority[..address.len() + 2], after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (&authority[..end], &authority[end..])
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    let valid = host.starts_with('[') || (host.len() <= MAX_LENGTH && host.bytes().all(is_name_byte));
    (valid && !host.is_empty() && host != ".").then_some((host, port))
}

/// The form in which hosts are matched: no port, no trailing dot, lower case.
pub fn normalise(authority: &str) -> Option<Cow<'_, str>> {
    let (host, _) = split(authority)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    Some(if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// Both name the same host and port; `usual` is the port of whoever names none.
pub fn is_same(one: &str, other: &str, usual: u16) -> bool {
    let port = |authority| split(authority).map(|(_, port)| port.unwrap_or(usual));
    normalise(one) == normalise(other) && port(one) == port(other)
}

/// Names as they are used: RFC 3986 would allow escapes and sub-delimiters as well, which no host of a rule can have.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid() {
        for (authority, expected) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com:", "example.com"),
            ("example.com.", "example.com"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[2001:DB8::1]:80", "[2001:db8::1]"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(normalise(authority).as_deref(), Some(expected), "{authority}");
        }
    }

    #[test]
    fn invalid() {
        for authority in [
            "", ".", ":80", "a:b", "a:99999", "a:80:80", "user@a", "a, b", "a b", "a/b", "a\\b", "[::1", "[::g]",
            "[::1]x", "a%00", "ä",
        ] {
            assert_eq!(split(authority), None, "{authority}");
        }
    }
}
