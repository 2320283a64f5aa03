//! `weir migrate`: manifests of old API versions to those of today, and what of them means something else here.
//!
//! Documents that are current stay as they are, letter for letter. Old ones are written anew, with the comment that
//! stands before them; comments inside are lost, and the report says which documents that concerns.

use std::path::{Path, PathBuf};

use crate::check::check;
use crate::model::Problem;
use crate::source::dir::{self, DirError};
use crate::source::yaml::{self, Node, Value};
use crate::translate::Settings;

mod emit;
mod metallb;
mod rewrite;

use metallb::Known;

/// One document that was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it stands.
    pub file: PathBuf,
    /// Its first line, counted from 1.
    pub line: u32,
    /// `Kind namespace/name`.
    pub object: String,
    /// The version that it had.
    pub from: String,
    /// The version that it has.
    pub to: &'static str,
    /// What else changed, a few words each.
    pub notes: Vec<String>,
}

/// What became of manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// All documents, as one stream of YAML.
    pub text: String,
    /// What was rewritten.
    pub changes: Vec<Change>,
    /// What `weir check` says of them as they were.
    pub problems: Vec<Problem>,
}

/// Migrates everything under a path.
pub fn migrate(path: &Path, settings: &Settings) -> Result<Migrated, DirError> {
    let problems = check(path, settings)?;
    let mut migrated = Migrated::default();
    let files = dir::files(path)?;
    // What cannot be read is among the problems.
    let texts: Vec<_> = files.iter().filter_map(|file| Some((file, std::fs::read_to_string(file).ok()?))).collect();
    let mut known = Known::default();
    for (_, document) in texts.iter().flat_map(|(_, text)| documents(text)) {
        yaml::parse(document).unwrap_or_default().iter().for_each(|node| known.learn(node));
    }
    for (file, text) in &texts {
        let of_file: Vec<_> = problems.iter().filter(|problem| problem.file.as_deref() == Some(&**file)).collect();
        migrated.file((file, text), &of_file, &known);
    }
    migrated.problems = problems;
    Ok(migrated)
}

impl Migrated {
    fn file(&mut self, (file, text): (&Path, &str), problems: &[&Problem], known: &Known) {
        for (first, document) in documents(text) {
            let last = first + u32::try_from(document.lines().count()).unwrap_or(u32::MAX - first);
            let lies_here = |problem: &&&Problem| problem.line.is_some_and(|line| (first..last).contains(&line));
            let parsed = yaml::parse(document).unwrap_or_default();
            if !document.trim().is_empty() {
                let problems = problems.iter().filter(lies_here).copied();
                self.document((file, first, document), parsed, problems, known);
            }
        }
    }

    /// Adds a document, below what there is to say of it.
    fn document<'a>(
        &mut self,
        (file, line, text): (&Path, u32, &str),
        mut parsed: Vec<Node>,
        problems: impl Iterator<Item = &'a Problem>,
        known: &Known,
    ) {
        let mut changes = Vec::new();
        for node in &mut parsed {
            rewrite::document(node, known, &mut |object, from, to, notes| {
                changes.push(Change { file: file.to_owned(), line, object, from, to, notes });
            });
        }
        self.text.push_str("---\n");
        for problem in problems {
            // A Problem has no line breaks: control characters in it are escaped.
            self.text.push_str(&format!("# {}[{}]: {}\n", problem.severity, problem.code, problem.message));
        }
        if changes.is_empty() {
            self.text.push_str(text.trim_start_matches('\n').trim_end());
            self.text.push('\n');
        } else {
            comment_before(text).for_each(|line| self.text.extend([line, "\n"]));
            let left = parsed.iter().filter(|node| node.value != Value::Null);
            left.for_each(|node| emit::document(node, &mut self.text));
        }
        self.changes.append(&mut changes);
    }
}

/// The documents of a file, each with the number of its first line.
fn documents(text: &str) -> Vec<(u32, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut begin, mut first) = (0, 1);
    let mut at = 0;
    for (number, line) in (1u32..).zip(text.split_inclusive('\n')) {
        // Nothing in a block scalar begins in the first column.
        if matches!(line.trim_end(), "---" | "...") || line.starts_with("--- #") {
            documents.push((first, &text[begin..at]));
            (begin, first) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    documents.push((first, &text[begin..]));
    documents
}

/// The lines of comment before anything else.
fn comment_before(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| line.trim().is_empty()).take_while(|line| line.starts_with('#'))
}

/// The text of a value, if it is one.
fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Any value as YAML, for files that are made.
#[cfg(test)]
pub(crate) fn yaml(value: &serde_json::Value) -> String {
    let mut text = String::new();
    let document = yaml::parse(&value.to_string()).expect("JSON is YAML");
    document.iter().for_each(|node| emit::document(node, &mut text));
    text
}

#[cfg(test)]
mod tests;
