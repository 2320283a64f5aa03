//! How a rule changes the path on the way to the backend, and which paths it refuses to change.

use super::path::{CanonicalPath, Reading, canonical_pattern, has_hidden_dots, prefix_key};
use super::pattern::{Pattern, Target};
use super::table::RouteEntry;
use crate::model::PathMatch;
use crate::model::route::Rewrite;

/// Readings of a path lead to different rules, or out of the target of a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// A rewrite, prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The matched prefix is replaced.
    Prefix(PrefixRewrite),
    /// The whole path is replaced.
    Regex(Pattern, Target),
}

/// The rewrite of an exact path or of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRewrite {
    /// Bytes of the path that are replaced; `None`: all.
    matched: Option<usize>,
    /// In canonical form, without the slash at its end.
    target: String,
    /// The target has a slash at its end.
    open: bool,
}

impl PathRewrite {
    /// Prepares the rewrite of an entry, whose path, if it is a regular expression, is the pattern.
    pub(super) fn new(entry: &RouteEntry, pattern: Option<&Pattern>) -> Option<Self> {
        match (entry.rewrite.as_ref()?, &entry.path) {
            (Rewrite::Prefix(target), PathMatch::Exact(_)) => Some(Self::Prefix(PrefixRewrite::new(None, target))),
            (Rewrite::Prefix(target), PathMatch::Prefix(prefix) | PathMatch::ImplementationSpecific(prefix)) => {
                let matched = prefix_key(&canonical_pattern(prefix)).len();
                Some(Self::Prefix(PrefixRewrite::new(Some(matched), target)))
            }
            (Rewrite::Regex(target), PathMatch::Regex(_)) => Some(Self::Regex(pattern?.clone(), Target::new(target))),
            // Of the rest the model has no instance.
            _ => None,
        }
    }

    /// The path that the backend sees, for one that matched. Refused are paths of which a backend may make something
    /// that the rule does not mean: `/x/..%2Fx/y` is below `/x` in every reading, but `/app/..%2Fx/y` not below `/app`.
    pub(super) fn apply(&self, path: &CanonicalPath<'_>) -> Result<String, Ambiguous> {
        match self {
            Self::Prefix(rewrite) => {
                let forwarded = rewrite.apply(&path.text);
                if path.ambiguous && !rewrite.confines(&forwarded) { Err(Ambiguous) } else { Ok(forwarded) }
            }
            Self::Regex(pattern, target) => {
                let forwarded = target.expand(pattern, &path.text).filter(|forwarded| is_sound(forwarded));
                let forwarded = forwarded.ok_or(Ambiguous)?;
                if path.ambiguous && !agrees(pattern, target, path, &forwarded) {
                    Err(Ambiguous)
                } else {
                    Ok(forwarded)
                }
            }
        }
    }
}

/// Captures can be put together to what no request could say (`/$1$2` of two dots): the result has to be canonical
/// again, and without what any server takes for a dot segment.
fn is_sound(forwarded: &str) -> bool {
    let canonical = CanonicalPath::new(forwarded);
    canonical.is_ok_and(|path| path.text == forwarded && !(path.ambiguous && has_hidden_dots(forwarded)))
}

/// For every reading: rewriting what a server reads gives what the server reads of the rewritten path.
fn agrees(pattern: &Pattern, target: &Target, path: &CanonicalPath<'_>, forwarded: &str) -> bool {
    Reading::all().all(|reading| {
        let rewritten = target.expand(pattern, &reading.read(&path.text));
        rewritten.is_some_and(|rewritten| reading.read(&rewritten) == reading.read(forwarded))
    })
}

impl PrefixRewrite {
    fn new(matched: Option<usize>, target: &str) -> Self {
        let absolute = format!("/{}", target.trim_start_matches('/'));
        let target = canonical_pattern(&absolute);
        let trimmed = target.trim_end_matches('/');
        PrefixRewrite { matched, target: trimmed.to_owned(), open: trimmed.len() < target.len() }
    }

    fn apply(&self, path: &str) -> String {
        let rest = self.matched.and_then(|length| path.get(length..)).unwrap_or("");
        if rest.is_empty() {
            return if self.open { format!("{}/", self.target) } else { self.target.clone() };
        }
        format!("{}/{}", self.target, rest.trim_start_matches('/'))
    }

    fn confines(&self, forwarded: &str) -> bool {
        Reading::all().all(|reading| {
            let (target, path) = (reading.read(&self.target), reading.read(forwarded));
            let rest = path.strip_prefix(prefix_key(&target));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}
