//! How new flows of a Service choose: `sessionAffinity`, and the annotation for the algorithm.

use crate::model::problem::code;
use crate::model::{Algorithm, Forwarding, ObjectRef, Problem};
use crate::source::kinds::Service;

/// How new flows choose.
pub(super) const ALGORITHM: &str = "weir.io/algorithm";
/// Whether the front answers with SYN cookies while its listener is full.
pub(super) const SYN_COOKIES: &str = "weir.io/syn-cookies";
/// Three hours, as the API documents it.
const DEFAULT_SECONDS: u32 = 10_800;
/// A day, as the API restricts it.
const MOST_SECONDS: i64 = 86_400;

/// For how many seconds a client keeps its backend.
pub(super) fn affinity(object: &Service, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Option<u32> {
    match object.spec.session_affinity.as_deref() {
        None | Some("None" | "") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let problem = Problem::warning(code::FIELD_INVALID, owner, "there is no such setting; taken as None");
            problems.push(problem.at("spec.sessionAffinity", other).expected("None or ClientIP"));
            return None;
        }
    }
    let Some(seconds) = object.spec.session_affinity_config.client_ip.timeout_seconds else {
        return Some(DEFAULT_SECONDS);
    };
    match u32::try_from(seconds).ok().filter(|_| (1..=MOST_SECONDS).contains(&seconds)) {
        Some(seconds) => Some(seconds),
        None => {
            let what = format!("this cannot be a time; {DEFAULT_SECONDS} seconds are taken");
            let problem = Problem::warning(code::FIELD_INVALID, owner, what);
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            problems.push(problem.at(field, seconds).expected(format!("1-{MOST_SECONDS} seconds")));
            Some(DEFAULT_SECONDS)
        }
    }
}

/// The algorithm. With DSR every node has to choose alike, so that only hashes will do.
pub(super) fn algorithm(
    object: &Service,
    forwarding: Forwarding,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Algorithm {
    let Some(text) = object.metadata.annotations.get(ALGORITHM) else { return Algorithm::default() };
    let field = format!("metadata.annotations[{ALGORITHM}]");
    match text.parse::<Algorithm>() {
        Ok(algorithm) if forwarding == Forwarding::Dsr && !algorithm.is_by_hash() => {
            let what = "with dsr every node has to choose alike; maglev is taken";
            let problem = Problem::warning(code::ALGORITHM_UNSUITABLE, owner, what).at(field, text);
            problems.push(problem.expected("maglev or source-hash, or forwarding by snat"));
            Algorithm::default()
        }
        Ok(algorithm) => algorithm,
        Err(expected) => {
            let problem = Problem::error(code::ALGORITHM_INVALID, owner, "there is no such algorithm; maglev is taken");
            problems.push(problem.at(field, text).expected(expected));
            Algorithm::default()
        }
    }
}

/// Whether SYN cookies are asked for.
pub(super) fn syn_cookies(object: &Service, owner: &ObjectRef, problems: &mut Vec<Problem>) -> bool {
    match object.metadata.annotations.get(SYN_COOKIES).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(text) => {
            let problem = Problem::error(code::SYN_COOKIES_INVALID, owner, "this is neither yes nor no; taken as no");
            problems.push(problem.at(format!("metadata.annotations[{SYN_COOKIES}]"), text).expected("true or false"));
            false
        }
    }
}

/// Only the front's listeners can have them: other connections are the pods' own.
pub(super) fn wasted_cookies(owner: &ObjectRef) -> Problem {
    let what = "SYN cookies are for what the front of the nodes answers; pods answer this Service themselves";
    let problem = Problem::warning(code::SYN_COOKIES_UNSUITABLE, owner, what);
    problem.at(format!("metadata.annotations[{SYN_COOKIES}]"), "true").expected("a Service that selects the front")
}
