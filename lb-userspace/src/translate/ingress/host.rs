//! Host names of rules.

use std::net::IpAddr;

use crate::model::name;

/// Reads a host: lower-cased, `None` if it is empty (any host). Else says what would be right.
pub(super) fn validate(text: &str) -> Result<Option<String>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    if text == "*" {
        return Err("no host at all, which means any");
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err("a name, not an address");
    }
    let host = text.to_ascii_lowercase();
    let named = host.strip_prefix("*.").unwrap_or(&host);
    if name::is_subdomain(named) { Ok(Some(host)) } else { Err("a DNS name, or one behind '*.' for one label more") }
}

#[cfg(test)]
mod tests {
    use super::validate;

    #[test]
    fn hosts() {
        assert_eq!(validate(""), Ok(None));
        assert_eq!(validate("Shop.Example.com"), Ok(Some("shop.example.com".to_owned())));
        assert_eq!(validate("*.example.com"), Ok(Some("*.example.com".to_owned())));
        for bad in ["*", "a.*.com", "**.com", "*.", "10.0.0.1", "::1", "a b", "a..b", "a:80", "-a.com", "a/b", "a_b"] {
            assert!(validate(bad).is_err(), "{bad}");
        }
    }
}
