//! A port by number or name.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A number or a string; a string of digits counts as a number, as it does for ingress-nginx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    /// A port number, as written.
    Int(i64),
    /// A port name.
    Name(String),
}

impl From<&str> for IntOrString {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| IntOrString::Name(text.to_owned()), IntOrString::Int)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntOrString::Int(number) => number.fmt(f),
            IntOrString::Name(name) => name.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = IntOrString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number or the name of a port")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<IntOrString, E> {
                Ok(IntOrString::Int(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IntOrString, E> {
                Ok(text.into())
            }
        }

        deserializer.deserialize_any(Either)
    }
}
