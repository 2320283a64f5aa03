//! Paths of rules.

use crate::model::problem::code;
use crate::model::{ObjectRef, PathMatch, Problem};
use crate::source::kinds::HttpIngressPath;

const EXPECTED_PATTERN: &str = "a regular expression that begins with '/', of visible ASCII characters";
const EXPECTED: &str = "a path that begins with '/', of visible ASCII characters without '?' and '#'";

/// Reads path and path type. `is_regex` tells which texts are regular expressions, if the path type allows that.
pub(super) fn validate(
    written: &HttpIngressPath,
    beta: bool,
    is_regex: impl Fn(&PathMatch) -> bool,
    field: &str,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Option<PathMatch> {
    let kind = path_type(written, beta, field, owner, problems)?;
    // ImplementationSpecific may leave the path out, and so did every v1beta1 path; it means all of the host.
    let text = match written.path.as_deref().unwrap_or_default() {
        "" => "/",
        text => text,
    };
    let path = kind(text.to_owned());
    let (good, expected) =
        if is_regex(&path) { (begins_path(text), EXPECTED_PATTERN) } else { (is_path(text), EXPECTED) };
    if !good {
        let problem = Problem::error(code::PATH_INVALID, owner, "this is not a path");
        problems.push(problem.at(format!("{field}.path"), text).expected(expected));
        return None;
    }
    Some(path)
}

fn path_type(
    written: &HttpIngressPath,
    beta: bool,
    field: &str,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Option<fn(String) -> PathMatch> {
    let field = format!("{field}.pathType");
    let expected = "Exact, Prefix or ImplementationSpecific";
    match written.path_type.as_deref() {
        Some("Exact") => Some(PathMatch::Exact),
        Some("Prefix") => Some(PathMatch::Prefix),
        Some("ImplementationSpecific") => Some(PathMatch::ImplementationSpecific),
        None if beta => Some(PathMatch::ImplementationSpecific),
        None => {
            let what = "pathType is missing; taken as ImplementationSpecific";
            problems.push(Problem::warning(code::PATH_TYPE_INVALID, owner, what).at_field(field).expected(expected));
            Some(PathMatch::ImplementationSpecific)
        }
        Some(other) => {
            let problem = Problem::error(code::PATH_TYPE_INVALID, owner, "there is no such path type");
            problems.push(problem.at(field, other).expected(expected));
            None
        }
    }
}

/// Can stand in a request line as a path.
pub(super) fn is_path(text: &str) -> bool {
    begins_path(text) && !text.contains(['?', '#'])
}

/// Begins with `/` and holds nothing that a request line cannot.
pub(super) fn begins_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Has characters that mean something in a regular expression and hardly stand in a path otherwise.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['(', ')', '[', ']', '{', '}', '*', '+', '?', '^', '$', '|', '\\'])
}

/// The path as written; empty for a default backend.
pub(super) fn text(path: &PathMatch) -> &str {
    match path {
        PathMatch::Exact(text)
        | PathMatch::Prefix(text)
        | PathMatch::ImplementationSpecific(text)
        | PathMatch::Regex(text) => text,
        PathMatch::Default => "",
    }
}

/// The same for all paths that match the same requests: a prefix matches by element, so that neither a slash at its end
/// nor the difference between the two kinds of prefix matters.
pub(super) fn canonical(path: &PathMatch) -> PathMatch {
    match path {
        PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => {
            PathMatch::Prefix(text.trim_end_matches('/').to_owned())
        }
        other => other.clone(),
    }
}
