//! Paths of requests: one canonical form for matching and forwarding, and the other ways a backend may read it.
//!
//! A rule on `/admin` is worth nothing if `/x/../admin`, `/%61dmin` or `/x/..;/admin` reaches the same page by another
//! rule. So the front matches and forwards a canonical form (RFC 3986 section 6.2.2: escapes of unreserved characters
//! undone, dot segments resolved), and where servers are known to differ in what they make of a path (`%2F`, `//`,
//! `;parameter`), every [`Reading`] has to lead to the same rule; else the request is refused.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("the path does not begin with '/'")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("the path has a '%' that two hexadecimal digits do not follow")]
    BadEscape,
    /// A control character, plain or escaped.
    #[error("the path has a control character")]
    Control,
    /// A backslash, plain or escaped: some servers take it for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// More `..` than segments before them.
    #[error("the path leads above its root")]
    AboveRoot,
}

/// A path in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    /// Begins with `/`; holds only characters that RFC 3986 allows in a path; has no dot segment.
    pub text: Cow<'a, str>,
    /// Servers may differ in how they read it.
    pub ambiguous: bool,
}

impl<'a> CanonicalPath<'a> {
    /// The canonical form of a path as it was sent, without the query.
    pub fn new(raw: &'a str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let text = if raw.bytes().all(is_plain) && !raw.contains("/.") {
            Cow::Borrowed(raw)
        } else {
            let escaped = normalise_escapes(raw)?;
            Cow::Owned(resolve_dots(&escaped).ok_or(PathError::AboveRoot)?)
        };
        let ambiguous = text.contains(';') || text.contains("//") || text.contains("%2F");
        Ok(CanonicalPath { text, ambiguous })
    }
}

/// What a server may do to a path before it looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `%2F` counts as a slash.
    slashes: bool,
    /// `;parameter` is cut off each segment.
    parameters: bool,
    /// Whether and when several slashes become one.
    merge: Merge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    Never,
    BeforeDots,
    AfterDots,
}

impl Reading {
    /// All readings.
    pub fn all() -> impl Iterator<Item = Reading> {
        [false, true].into_iter().flat_map(|slashes| {
            [false, true].into_iter().flat_map(move |parameters| {
                [Merge::Never, Merge::BeforeDots, Merge::AfterDots].into_iter().map(move |merge| Reading {
                    slashes,
                    parameters,
                    merge,
                })
            })
        })
    }

    /// A canonical path as such a server reads it.
    pub fn read(self, path: &str) -> String {
        let mut text = if self.slashes { path.replace("%2F", "/") } else { path.to_owned() };
        if self.parameters {
            text = text
                .split('/')
                .map(|segment| segment.split(';').next().unwrap_or(segment))
                .collect::<Vec<_>>()
                .join("/");
        }
        if self.merge == Merge::BeforeDots {
            text = merge_slashes(&text);
        }
        text = resolve_dots_clamped(&text);
        if self.merge == Merge::AfterDots {
            text = merge_slashes(&text);
        }
        text
    }
}

/// Characters that stand for themselves in a path: RFC 3986 `pchar` without `%`, and the slash.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn normalise_escapes(raw: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, escaped) = if byte == b'%' {
            let digits = (bytes.next().and_then(hex_value), bytes.next().and_then(hex_value));
            let (Some(high), Some(low)) = digits else { return Err(PathError::BadEscape) };
            (high << 4 | low, true)
        } else {
            (byte, false)
        };
        match byte {
            0..0x20 | 0x7f => return Err(PathError::Control),
            b'\\' => return Err(PathError::Backslash),
            _ if is_unreserved(byte) || (!escaped && is_plain(byte)) => out.push(char::from(byte)),
            _ => push_escape(&mut out, byte),
        }
    }
    Ok(out)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// RFC 3986 section 5.2.4, but `None` where `..` has nothing to remove.
fn resolve_dots(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.strip_prefix('/').unwrap_or(path);
    let mut open = false;
    for segment in segments.split('/') {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop()?;
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    // `/a/.` and `/a/b/..` name the directory: `/a/`.
    if open || out.is_empty() {
        out.push('/');
    }
    Some(out)
}

fn resolve_dots_clamped(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut path = path.to_owned();
    loop {
        if let Some(resolved) = resolve_dots(&path) {
            return resolved;
        }
        // Drop the first `..` that leads above the root and try again: servers that do not refuse it ignore it.
        path = drop_first_escape(&path);
    }
}

fn drop_first_escape(path: &str) -> String {
    let mut depth = 0usize;
    let mut dropped = false;
    let mut out = Vec::new();
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        match segment {
            ".." if depth == 0 && !dropped => {
                dropped = true;
                continue;
            }
            ".." => depth = depth.saturating_sub(1),
            "." => {}
            _ => depth += 1,
        }
        out.push(segment);
    }
    format!("/{}", out.join("/"))
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

/// A path that a user wrote into a rule, in canonical form: as a request for it would be.
pub fn canonical_pattern(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    for byte in pattern.bytes() {
        if is_plain(byte) || byte == b'%' {
            escaped.push(char::from(byte));
        } else {
            push_escape(&mut escaped, byte);
        }
    }
    // What no request can spell stays as written and matches nothing.
    match CanonicalPath::new(&escaped) {
        Ok(path) => path.text.into_owned(),
        Err(_) => escaped,
    }
}

/// A prefix without its trailing slash, which is not significant; that of `/` is empty.
pub(super) fn prefix_key(pattern: &str) -> &str {
    pattern.trim_end_matches('/')
}

/// Whether a canonical path has what only some servers take for a dot segment, such as `..;x` or `a%2F..`.
pub(super) fn has_hidden_dots(path: &str) -> bool {
    let segments = path.split('/').flat_map(|segment| segment.split("%2F"));
    segments.map(|segment| segment.split(';').next().unwrap_or(segment)).any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(raw: &str) -> Result<String, PathError> {
        CanonicalPath::new(raw).map(|path| path.text.into_owned())
    }

    #[test]
    fn canonical_form() {
        for (raw, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a//b"),
            ("/%61dmin", "/admin"),
            ("/%7euser", "/~user"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/.hidden", "/.hidden"),
            ("/a/...", "/a/..."),
            ("/{id}|x", "/%7Bid%7D%7Cx"),
            ("/a;v=1", "/a;v=1"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn refused() {
        for (raw, expected) in [
            ("", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/%", PathError::BadEscape),
            ("/%4", PathError::BadEscape),
            ("/%zz", PathError::BadEscape),
            ("/a%00b", PathError::Control),
            ("/a%0d%0ab", PathError::Control),
            ("/a\\b", PathError::Backslash),
            ("/a%5cb", PathError::Backslash),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/b", PathError::AboveRoot),
        ] {
            assert_eq!(canonical(raw), Err(expected), "{raw}");
        }
    }

    #[test]
    fn readings_show_what_servers_make_of_it() {
        let read_by_any = |path: &str, wanted: &str| Reading::all().any(|reading| reading.read(path) == wanted);
        assert!(read_by_any("/x%2F..%2Fadmin", "/admin"));
        assert!(read_by_any("/x/..;/admin", "/admin"));
        assert!(read_by_any("//admin", "/admin"));
        assert!(read_by_any("/admin;x=1", "/admin"));
        assert!(read_by_any("/..;/..;/admin", "/admin"));
        assert!(Reading::all().all(|reading| reading.read("/a/b.c/~d") == "/a/b.c/~d"));
    }

    #[test]
    fn patterns_become_what_requests_look_like() {
        assert_eq!(canonical_pattern("/café"), "/caf%C3%A9");
        assert_eq!(canonical_pattern("/a b"), "/a%20b");
        assert_eq!(canonical_pattern("/a/../b"), "/b");
        assert_eq!(canonical_pattern("/100%"), "/100%");
    }

    proptest! {
        #[test]
        fn canonical_is_stable(raw in "/[a-z./%;2eEfF~{ ]{0,24}") {
            if let Ok(once) = canonical(&raw) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn readings_never_panic_and_stay_absolute(raw in "/[a./;%2F]{0,24}") {
            if let Ok(path) = CanonicalPath::new(&raw) {
                for reading in Reading::all() {
                    let read = reading.read(&path.text);
                    prop_assert!(read.starts_with('/'), "{read}");
                    prop_assert!(!read.split('/').any(|segment| segment == ".."));
                    prop_assert!(path.ambiguous || read == path.text);
                }
            }
        }
    }
}
