//! The one error of the wire: a stable code, a text for people, and what a client needs to act.
//!
//! Guarantees: one table ([`Code`]) from code to HTTP status and retryability (protocol.md,
//! section 4), of which an error may say that it is final all the same; an [`Error`] never carries a rejected value
//! or a secret.
//! It is not a place for causes: whoever makes an `internal` error logs its cause first.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

/// The result of everything that a client can be told about.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $retryable:literal;)*) => {
        /// What went wrong; stable on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, for tables and counters.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Code::$name => $text,)* } }

            /// The HTTP status.
            #[must_use]
            pub const fn http_status(self) -> u16 { match self { $(Code::$name => $status,)* } }

            /// Whether the same request may succeed later (for 401: after a new token).
            #[must_use]
            pub const fn retryable(self) -> bool { match self { $(Code::$name => $retryable,)* } }
        }
    };
}

codes! {
    /// The request cannot be understood.
    BadRequest = "bad_request", 400, false;
    /// A channel's name breaks the grammar, or its namespace has no owner.
    InvalidChannel = "invalid_channel", 400, false;
    /// An event type breaks the grammar, or nobody routes it.
    InvalidEvent = "invalid_event", 400, false;
    /// No such command.
    UnknownCommand = "unknown_command", 400, false;
    /// No token, or one that does not verify.
    Unauthenticated = "unauthenticated", 401, true;
    /// The token's time is over.
    TokenExpired = "token_expired", 401, true;
    /// The token, its family or its user was revoked.
    TokenRevoked = "token_revoked", 401, true;
    /// Not without a grant.
    Forbidden = "forbidden", 403, false;
    /// No such thing, or none that the caller may see.
    NotFound = "not_found", 404, false;
    /// It contradicts what is already there.
    Conflict = "conflict", 409, false;
    /// Larger than the limit.
    TooLarge = "too_large", 413, false;
    /// Well-formed, but its fields are not valid; `fields` says which.
    InvalidData = "invalid_data", 422, false;
    /// Too many requests; `retryAfterMs` says when to come back.
    RateLimited = "rate_limited", 429, true;
    /// A fault of the server; the message holds an id that the log has too.
    Internal = "internal", 500, true;
    /// The server has more to do than it may hold.
    Overloaded = "overloaded", 503, true;
    /// Something that is needed does not work now.
    Unavailable = "unavailable", 503, true;
    /// The server is stopping.
    Draining = "draining", 503, true;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "ErrorCode".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = Self::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({ "type": "string", "description": "What went wrong. More may be added.", "enum": codes })
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| serde::de::Error::custom("an unknown error code"))
    }
}

/// An error as the wire has it. Boxed inside, so that a `Result` stays small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    code: Code,
    message: Cow<'static, str>,
    fields: BTreeMap<String, String>,
    retry_after_ms: Option<u64>,
    is_final: bool,
}

impl Error {
    /// An error with its code and a message for people. The message must hold no secret.
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let (message, fields) = (message.into(), BTreeMap::new());
        Self(Box::new(Inner { code, message, fields, retry_after_ms: None, is_final: false }))
    }

    /// `bad_request`.
    #[must_use]
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// `forbidden`, with the one text that tells nothing of what exists.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(Code::Forbidden, "not allowed, or not there")
    }

    /// `not_found`, with the one text that tells nothing of what exists.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "not there, or not visible")
    }

    /// `unavailable`.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// `overloaded`.
    #[must_use]
    pub fn overloaded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Overloaded, message)
    }

    /// `internal` under a fresh id. The caller logs the cause under the id that [`Error::message`] ends in.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::Internal, format!("a fault of the server; its log has it as {}", crate::id::random()))
    }

    /// `invalid_data` with one field and why it is refused. `why` must not hold the rejected value.
    #[must_use]
    pub fn invalid_field(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Code::InvalidData, "some fields are not valid").with_field(field, why)
    }

    /// Adds a field and why it is refused.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>, why: impl Into<String>) -> Self {
        self.0.fields.insert(field.into(), why.into());
        self
    }

    /// Says when to come back, in milliseconds.
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: u64) -> Self {
        self.0.retry_after_ms = Some(ms);
        self
    }

    /// Says that the same request will not succeed later, whatever others of this code do.
    #[must_use]
    pub fn not_retryable(mut self) -> Self {
        self.0.is_final = true;
        self
    }

    /// Whether the same request may succeed later (for 401: with a new token).
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.0.code.retryable() && !self.0.is_final
    }

    /// The same error of an entry of an array: its message and its fields say of which, as in `[3].data.name`.
    #[must_use]
    pub fn of_entry(mut self, index: usize) -> Self {
        if self.0.fields.is_empty() {
            let why = self.0.message.clone().into_owned();
            self.0.fields.insert(format!("[{index}]"), why);
        } else {
            self = self.at_entry(Some(index));
        }
        self.0.message = format!("event {index} of the array: {}", self.0.message).into();
        self
    }

    /// The same error with fields of this entry of an array, or of none, whatever entry they were of.
    #[must_use]
    pub fn at_entry(mut self, index: Option<usize>) -> Self {
        let bare = |field: &str| entry_of(field).map_or(field, |(_, rest)| rest).to_owned();
        let named = |field: &str| index.map_or_else(|| bare(field), |index| format!("[{index}].{}", bare(field)));
        self.0.fields = self.0.fields.iter().map(|(field, why)| (named(field), why.clone())).collect();
        self
    }

    /// The entry of an array that its fields are of, if they are of one.
    #[must_use]
    pub fn entry(&self) -> Option<usize> {
        self.0.fields.keys().find_map(|field| entry_of(field)).map(|(index, _)| index)
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Fields and why each is refused; empty for most errors.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.0.fields
    }

    /// When to come back, in milliseconds, where that is known.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.0.retry_after_ms
    }
}

/// The entry and the rest of a field such as `[3].id`.
fn entry_of(field: &str) -> Option<(usize, &str)> {
    let (index, rest) = field.strip_prefix('[')?.split_once("].")?;
    Some((index.parse().ok()?, rest))
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        for (field, why) in &self.0.fields {
            write!(f, "; {field}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.0.code.as_str())?;
        map.serialize_entry("message", &self.0.message)?;
        map.serialize_entry("retryable", &self.retryable())?;
        if !self.0.fields.is_empty() {
            map.serialize_entry("fields", &self.0.fields)?;
        }
        if let Some(ms) = self.0.retry_after_ms {
            map.serialize_entry("retryAfterMs", &ms)?;
        }
        map.end()
    }
}

impl JsonSchema for Error {
    fn schema_name() -> Cow<'static, str> {
        "ErrorBody".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "What went wrong, for programs and for people.",
            "properties": {
                "code": generator.subschema_for::<Code>(),
                "message": { "type": "string", "description": "For people." },
                "retryable": {
                    "type": "boolean",
                    "description": "Whether the same request may succeed later (for 401: with a new token).",
                },
                "fields": {
                    "type": "object",
                    "description": "Fields that are refused, and why.",
                    "additionalProperties": { "type": "string" },
                },
                "retryAfterMs": { "type": "integer", "minimum": 0, "description": "When to come back, in milliseconds." },
            },
            "required": ["code", "message", "retryable"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_fields_of_the_wire_and_no_others() {
        let error = Error::invalid_field("channel", "is too long").with_retry_after_ms(5);
        let json = serde_json::to_value(&error).expect("serialises");
        let expected = serde_json::json!({
            "code": "invalid_data", "message": "some fields are not valid", "retryable": false,
            "fields": {"channel": "is too long"}, "retryAfterMs": 5
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn an_error_can_be_final_whose_code_is_retryable_and_not_the_other_way() {
        let wrong = Error::new(Code::Unauthenticated, "wrong name or password");
        assert!(wrong.retryable() && !wrong.clone().not_retryable().retryable());
        assert_eq!(serde_json::to_value(wrong.not_retryable()).expect("serialises")["retryable"], false);
        assert!(!Error::forbidden().retryable());
    }

    #[test]
    fn an_error_of_an_entry_says_which_in_its_message_and_in_its_fields() {
        let fields = |error: &Error| error.fields().keys().cloned().collect::<Vec<_>>();
        let error = Error::invalid_field("data.name", "is missing").of_entry(3);
        assert_eq!((fields(&error), error.entry()), (vec!["[3].data.name".to_owned()], Some(3)));
        assert_eq!(error.message(), "event 3 of the array: some fields are not valid");
        assert_eq!(fields(&error.clone().at_entry(Some(5))), ["[5].data.name"]);
        assert_eq!(
            (fields(&error.clone().at_entry(None)), error.at_entry(None).entry()),
            (vec!["data.name".to_owned()], None)
        );
        assert_eq!(fields(&Error::forbidden().of_entry(2)), ["[2]"]);
    }

    #[test]
    fn every_code_reads_back_from_its_name() {
        for code in Code::ALL {
            let text = serde_json::to_string(code).expect("serialises");
            assert_eq!(serde_json::from_str::<Code>(&text).expect("parses"), *code);
        }
    }
}
