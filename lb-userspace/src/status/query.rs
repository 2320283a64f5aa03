//! The arguments of a request to the admin API: what stands behind the question mark.

use std::fmt;
use std::str::FromStr;

/// Names and values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(Vec<(String, String)>);

/// An argument whose value is not right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} '{value}': expected {expected}")]
pub struct BadArgument {
    /// Its name.
    pub name: String,
    /// As given.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

impl Arguments {
    /// Reads `a=b&c=d`. Escapes that are none stay as they are.
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        };
        Self(pairs.map(pair).collect())
    }

    /// Adds one, if there is a value.
    pub fn add(&mut self, name: &str, value: Option<&impl ToString>) {
        self.0.extend(value.map(|value| (name.to_owned(), value.to_string())));
    }

    /// The values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Reads the last value of a name; the reader's error is what would be right.
    pub fn one<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, BadArgument> {
        let Some(value) = self.all(name).last() else { return Ok(None) };
        let bad = |expected| BadArgument { name: name.to_owned(), value: value.to_owned(), expected };
        read(value).map(Some).map_err(bad)
    }

    /// The same for a type whose own `FromStr` tells what would be right.
    pub fn parsed<T: FromStr<Err = String>>(&self, name: &str) -> Result<Option<T>, BadArgument> {
        self.one(name, str::parse)
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "&" } else { "" };
            write!(f, "{separator}{}={}", escape(name), escape(value))?;
        }
        Ok(())
    }
}

/// RFC 3986, section 2.1; slash and colon may stand in a query (section 3.4).
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| behind.first_chunk::<2>()).flatten();
        let digits = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|text| !text.starts_with('+')).and_then(|text| u8::from_str_radix(text, 16).ok()) {
            Some(value) => {
                out.push(value);
                rest = &behind[2..];
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut arguments = Arguments::default();
        arguments.add("target", Some(&"http://shop.example/a b?x=1&y=%41#+ü"));
        arguments.add("from", None::<&String>);
        arguments.add("limit", Some(&7));
        let text = arguments.to_string();
        assert_eq!(text, "target=http://shop.example/a%20b%3Fx%3D1%26y%3D%2541%23%2B%C3%BC&limit=7");
        assert_eq!(Arguments::parse(&text), arguments);
    }

    #[test]
    fn broken_escapes_stay() {
        let read = |text| Arguments::parse(text).all("a").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(read("a=%4&a=%zz&a=%+1&b=1&a&&a=%41"), ["%4", "%zz", "%+1", "", "A"]);
    }
}
