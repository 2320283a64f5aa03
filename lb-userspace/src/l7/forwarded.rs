//! The header `Forwarded` (RFC 7239): what proxies say of those for whom they ask, element by element.

use std::fmt::Write;
use std::net::IpAddr;

/// What one proxy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Who asked it, without brackets and port; what stands for somebody unnamed is here as well.
    pub client: Option<String>,
    /// The host that was asked for.
    pub host: Option<String>,
    /// How.
    pub scheme: Option<String>,
}

/// The elements of one line of the header, in their order; `None`: what stands there is not well-formed. A quote that is not
/// closed reaches to the end of its line, so lines are never joined before they are parsed: a client that opens one would
/// hide what the proxy after it adds.
pub fn parse(line: &str) -> Vec<Option<Element>> {
    split(line, b',').into_iter().map(element).collect()
}

fn element(text: &str) -> Option<Element> {
    let mut element = Element::default();
    for pair in split(text, b';').into_iter().map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = unquote(value)?;
        match name.to_ascii_lowercase().as_str() {
            "for" => element.client = Some(node(&value).to_owned()),
            "host" => element.host = Some(value),
            "proto" => element.scheme = Some(value.to_ascii_lowercase()),
            _ => {}
        }
    }
    Some(element)
}

/// Pieces between separators that do not stand in quotes.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let (mut pieces, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// A token, or what stands in quotes.
fn unquote(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        let is_token = value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"(),/;<=>?@[]{}".contains(&byte));
        return (is_token && !value.is_empty()).then(|| value.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            '"' => return None,
            character => text.push(character),
        }
    }
    Some(text)
}

/// A node without its port (section 6).
fn node(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, _)) => address,
        None => text.split_once(':').map_or(text, |(address, _)| address),
    }
}

/// An element of our own.
pub fn write(client: IpAddr, host: &str, scheme: &str) -> String {
    let mut element = match client.to_canonical() {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    let is_plain = host.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    if is_plain && !host.is_empty() {
        // Writing to a String does not fail.
        let _ = write!(element, ";host=\"{host}\"");
    }
    let _ = write!(element, ";proto={scheme}");
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(list: &str) -> Vec<Option<String>> {
        parse(list).into_iter().map(|element| element?.client).collect()
    }

    #[test]
    fn elements_of_the_rfc() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(clients("for=\"_gazonk\""), [some("_gazonk")]);
        assert_eq!(clients("For=\"[2001:db8:cafe::17]:4711\""), [some("2001:db8:cafe::17")]);
        assert_eq!(clients("for=192.0.2.43, for=\"198.51.100.17:80\""), [some("192.0.2.43"), some("198.51.100.17")]);
        let whole = parse("for=192.0.2.60;proto=HTTPS; host=\"a.example:8443\";by=203.0.113.43").remove(0);
        let expected = Element { client: some("192.0.2.60"), host: some("a.example:8443"), scheme: some("https") };
        assert_eq!(whole, Some(expected));
    }

    #[test]
    fn what_is_malformed_is_no_element() {
        let some = |text: &str| Some(text.to_owned());
        // The end of the line is never the element before the open quote.
        assert_eq!(clients("for=192.0.2.1, for=\"x, for=192.0.2.2"), [some("192.0.2.1"), None]);
        assert_eq!(clients("for=\", for=\"[2001:db8::1]\""), [None]);
        assert_eq!(clients("for=192.0.2.1, nonsense, for=192.0.2.2"), [some("192.0.2.1"), None, some("192.0.2.2")]);
        assert_eq!(clients("for=\"a, b\\\"c\""), [Some("a, b\"c".to_owned())]);
        assert_eq!(clients("for=2001:db8::1"), [Some("2001".to_owned())], "no address without quotes and brackets");
    }

    #[test]
    fn our_own_are_read_again() {
        for address in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            let address: IpAddr = address.parse().expect(address);
            let [Some(element)] = &parse(&write(address, "a.example:80", "https"))[..] else { panic!("one element") };
            assert_eq!(element.client.as_deref(), Some(&*address.to_canonical().to_string()));
            assert_eq!((element.host.as_deref(), element.scheme.as_deref()), (Some("a.example:80"), Some("https")));
        }
    }
}
