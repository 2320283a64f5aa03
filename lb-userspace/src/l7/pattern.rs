//! Paths that are regular expressions, and rewrite targets that name their captures.
//!
//! As ingress-nginx means them: `location ~* "^PATH"` and `rewrite "(?i)PATH" TARGET break`. A pattern matches at the
//! start of the canonical path, may leave a rest, and looks at no case. Unlike there the whole pattern is anchored, also
//! behind a `|`. Matching takes time linear in the path, so no look-around and no back-references.

use regex::bytes::{Regex, RegexBuilder};

use super::path::canonical_pattern;

/// Compiled size, far above what paths in use need (about 1 KiB); bounds the time of a match with the path's length.
const SIZE_LIMIT: usize = 128 * 1024;
/// Groups in groups.
const NEST_LIMIT: u32 = 50;

/// A compiled path.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not a regular expression, or one with what is not supported.
    #[error("{0}")]
    Syntax(String),
    /// Too big.
    #[error("it takes more than {limit} bytes when compiled", limit = SIZE_LIMIT)]
    TooBig,
}

impl Pattern {
    /// Compiles a path.
    pub fn new(path: &str) -> Result<Self, PatternError> {
        // By itself first: `/a)(b` would be well-formed inside a group.
        compile(path)?;
        compile(&format!("^(?:{path})")).map(Pattern)
    }

    /// The pattern matches the start of a canonical path.
    pub fn is_match(&self, path: &str) -> bool {
        self.0.is_match(path.as_bytes())
    }

    /// Number of captures.
    pub fn captures(&self) -> usize {
        self.0.captures_len() - 1
    }
}

/// The same text; what is compiled follows from it.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

fn compile(text: &str) -> Result<Regex, PatternError> {
    // Canonical paths are ASCII.
    let mut builder = RegexBuilder::new(text);
    builder.unicode(false).case_insensitive(true).size_limit(SIZE_LIMIT).nest_limit(NEST_LIMIT);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooBig,
        // The message shows the pattern on lines of its own; the last line has the reason.
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default();
            PatternError::Syntax(reason.trim_start_matches("error: ").to_owned())
        }
    })
}

/// A rewrite target with `$1` to `$9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Capture(usize),
}

impl Target {
    /// Reads a target; it is absolute, whether it says so or not. A `$` without a digit stands for itself.
    pub fn new(target: &str) -> Self {
        let absolute = canonical_pattern(&format!("/{}", target.trim_start_matches('/')));
        let mut pieces = Vec::new();
        let mut parts = absolute.split('$');
        push_literal(&mut pieces, parts.next().unwrap_or_default());
        for part in parts {
            match part.chars().next().and_then(|first| first.to_digit(10)) {
                Some(digit @ 1..=9) => {
                    pieces.push(Piece::Capture(digit as usize));
                    push_literal(&mut pieces, &part[1..]);
                }
                _ => push_literal(&mut pieces, &format!("${part}")),
            }
        }
        Target(pieces)
    }

    /// The highest capture named, or 0.
    pub fn captures(&self) -> usize {
        let named = self.0.iter().filter_map(|piece| match piece {
            Piece::Capture(number) => Some(*number),
            Piece::Literal(_) => None,
        });
        named.max().unwrap_or(0)
    }

    /// The target for a path, if the pattern matches it. A capture that took no part is empty; slashes that meet where
    /// pieces are joined become one.
    pub fn expand(&self, pattern: &Pattern, path: &str) -> Option<String> {
        let captures = pattern.0.captures(path.as_bytes())?;
        let mut out = String::with_capacity(path.len() + 16);
        for piece in &self.0 {
            let text = match piece {
                Piece::Literal(text) => text,
                Piece::Capture(number) => captures.get(*number).and_then(|found| path.get(found.range())).unwrap_or(""),
            };
            out.push_str(if out.ends_with('/') { text.trim_start_matches('/') } else { text });
        }
        Some(out)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(pattern: &str, target: &str, path: &str) -> Option<String> {
        Target::new(target).expand(&Pattern::new(pattern).unwrap(), path)
    }

    #[test]
    fn patterns_match_at_the_start_whatever_the_case_and_leave_a_rest() {
        for (pattern, path, expected) in [
            ("/api", "/api", true),
            ("/api", "/apiv2/x", true),
            ("/api", "/API/x", true),
            ("/api", "/x/api", false),
            ("/api$", "/api/x", false),
            ("/a|/b", "/b/x", true),
            ("/a|/b", "/x/b", false),
            ("/api(/|$)(.*)", "/apiv2", false),
            ("/api(/|$)(.*)", "/api", true),
            ("/v\\d+/", "/v12/x", true),
            ("/(?-i)Case", "/case", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (pattern, reason) in [
            ("/a(b", "unclosed group"),
            ("/a)(b", "unopened group"),
            ("/a(?!b)", "look-around, including look-ahead and look-behind, is not supported"),
            ("/(a)\\1", "backreferences are not supported"),
            ("/((a{1,100}){1,100}){1,100}", "it takes more than 131072 bytes when compiled"),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap_err().to_string(), reason, "{pattern}");
        }
        assert!(Pattern::new(&format!("/{}{}", "(".repeat(60), ")".repeat(60))).is_err());
    }

    #[test]
    fn targets_take_captures() {
        for (pattern, target, path, expected) in [
            ("/api(/|$)(.*)", "/$2", "/api", "/"),
            ("/api(/|$)(.*)", "/$2", "/api/", "/"),
            ("/api(/|$)(.*)", "/$2", "/api/users/7", "/users/7"),
            ("/api(/|$)(.*)", "/$2", "/API/Users", "/Users"),
            ("/api(/|$)(.*)", "/$2", "/api//x", "/x"),
            ("/api(/.*)", "/$1", "/api/x", "/x"),
            ("/api(/.*)", "$1", "/api/x", "/x"),
            ("/api/(.*)", "$1", "/api/x", "/x"),
            ("/(a)?(b)?", "/x$1-$2", "/b", "/x-b"),
            ("/(a)?", "/$1/$9/z", "/q", "/z"),
            ("/a/([^/]+)/([^/]+)", "/$2/$1/", "/a/x/y/lost", "/y/x/"),
            ("/a", "/app", "/a/lost", "/app"),
            ("/(.*)", "/$10", "/x", "/x0"),
            ("/(.*)", "/caf\u{e9}/$1", "/x", "/caf%C3%A9/x"),
        ] {
            assert_eq!(expand(pattern, target, path).as_deref(), Some(expected), "{pattern} {target} {path}");
        }
        assert_eq!(expand("/a", "/b", "/x"), None);
    }

    #[test]
    fn captures_are_counted() {
        assert_eq!(Pattern::new("/a(/|$)(?:b)(.*)").unwrap().captures(), 2);
        assert_eq!(Target::new("/$2/$1").captures(), 2);
        assert_eq!(Target::new("/a$").captures(), 0);
    }
}
