//! Ids: opaque strings that are also one segment of a channel's name.
//!
//! Guarantees: an id that was parsed, deserialised or made here matches `[A-Za-z0-9_-]{1,128}`, so
//! `sessionId: "1:2"` can never name another channel.
//! It is not a registry: each domain declares its own with [`id_type!`](crate::id_type).

use smol_str::SmolStr;

/// The most bytes an id may have.
pub const MAX_BYTES: usize = 128;

/// The same as a regular expression, for schemas.
pub const PATTERN: &str = "^[A-Za-z0-9_-]{1,128}$";

/// A fresh id: time-ordered, 32 hexadecimal digits (UUID version 7, RFC 9562).
#[must_use]
pub fn random() -> SmolStr {
    SmolStr::new(uuid::Uuid::now_v7().simple().to_string())
}

/// Whether `text` is one segment of a channel's name.
#[must_use]
pub fn is_segment(text: &str) -> bool {
    text.len() <= MAX_BYTES && is_word(text.as_bytes())
}

/// Whether this is of the letters of a channel's segments.
pub(crate) fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-')
}

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to 128 letters, digits, '_' or '-'")]
pub struct InvalidId;

/// Refuses a text that is no id.
///
/// # Errors
/// [`InvalidId`].
pub fn check(text: &str) -> Result<(), InvalidId> {
    if is_segment(text) { Ok(()) } else { Err(InvalidId) }
}

/// Declares an id type: a text that is one channel segment, checked wherever it enters.
#[macro_export]
macro_rules! id_type {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($crate::id::Text);

        impl $name {
            /// A fresh, time-ordered id.
            #[must_use]
            pub fn random() -> Self {
                Self($crate::id::random())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::InvalidId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $crate::id::serde::Serialize for $name {
            fn serialize<S: $crate::id::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> $crate::id::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::id::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <$crate::id::Text as $crate::id::serde::Deserialize>::deserialize(deserializer)?;
                $crate::id::check(&text).map_err($crate::id::serde::de::Error::custom)?;
                Ok(Self(text))
            }
        }

        impl $crate::schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut $crate::schemars::SchemaGenerator) -> $crate::schemars::Schema {
                $crate::schemars::json_schema!({
                    "type": "string",
                    "description": concat!($($doc),*).trim(),
                    "pattern": $crate::id::PATTERN,
                })
            }
        }
    };
}

/// The text inside an id: cheap to clone. For [`id_type!`](crate::id_type).
pub type Text = SmolStr;
#[doc(hidden)]
pub use serde;

id_type! {
    /// A user.
    UserId
}

/// A text of a wire type that is written and read by hand, as JSON Schema describes it.
#[macro_export]
macro_rules! text_schema {
    ($name:ident, { $($keyword:ident: $value:expr),* $(,)? }) => {
        impl $crate::schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut $crate::schemars::SchemaGenerator) -> $crate::schemars::Schema {
                let mut schema = $crate::schemars::json_schema!({ "type": "string" });
                $(schema.insert(stringify!($keyword).to_owned(), $value.into());)*
                schema
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_a_colon_is_refused_where_it_is_deserialised() {
        assert!(serde_json::from_str::<UserId>(r#""1:2""#).is_err());
        assert!(serde_json::from_str::<UserId>(r#""""#).is_err());
        assert_eq!(serde_json::from_str::<UserId>(r#""a_B-1""#).expect("parses").as_str(), "a_B-1");
    }

    #[test]
    fn a_fresh_id_is_an_id() {
        assert!(is_segment(&random()));
        assert_ne!(random(), random());
    }
}
