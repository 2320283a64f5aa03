//! Values of the settings, in the dialect of ingress-nginx.

/// A key under the name it has today.
pub(super) fn current_name(key: &str) -> &str {
    match key {
        "client-max-body-size" => "proxy-body-size",
        other => other,
    }
}

/// What would be right, if a known key has a value that is wrong.
pub(super) fn fault(key: &str, value: &str) -> Option<&'static str> {
    let (is_good, expected): (fn(&str) -> bool, _) = match current_name(key) {
        "proxy-connect-timeout" | "proxy-read-timeout" | "proxy-send-timeout" => (is_seconds, "a number of seconds"),
        "proxy-body-size" => (is_size, "a size such as 50m (k, m, g), or 0 for no limit"),
        "use-proxy-protocol" | "ssl-redirect" | "use-forwarded-headers" => (is_bool, "\"true\" or \"false\""),
        _ => return None,
    };
    (!is_good(value)).then_some(expected)
}

fn is_seconds(text: &str) -> bool {
    text.strip_suffix('s').unwrap_or(text).parse::<u32>().is_ok()
}

fn is_size(text: &str) -> bool {
    text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(text).parse::<u32>().is_ok()
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "false")
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn known_keys_are_checked() {
        for (key, value) in [
            ("proxy-read-timeout", "120"),
            ("client-max-body-size", "50m"),
            ("proxy-body-size", "0"),
            ("use-proxy-protocol", "false"),
            ("unheard-of", "anything"),
        ] {
            assert_eq!(fault(key, value), None, "{key}");
        }
        for (key, value) in [
            ("proxy-read-timeout", "soon"),
            ("client-max-body-size", "50 apples"),
            ("proxy-body-size", ""),
            ("use-proxy-protocol", "maybe"),
        ] {
            assert!(fault(key, value).is_some(), "{key}");
        }
    }
}
