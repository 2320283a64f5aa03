//! YAML (and JSON, which is a part of it) that remembers on which line everything stood.
//!
//! Built on the parser's events, so that nothing here or in the parser recurses over the input, and so that depth, size
//! and what aliases expand to can be bounded: files are untrusted.

mod de;
mod outline;
mod reader;
mod scalar;

pub use de::FieldError;
pub use outline::Outline;

/// Deepest nesting that is read. No kind that we know is deeper than 12.
const MAX_DEPTH: usize = 64;
/// Most nodes in one file, aliases expanded: an alias can repeat what an alias repeats ("billion laughs").
const MAX_NODES: usize = 4_000_000;

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Line, counted from 1.
    pub line: u32,
    /// What stood there.
    pub value: Value,
}

/// A YAML value of the core schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(Box<str>),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the file; keys are unique.
    Mapping(Vec<(Box<str>, Node)>),
}

/// Text that is not YAML, or more than is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// Line, counted from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// Reads all documents of a file.
pub fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    reader::read(text.strip_prefix('\u{feff}').unwrap_or(text))
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|(name, _)| &**name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The line of a field such as `spec.ports[0].nodePort` or `metadata.annotations[weir.io/rewrite]`; where the field
    /// is missing, that of the nearest thing around it.
    pub fn line_of(&self, field: &str) -> u32 {
        let mut node = self;
        for segment in segments(field) {
            match node.step(segment) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.line
    }

    fn step(&self, segment: &str) -> Option<&Node> {
        match &self.value {
            Value::Sequence(items) => items.get(segment.parse::<usize>().ok()?),
            _ => self.get(segment),
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Sequence(items) => items.iter().map(Node::count).sum(),
            Value::Mapping(entries) => entries.iter().map(|(_, node)| node.count()).sum(),
            _ => 0,
        }
    }
}

/// Splits `a.b[c.d].e` into `a`, `b`, `c.d`, `e`.
fn segments(field: &str) -> impl Iterator<Item = &str> {
    let mut rest = field;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (segment, tail) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = tail;
        (!segment.is_empty()).then_some(segment)
    })
}

#[cfg(test)]
mod tests;
