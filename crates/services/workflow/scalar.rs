//! A scalar: a text, a number or a flag, as it was written.
//!
//! Guarantees: a number keeps the spelling of its source, from a definition or a client to the log, to programs and
//! back to clients: `3.10` never becomes `3.1`. Every number is one of JSON and a finite double.
//! It is not a value of an expression: those are calculated, and are made of these.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;
use tidings_core::json;

/// A text, a number or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A number, as it was written.
    Number(Spelling),
    /// A flag.
    Boolean(bool),
}

/// A number as it was written: one of JSON, and a finite double.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling(Box<str>);

impl Scalar {
    /// A number, if this is how JSON writes one: a version such as 1.2.3 or an octal such as 0644 is none.
    #[must_use]
    pub fn number(text: &str) -> Option<Self> {
        let is_one = serde_json::from_str::<serde_json::Number>(text).is_ok() && text.trim() == text;
        is_one.then(|| Self::Number(Spelling(text.into())))
    }

    /// What it is as a text: its spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(Spelling(spelling)) => spelling,
            Self::Boolean(true) => "true",
            Self::Boolean(false) => "false",
        }
    }

    /// A number as a double.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(Spelling(spelling)) => spelling.parse().ok(),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    /// A number that is written as a whole one and is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(Spelling(spelling)) => spelling.parse().ok(),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    /// A flag.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(flag) => Some(*flag),
            Self::Text(_) | Self::Number(_) => None,
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Scalar {
    fn from(number: i64) -> Self {
        Self::Number(Spelling(number.to_string().into()))
    }
}

impl From<bool> for Scalar {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(Spelling(spelling)) => {
                RawValue::from_string(spelling.to_string()).map_err(S::Error::custom)?.serialize(serializer)
            }
            Self::Boolean(flag) => serializer.serialize_bool(*flag),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        let refused = || D::Error::custom("expected a text, a number or a flag");
        match written.get() {
            "true" => Ok(Self::Boolean(true)),
            "false" => Ok(Self::Boolean(false)),
            text if text.starts_with('"') => json::from_str(text).map(Self::Text).map_err(D::Error::custom),
            other => Self::number(other).ok_or_else(refused),
        }
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_told_on_as_it_was_written() {
        for json in ["3.10", "1e3", "-0", "12345678901234567890", "true", "false", r#""0644""#, r#""a\nb""#] {
            let read: Scalar = json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!(serde_json::to_string(&read).expect("serialises"), json);
            let text: String = json::from_str(json).unwrap_or_else(|_| json.to_owned());
            assert_eq!(read.as_str(), text);
        }
        let half: Scalar = json::from_str(r#""\ud83d""#).expect("parses");
        assert_eq!(half, Scalar::from("\u{FFFD}"));
    }

    #[test]
    fn what_is_no_scalar_is_refused() {
        for json in ["null", "[1]", "{}", "1e999"] {
            assert!(json::from_str::<Scalar>(json).is_err(), "{json}");
        }
        for text in ["0644", "1.2.3", "+1", ".5", " 1", "1 ", "NaN", ""] {
            assert_eq!(Scalar::number(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_is_written_as_a_whole_number_is_one() {
        assert_eq!(Scalar::from(7).as_u64(), Some(7));
        assert_eq!(Scalar::number("7.0").and_then(|number| number.as_u64()), None);
        assert_eq!(Scalar::number("1e1").and_then(|number| number.as_f64()), Some(10.0));
        assert_eq!((Scalar::from("7").as_u64(), Scalar::from(true).as_f64()), (None, None));
    }
}
