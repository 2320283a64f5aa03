//! Values as YAML in block style.

use crate::source::yaml::{Node, Value};

/// Writes a document.
pub(super) fn document(node: &Node, out: &mut String) {
    match &node.value {
        Value::Mapping(entries) if !entries.is_empty() => mapping(entries, 0, out),
        Value::Sequence(items) if !items.is_empty() => sequence(items, 0, out),
        value => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn mapping(entries: &[(Box<str>, Node)], depth: usize, out: &mut String) {
    for (number, (key, node)) in entries.iter().enumerate() {
        // The first key of an item of a list stands behind its dash.
        if number > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        out.push_str(&string(key));
        out.push(':');
        below(&node.value, depth, out);
    }
}

fn below(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            out.push('\n');
            mapping(entries, depth + 1, out);
        }
        Value::Sequence(items) if !items.is_empty() => {
            out.push('\n');
            sequence(items, depth, out);
        }
        value => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn sequence(items: &[Node], depth: usize, out: &mut String) {
    for item in items {
        indent(depth, out);
        out.push_str("- ");
        match &item.value {
            Value::Mapping(entries) if !entries.is_empty() => mapping(entries, depth + 1, out),
            Value::Sequence(inner) if !inner.is_empty() => {
                out.push('\n');
                sequence(inner, depth + 1, out);
            }
            value => {
                out.push_str(&scalar(value));
                out.push('\n');
            }
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) if value.is_finite() => format!("{value:?}"),
        Value::Float(value) if value.is_nan() => ".nan".to_owned(),
        Value::Float(value) => if *value > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
        Value::String(text) => string(text),
        // Only the empty ones come here.
        Value::Sequence(_) => "[]".to_owned(),
        Value::Mapping(_) => "{}".to_owned(),
    }
}

/// Plain where that can mean nothing else, in any version of YAML; else in double quotes, as JSON has them.
fn string(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let plain = begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let word = text.to_ascii_lowercase();
    let means_more = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&word.as_str());
    if plain && !means_more { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
