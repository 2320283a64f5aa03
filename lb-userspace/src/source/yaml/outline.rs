//! What is kept of a document that was read: on which line each of its fields stands, without the values, in one piece of
//! memory, as there are as many as objects.

use super::{Node, Value, segments};

/// The lines of a document's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Line of the document itself, counted from 1.
    pub line: u32,
    /// The fields as they follow each other, those inside of one behind it: depth (one byte), line and length of the name
    /// (numbers of seven bits to a byte, the lowest first, as LEB128), and the name. Items of sequences are called by their numbers.
    fields: Box<[u8]>,
}

/// One field.
struct Field<'a> {
    depth: u8,
    line: u32,
    name: &'a [u8],
}

impl Outline {
    /// That of a document.
    pub fn of(document: &Node) -> Self {
        let mut fields = Vec::new();
        write(document, 1, &mut fields);
        Outline { line: document.line, fields: fields.into() }
    }

    /// The same as [`Node::line_of`].
    pub fn line_of(&self, field: &str) -> u32 {
        let (mut rest, mut line) = (&*self.fields, self.line);
        for (segment, depth) in segments(field).zip(1..) {
            let Some((found, inside)) = find(rest, segment, depth) else { break };
            (line, rest) = (found, inside);
        }
        line
    }
}

/// The line of the field of that name among those of a depth, and what is behind it.
fn find<'a>(mut rest: &'a [u8], name: &str, depth: u8) -> Option<(u32, &'a [u8])> {
    while let Some((field, behind)) = read(rest).filter(|(field, _)| field.depth >= depth) {
        if field.depth == depth && field.name == name.as_bytes() {
            return Some((field.line, behind));
        }
        rest = behind;
    }
    None
}

/// No document is so deep that a depth would not fit ([`super::MAX_DEPTH`]).
fn write(node: &Node, depth: u8, fields: &mut Vec<u8>) {
    let mut one = |name: &str, inner: &Node| {
        fields.push(depth);
        write_number(inner.line, fields);
        write_number(u32::try_from(name.len()).unwrap_or(u32::MAX), fields);
        fields.extend_from_slice(name.as_bytes());
        write(inner, depth.saturating_add(1), fields);
    };
    match &node.value {
        Value::Sequence(items) => items.iter().enumerate().for_each(|(number, item)| one(&number.to_string(), item)),
        Value::Mapping(entries) => entries.iter().for_each(|(name, inner)| one(name, inner)),
        _ => {}
    }
}

fn read(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (depth, rest) = bytes.split_first()?;
    let (line, rest) = read_number(rest)?;
    let (length, rest) = read_number(rest)?;
    let (name, rest) = rest.split_at_checked(length as usize)?;
    Some((Field { depth: *depth, line, name }, rest))
}

fn write_number(mut number: u32, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn read_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let number = bytes[..=end].iter().rev().fold(0, |number, byte| number << 7 | u32::from(byte & 0x7f));
    Some((number, &bytes[end + 1..]))
}
