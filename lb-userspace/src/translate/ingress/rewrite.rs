//! `rewrite-target`: the path that the backend gets.
//!
//! The annotation has had two meanings. Before ingress-nginx 0.22 the matched prefix was replaced by the target; since
//! then the whole path is, with `$1` and so on standing for captures of the path, which is a regular expression. What
//! the Ingress writes tells which is meant; `weir.io/rewrite` forces one.

use super::annotations::{NGINX, nginx};
use super::path::{begins_path, is_path, is_pattern, text};
use crate::l7::path::CanonicalPath;
use crate::l7::pattern::{Pattern, Target};
use crate::model::problem::code;
use crate::model::route::Rewrite;
use crate::model::{ObjectRef, PathMatch, Problem};
use crate::source::kinds::Ingress;

/// Forces a meaning.
const MODE: &str = "weir.io/rewrite";

/// What the annotations of an Ingress ask for.
pub(super) struct Rewriting {
    target: Wanted,
    /// The target has a `$1` or the like.
    refers: bool,
    use_regex: bool,
    mode: Option<Mode>,
    /// Paths whose beginning is replaced, where ingress-nginx would replace all.
    beginnings: Vec<String>,
    /// Paths that are replaced as a whole, where the older meaning would be the beginning.
    wholes: Vec<String>,
}

/// The target.
enum Wanted {
    None,
    Usable(String),
    Unusable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Prefix,
    Regex,
}

impl Rewriting {
    /// Reads the annotations.
    pub(super) fn of(ingress: &Ingress, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Self {
        let mode = mode(ingress, owner, problems);
        let use_regex = nginx(ingress, "use-regex") == Some("true");
        let written = nginx(ingress, "rewrite-target").filter(|target| !target.is_empty());
        let refers = mode != Some(Mode::Prefix) && written.is_some_and(has_reference);
        let all_regex = mode != Some(Mode::Prefix) && (refers || use_regex || mode == Some(Mode::Regex));
        let target = match written {
            None => Wanted::None,
            Some(target) if all_regex => regex_target(target, owner, problems),
            Some(target) => prefix_target(target, owner, problems),
        };
        if use_regex && written.is_some() && mode == Some(Mode::Prefix) {
            let what = format!("{MODE}: prefix is stronger: the paths are taken as written");
            let problem = Problem::info(code::REWRITE_AMBIGUOUS, owner, what);
            problems.push(problem.at(format!("metadata.annotations[{NGINX}use-regex]"), true));
        }
        Rewriting { target, refers, use_regex, mode, beginnings: Vec::new(), wholes: Vec::new() }
    }

    /// The path as it is meant, and its rewrite; nothing if it cannot be served.
    pub(super) fn of_path(
        &mut self,
        path: PathMatch,
        field: &str,
        owner: &ObjectRef,
        problems: &mut Vec<Problem>,
    ) -> Option<(PathMatch, Option<Rewrite>)> {
        if self.is_regex(&path) {
            let pattern = pattern(text(&path), field, owner, problems)?;
            let rewrite = match &self.target {
                Wanted::None => None,
                Wanted::Usable(target) => Some(Rewrite::Regex(target.clone())),
                // Not under a path that the Ingress means to hide.
                Wanted::Unusable => {
                    let what = "the path is left out, as its rewrite target cannot be used";
                    let problem = Problem::warning(code::REWRITE_INVALID, owner, what);
                    problems.push(problem.at(format!("{field}.path"), text(&path)));
                    return None;
                }
            };
            self.note_captures(&pattern, text(&path), field, owner, problems);
            if rewrite.is_some() && self.mode.is_none() && !self.refers {
                self.wholes.push(text(&path).to_owned());
            }
            return Some((PathMatch::Regex(text(&path).to_owned()), rewrite));
        }
        let Wanted::Usable(target) = &self.target else { return Some((path, None)) };
        if self.mode.is_none() && !matches!(path, PathMatch::Exact(_)) {
            self.beginnings.push(text(&path).to_owned());
        }
        Some((path, Some(Rewrite::Prefix(target.clone()))))
    }

    /// Says once that the other meaning of the target would give something else.
    pub(super) fn note_ambiguous(&self, owner: &ObjectRef, problems: &mut Vec<Problem>) {
        let Wanted::Usable(target) = &self.target else { return };
        let mut note = |what: String, expected: &str| {
            let problem = Problem::info(code::REWRITE_AMBIGUOUS, owner, what).at(target_field(), target);
            problems.push(problem.expected(format!("{MODE}: {expected}")));
        };
        if !self.beginnings.is_empty() {
            let what = format!(
                "of paths that begin with {}, that beginning is replaced and the rest kept; \
                 ingress-nginx since 0.22 drops the rest",
                self.beginnings.join(" or ")
            );
            note(what, "prefix to confirm, or regex");
        }
        if !self.wholes.is_empty() {
            let what = format!(
                "of paths that match {}, all is replaced and the rest dropped, as ingress-nginx does since 0.22; \
                 $1 to $9 would keep captures of it",
                self.wholes.join(" or ")
            );
            note(what, "regex to confirm, or prefix");
        }
    }

    /// The path is meant as a regular expression, or its rewrite needs one. A path of type Exact is taken literally
    /// unless that would make no sense.
    pub(super) fn is_regex(&self, path: &PathMatch) -> bool {
        let has_target = !matches!(self.target, Wanted::None);
        let mode = self.mode.filter(|_| has_target);
        let asked = self.use_regex || mode == Some(Mode::Regex);
        match path {
            _ if mode == Some(Mode::Prefix) => false,
            _ if self.refers => true,
            PathMatch::Exact(written) => asked && is_pattern(written),
            other => asked || (has_target && text(other).contains('(')),
        }
    }

    /// Says if the target names a capture that the path does not have.
    fn note_captures(
        &self,
        pattern: &Pattern,
        path: &str,
        field: &str,
        owner: &ObjectRef,
        problems: &mut Vec<Problem>,
    ) {
        let Wanted::Usable(target) = &self.target else { return };
        let (named, captures) = (Target::new(target).captures(), pattern.captures());
        if named > captures {
            let what = format!("the rewrite target {target} names ${named}, which is always empty");
            let problem = Problem::warning(code::REWRITE_INVALID, owner, what).at(format!("{field}.path"), path);
            problems.push(problem.expected(format!("a path with {named} captures; this one has {captures}")));
        }
    }
}

fn pattern(path: &str, field: &str, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Option<Pattern> {
    let told = Pattern::new(path).map_err(|error| {
        let what = format!("the path is left out, its regular expression cannot be used: {error}");
        let problem = Problem::error(code::PATH_INVALID, owner, what).at(format!("{field}.path"), path);
        problems.push(problem.expected("a regular expression without look-around and back-references"));
    });
    told.ok()
}

/// Has a `$1` or the like.
fn has_reference(target: &str) -> bool {
    target.as_bytes().windows(2).any(is_reference)
}

fn is_reference(pair: &[u8]) -> bool {
    pair[0] == b'$' && (b'1'..=b'9').contains(&pair[1])
}

fn target_field() -> String {
    format!("metadata.annotations[{NGINX}rewrite-target]")
}

fn prefix_target(target: &str, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Wanted {
    if is_path(target) {
        return Wanted::Usable(target.to_owned());
    }
    let problem = Problem::error(code::REWRITE_INVALID, owner, "the path cannot be rewritten to this; it is kept");
    problems.push(problem.at(target_field(), target).expected("a path that begins with '/'"));
    Wanted::Unusable
}

fn regex_target(target: &str, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Wanted {
    // A capture may bring the slash.
    let absolute = if is_reference(target.as_bytes().get(..2).unwrap_or(b"//")) {
        format!("/{target}")
    } else {
        target.to_owned()
    };
    let problem = if begins_path(&absolute) && absolute.contains('?') {
        let what = "a rewrite target with a query is not served yet";
        Problem::warning(code::NOT_YET, owner, what).at(target_field(), target)
    } else if !is_target(&absolute) {
        let what = "paths cannot be rewritten to this";
        let problem = Problem::error(code::REWRITE_INVALID, owner, what).at(target_field(), target);
        problem.expected(
            "a path that begins with '/', without '.' and '..' segments, and with a digit from 1 to 9 after each '$'",
        )
    } else {
        return Wanted::Usable(target.to_owned());
    };
    problems.push(problem);
    Wanted::Unusable
}

/// A path in which every `$` is one of a capture; variables of nginx mean nothing here.
fn is_target(target: &str) -> bool {
    let references = target.split('$').skip(1).all(|rest| rest.starts_with(|c: char| ('1'..='9').contains(&c)));
    let dots = target.split('/').any(|segment| matches!(segment, "." | ".."));
    is_path(target) && references && !dots && CanonicalPath::new(target).is_ok()
}

fn mode(ingress: &Ingress, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Option<Mode> {
    match ingress.metadata.annotations.get(MODE)?.as_str() {
        "prefix" => Some(Mode::Prefix),
        "regex" => Some(Mode::Regex),
        other => {
            let problem = Problem::error(code::REWRITE_INVALID, owner, "there is no such way to rewrite");
            problems.push(problem.at(format!("metadata.annotations[{MODE}]"), other).expected("prefix or regex"));
            None
        }
    }
}
