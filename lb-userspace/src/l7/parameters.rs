//! Queries: `name=value` between `&` (WHATWG URL, section 5).

/// The first value of a parameter, as sent.
pub fn first<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// Appends a text in the form that a value of a query has (RFC 3986 section 2.3: what is unreserved stays).
pub fn escape(text: &str, to: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            to.extend(['%', char::from(high), char::from(low)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several() {
        assert_eq!(first("a=1&b=2&a=3", "a"), Some("1"));
        assert_eq!(first("a&b=", "a"), Some(""));
        assert_eq!(first("ab=1", "a"), None);
    }

    #[test]
    fn escaped() {
        let mut text = String::new();
        escape("/a b?c=ä&d~", &mut text);
        assert_eq!(text, "%2Fa%20b%3Fc%3D%C3%A4%26d~");
    }
}
