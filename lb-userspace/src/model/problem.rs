//! Mistakes in the user's objects. A Problem names the object and field and never stops the others.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub mod code;

/// Longest piece of somebody's text that a message repeats.
const MAX_SHOWN: usize = 400;

/// How bad a Problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something the user asked for is not done.
    Error,
    /// It is done, but hardly as the user meant it.
    Warning,
    /// Worth knowing.
    Info,
}

/// The object that a Problem is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind; `None` if not even that could be read.
    pub kind: Option<String>,
    /// Namespace, if it has one.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
}

/// A mistake in the user's objects: one row of `weir check`, of `status`, one log line, one metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable code in kebab-case, such as `service-port-missing`; see `problem::code`.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// Which object.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Path of the field, such as `spec.rules[0].http.paths[1].backend.servicePort`.
    pub field: Option<String>,
    /// The value found.
    pub value: Option<String>,
    /// What would be right.
    pub expected: Option<String>,
    /// One sentence for people that names all of it.
    pub message: String,
    /// File it came from, for a directory source.
    pub file: Option<PathBuf>,
    /// Line in the file, counted from 1.
    pub line: Option<u32>,
}

impl Severity {
    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ObjectRef {
    /// Names an object; an empty namespace means that the kind has none. What is no name is made fit to print.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        let filled = |text: &str| (!text.is_empty()).then(|| printable(text));
        ObjectRef { kind: filled(kind), namespace: filled(namespace), name: filled(name) }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or("Object"))?;
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (None, Some(name)) => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}

impl Problem {
    /// Something the user asked for is not done.
    pub fn error(code: &str, object: &ObjectRef, what: impl fmt::Display) -> Self {
        Self::new(Severity::Error, code, object, what)
    }

    /// It is done, but hardly as the user meant it.
    pub fn warning(code: &str, object: &ObjectRef, what: impl fmt::Display) -> Self {
        Self::new(Severity::Warning, code, object, what)
    }

    /// Worth knowing.
    pub fn info(code: &str, object: &ObjectRef, what: impl fmt::Display) -> Self {
        Self::new(Severity::Info, code, object, what)
    }

    fn new(severity: Severity, code: &str, object: &ObjectRef, what: impl fmt::Display) -> Self {
        let message = match object.kind {
            Some(_) => format!("{object}: {}", printable(&what.to_string())),
            None => printable(&what.to_string()),
        };
        Problem {
            code: code.to_owned(),
            severity,
            object: object.clone(),
            field: None,
            value: None,
            expected: None,
            message,
            file: None,
            line: None,
        }
    }

    /// Adds the field and the value found there.
    pub fn at(self, field: impl Into<String>, value: impl fmt::Display) -> Self {
        let (field, value) = (printable(&field.into()), printable(&value.to_string()));
        let message = format!("{} ({field}: {value})", self.message);
        Problem { field: Some(field), value: Some(value), message, ..self }
    }

    /// Adds a field where nothing stands.
    pub fn at_field(self, field: impl Into<String>) -> Self {
        let field = printable(&field.into());
        Problem { message: format!("{} ({field})", self.message), field: Some(field), ..self }
    }

    /// Adds what would be right.
    pub fn expected(self, expected: impl fmt::Display) -> Self {
        let expected = printable(&expected.to_string());
        Problem { message: format!("{}; expected {expected}", self.message), expected: Some(expected), ..self }
    }

    /// Adds where it was written. Names of files are bytes; what is not printable text is escaped or replaced.
    pub fn in_file(self, file: impl AsRef<Path>, line: Option<u32>) -> Self {
        let file: String = file.as_ref().to_string_lossy().chars().flat_map(escaped).collect();
        Problem { file: Some(file.into()), line, ..self }
    }
}

/// Orders problems for a reader: the worst first, then by object.
pub fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (a.severity, &a.object, a).cmp(&(b.severity, &b.object, b)));
    problems.dedup();
}

/// Text from a file, cut to a readable length and without control characters, which could steer a terminal.
fn printable(text: &str) -> String {
    if text.len() <= MAX_SHOWN && !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(escaped).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_object_field_value_and_what_would_be_right() {
        let owner = ObjectRef::new("Service", "default", "web");
        let problem = Problem::error(code::PORT_INVALID, &owner, "this is not a port");
        let problem = problem.at("spec.ports[0].port", 70000).expected("1-65535").in_file("web.yaml", Some(7));
        let message = "Service default/web: this is not a port (spec.ports[0].port: 70000); expected 1-65535";
        assert_eq!(problem.message, message);
        assert_eq!(problem.value.as_deref(), Some("70000"));
    }

    #[test]
    fn a_row_of_json_is_flat_and_camel_case() {
        let owner = ObjectRef::new("Node", "", "a");
        let row = serde_json::to_value(Problem::info(code::NOT_YET, &owner, "later")).expect("serializes");
        let keys =
            ["code", "severity", "kind", "namespace", "name", "field", "value", "expected", "message", "file", "line"];
        for key in keys {
            assert!(row.get(key).is_some(), "{key}");
        }
        assert_eq!(row.as_object().map(serde_json::Map::len), Some(keys.len()));
        assert_eq!((&row["severity"], &row["namespace"]), (&"info".into(), &serde_json::Value::Null));
    }

    #[test]
    fn long_and_unprintable_text_is_cut_and_escaped() {
        let problem = Problem::error(code::NAME_INVALID, &ObjectRef::new("Pod", "a", "\u{1b}[2J"), "x".repeat(10_000));
        let problem = problem.at("metadata.name", "line\nbreak");
        assert!(problem.message.len() < 1000);
        assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
    }

    #[test]
    fn names_of_files_and_fields_are_text_too() {
        use std::os::unix::ffi::OsStrExt;
        let file = std::path::Path::new(std::ffi::OsStr::from_bytes(b"a\n\x1b[2J\xff.yaml"));
        let problem = Problem::error(code::FIELD_INVALID, &ObjectRef::default(), "x").in_file(file, None);
        for problem in [problem.clone().at("metadata.labels.a\nb", 1), problem.at_field("metadata.labels.a\nb")] {
            let row = serde_json::to_value(problem).expect("serializes");
            for key in ["file", "field", "message"] {
                let text = row[key].as_str().expect("text");
                assert!(!text.contains(char::is_control), "{text:?}");
            }
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let owner = |name| ObjectRef::new("Service", "default", name);
        let info = Problem::info(code::NOT_YET, &owner("a"), "x");
        let error = Problem::error(code::PORT_INVALID, &owner("b"), "x");
        let mut problems = vec![info.clone(), error.clone(), info.clone()];
        sort(&mut problems);
        assert_eq!(problems, [error, info]);
    }
}
