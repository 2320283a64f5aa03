//! Serde over nodes, with errors that know the field and its line.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};

use super::{Node, Value, scalar};

/// A field that does not hold what it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, such as `spec.ports[0].port`; empty for the document itself.
    pub field: String,
    /// Line, counted from 1; 0 if it is not known.
    pub line: u32,
    /// The value found.
    pub value: Option<String>,
    /// What would be right.
    pub expected: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

impl Node {
    /// Reads a value of type `T`. As everywhere in Kubernetes, `null` counts as absent.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, FieldError> {
        T::deserialize(self)
    }
}

impl FieldError {
    fn at(mut self, line: u32) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }

    fn within(mut self, segment: &str) -> Self {
        let joint = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{segment}{joint}{}", self.field);
        self
    }

    fn mismatch(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        FieldError {
            value: Some(shown(found)),
            expected: Some(in_plain_words(&expected.to_string())),
            message: "this has a value of the wrong type".to_owned(),
            ..Self::default()
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.field, self.message)?;
        match (&self.value, &self.expected) {
            (Some(value), Some(expected)) => write!(f, ": found {value}, expected {expected}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        FieldError { message: message.to_string(), ..Self::default() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        FieldError { field: field.to_owned(), message: "this is missing".to_owned(), ..Self::default() }
    }
}

fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        // With quotes where their absence was meant.
        Unexpected::Str(value) if !matches!(scalar::resolve(value), Value::String(_)) => format!("{value:?}"),
        Unexpected::Str(value) => value.to_owned(),
        Unexpected::Unit => "nothing".to_owned(),
        Unexpected::Seq => "a sequence".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// Serde names Rust types; the reader of a message wrote YAML.
fn in_plain_words(expected: &str) -> String {
    let words = match expected {
        "i64" => "a whole number",
        "a string" => "a string (put it in quotes)",
        "a boolean" => "true or false",
        "a map" => "a mapping",
        _ if expected.starts_with("struct ") => "a mapping",
        _ => expected,
    };
    words.to_owned()
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        let result = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_borrowed_str(value),
            Value::Sequence(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Mapping(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        };
        result.map_err(|error| error.at(self.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    /// A mapping only: serde's own code would take a sequence for a struct, field by field.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match self.value {
            Value::Sequence(_) => Err(FieldError::mismatch(Unexpected::Seq, &visitor).at(self.line)),
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, FieldError> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(node).map(Some).map_err(|error| error.at(node.line).within(&format!("[{index}]")))
    }
}

struct Entries<'de> {
    entries: &'de [(Box<str>, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        while self.entries.get(self.next).is_some_and(|(_, node)| node.value == Value::Null) {
            self.next += 1;
        }
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, FieldError> = (**key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, FieldError> {
        let Some((key, node)) = self.entries.get(self.next) else {
            return Err(de::Error::custom("a value was asked for behind the last key"));
        };
        self.next += 1;
        let segment = if key.contains('.') { format!("[{key}]") } else { key.to_string() };
        seed.deserialize(node).map_err(|error| error.at(node.line).within(&segment))
    }
}
