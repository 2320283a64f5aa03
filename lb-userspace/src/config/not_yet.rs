//! Flags of the contract whose feature is not built: accepted, and told as an info Problem each.

use crate::cli::AgentArgs;
use crate::model::{IpFamily, ObjectRef, Problem, Severity};

/// Stable code of these Problems.
pub(super) const CODE: &str = "not-yet";

/// One Problem for each flag that is given and does nothing.
pub(super) fn problems(args: &AgentArgs) -> Vec<Problem> {
    let mut problems = Vec::new();
    for address in unused_snat_addresses(&args.snat_address) {
        problems.push(problem("--snat-address", &address, "more than one address of a family", "one of each family"));
    }
    if args.fast_local {
        problems.push(problem("--fast-local", "true", "the way past the host's netfilter", "to leave it out"));
    }
    problems
}

/// All but the first address of each family.
fn unused_snat_addresses(given: &[String]) -> Vec<String> {
    let family = |text: &String| text.parse().ok().map(IpFamily::of);
    let is_unused =
        |(index, text): &(usize, &String)| given.iter().take(*index).any(|other| family(other) == family(text));
    given.iter().enumerate().filter(is_unused).map(|(_, text)| text.clone()).collect()
}

fn problem(flag: &str, value: &str, what: &str, expected: &str) -> Problem {
    Problem {
        code: CODE.to_owned(),
        severity: Severity::Info,
        object: ObjectRef::default(),
        field: Some(flag.to_owned()),
        value: Some(value.to_owned()),
        expected: Some(expected.to_owned()),
        message: format!("{flag} {value}: {what} is not built yet; the flag does nothing"),
        file: None,
        line: None,
    }
}
