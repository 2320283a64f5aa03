//! Names as Kubernetes restricts them, which also keeps them safe to print and to join with `/` and `:`.

/// A DNS label: lower-case letters, digits and `-`, at most 63, beginning and ending with a letter or digit (RFC 1123).
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// DNS labels joined by dots, at most 253 characters (RFC 1123).
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// The name of a port of a Service or container: a DNS label (IANA service names of containers are shorter ones).
pub fn is_port_name(text: &str) -> bool {
    is_label(text)
}

/// `namespace/name`.
pub fn split_qualified(text: &str) -> Option<(&str, &str)> {
    let (namespace, name) = text.split_once('/')?;
    (is_label(namespace) && is_subdomain(name)).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        assert!(is_label("a") && is_label("web-1") && is_label(&"x".repeat(63)));
        assert!(!is_label("") && !is_label("-a") && !is_label("a-") && !is_label("A") && !is_label("a.b"));
        assert!(!is_label(&"x".repeat(64)));
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_subdomain("a."));
    }

    #[test]
    fn qualified_names_have_two_parts() {
        assert_eq!(split_qualified("default/web.v1"), Some(("default", "web.v1")));
        assert_eq!(split_qualified("web"), None);
        assert_eq!(split_qualified("a/b/c"), None);
        assert_eq!(split_qualified("/b"), None);
    }
}
