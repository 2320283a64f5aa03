//! The seeds: manifests that must run as they are.

use std::path::{Path, PathBuf};

use super::*;
use crate::model::Severity;
use crate::model::problem::code;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/seeds")
}

fn of(severity: Severity, problems: &[Problem]) -> Vec<(String, &str)> {
    let chosen = problems.iter().filter(|problem| problem.severity == severity);
    let file = |problem: &Problem| {
        let name = problem.file.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_default().chars().take(2).collect()
    };
    let mut rows: Vec<_> = chosen.map(|problem| (file(problem), problem.code.as_str())).collect();
    rows.sort();
    rows
}

fn rows<'a>(rows: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    rows.iter().map(|(file, code)| ((*file).to_owned(), *code)).collect()
}

#[test]
fn seeds_give_what_they_must() {
    let problems = check(&seeds(), &Settings::default()).expect("seeds are there");
    assert_eq!(of(Severity::Error, &problems), rows(&[]));
    let warnings = [
        ("03", code::SERVICE_PORT_MISSING),
        ("03", code::SERVICE_PORT_MISSING),
        ("10", code::SERVICE_MISSING),
        ("13", code::SERVICE_MISSING),
    ];
    assert_eq!(of(Severity::Warning, &problems), rows(&warnings));
    let infos = of(Severity::Info, &problems);
    assert!(infos.contains(&("06".to_owned(), code::LOAD_BALANCER_NO_POOL)), "{infos:?}");
    assert!(infos.len() <= 6, "infos are few: {infos:?}");
}
