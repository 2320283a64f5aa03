//! `weir check`: validates manifests offline.

use serde_json::json;

use super::{failed, print};
use crate::check::check;
use crate::cli::{CheckArgs, Exit};
use crate::config::Manifests;
use crate::model::{Problem, Severity};
use crate::status::print_problems;

pub(super) fn run(args: &CheckArgs) -> Exit {
    let manifests = match Manifests::try_from(args) {
        Ok(manifests) => manifests,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let problems = match check(&args.path, &manifests.settings(None, &[])) {
        Ok(problems) => problems,
        Err(error) => return failed(Exit::Unavailable, &error),
    };
    let text = if args.json { json(&problems) } else { Ok(text(&problems)) };
    match text.map(|text| print(&text)) {
        Ok(Exit::Done) => exit(&problems, args.strict),
        Ok(failed) => failed,
        Err(error) => failed(Exit::Failed, &error),
    }
}

fn json(problems: &[Problem]) -> Result<String, serde_json::Error> {
    // `json!` panics on what cannot be written; of a value that is JSON already it has nothing to object to.
    let problems = serde_json::to_value(problems)?;
    Ok(format!("{:#}\n", json!({"check": problems})))
}

fn text(problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let [errors, warnings, infos] = [Severity::Error, Severity::Warning, Severity::Info].map(count);
    let summary = format!("{}, {}, {}\n", plural(errors, "error"), plural(warnings, "warning"), plural(infos, "info"));
    print_problems(problems) + &summary
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn exit(problems: &[Problem], strict: bool) -> Exit {
    let bad = |problem: &Problem| match problem.severity {
        Severity::Error => true,
        Severity::Warning => strict,
        Severity::Info => false,
    };
    if problems.iter().any(bad) { Exit::BadData } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectRef;

    #[test]
    fn errors_fail_and_strict_lets_warnings_fail_too() {
        let problem = |new: fn(&str, &ObjectRef, &'static str) -> Problem| vec![new("x", &ObjectRef::default(), "y")];
        let table = [
            (vec![], Exit::Done, Exit::Done),
            (problem(Problem::info), Exit::Done, Exit::Done),
            (problem(Problem::warning), Exit::Done, Exit::BadData),
            (problem(Problem::error), Exit::BadData, Exit::BadData),
        ];
        for (problems, plain, strict) in table {
            assert_eq!((exit(&problems, false), exit(&problems, true)), (plain, strict), "{problems:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_as_json_is_an_error() {
        use std::os::unix::ffi::OsStrExt;

        let problem = Problem::info("x", &ObjectRef::default(), "y");
        let text = json(std::slice::from_ref(&problem)).expect("JSON");
        assert!(text.starts_with("{\n  \"check\": [") && text.ends_with("}\n"), "{text}");
        let file = std::ffi::OsStr::from_bytes(b"\xff.yaml");
        assert!(json(&[Problem { file: Some(file.into()), ..problem }]).is_err());
    }

    #[test]
    fn the_summary_counts() {
        let problems = [
            Problem::warning("x", &ObjectRef::default(), "first"),
            Problem::info("x", &ObjectRef::default(), "second"),
        ];
        assert_eq!(text(&problems), "warning[x]: first\ninfo[x]: second\n0 errors, 1 warning, 1 info\n");
        assert_eq!(text(&[]), "0 errors, 0 warnings, 0 infos\n");
    }
}
