//! What a domain's contract is made of: a row for each event, with the type of its data.
//!
//! Guarantees: a row's type, durability, schema, rules and example are said once, by [`events!`](crate::events);
//! whatever is checked, documented or generated of an event comes from its row.
//! It is not a route: which channel an event belongs to is its handler's.

use std::{fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use validator::Validate;

use crate::{Event, Payload, Result, refusal::check_under};

/// Makes the schema of a type.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Who says an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The server alone. Nobody outside can publish it, whatever the grant: it gives rights, or is a copy.
    Server,
    /// A service of the server, and outside whoever has the grant to ingest.
    Service,
    /// Whoever has the grant to publish.
    Anyone,
}

/// The type of an event's data, behind an object-safe face.
pub trait DataType: Send + Sync {
    /// Its schema.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;

    /// Reads a payload as this type and holds it against the type's rules. The value that was read
    /// stays beside the JSON, so that nobody reads it again.
    ///
    /// # Errors
    /// `invalid_data` with the fields.
    fn read(&self, payload: &mut Payload) -> Result<()>;
}

struct Typed<T>(PhantomData<fn() -> T>);

impl<T> DataType for Typed<T>
where
    T: JsonSchema + DeserializeOwned + Validate + Send + Sync + 'static,
{
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }

    fn read(&self, payload: &mut Payload) -> Result<()> {
        check_under("data.", &*payload.read::<T>()?)
    }
}

/// The face of a Rust type.
#[must_use]
pub const fn data<T>() -> &'static dyn DataType
where
    T: JsonSchema + DeserializeOwned + Validate + Send + Sync + 'static,
{
    const { &Typed::<T>(PhantomData) }
}

/// Any data: nothing is known of it.
struct Anything;

impl DataType for Anything {
    fn schema(&self, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }

    fn read(&self, _: &mut Payload) -> Result<()> {
        Ok(())
    }
}

/// An event type that a domain knows. See [`events!`](crate::events).
#[derive(Clone, Copy)]
pub struct EventRow {
    /// The type.
    pub event_type: &'static str,
    /// Whether it is numbered and kept.
    pub durable: bool,
    /// Who says it.
    pub source: Source,
    /// The namespace of the channel that it comes in, if that is not its domain's: of a copy, and of a domain
    /// that has no channels of its own.
    pub namespace: Option<&'static str>,
    /// What it tells.
    pub doc: &'static str,
    /// The type of its data.
    pub data: &'static dyn DataType,
    /// An example of its data, as JSON; empty where there is none.
    pub example: &'static str,
}

impl EventRow {
    /// A row of which no more is known than its type and durability; a service's, unless it is said otherwise.
    #[must_use]
    pub const fn untyped(event_type: &'static str, durable: bool) -> Self {
        Self { event_type, durable, source: Source::Service, namespace: None, doc: "", data: &Anything, example: "" }
    }

    /// The event of the example, as somebody outside would send it; none without an example.
    ///
    /// # Panics
    /// If the row's own texts are no event type or no JSON.
    #[must_use]
    pub fn sample(&self) -> Option<Event> {
        let event_type = self.event_type.parse().expect("a row has an event type");
        let json: &RawValue =
            (!self.example.is_empty()).then(|| serde_json::from_str(self.example).expect("an example is JSON"))?;
        Some(Event { event_type, payload: Payload::raw(json), channel: None, by: None, id: None })
    }
}

impl fmt::Debug for EventRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventRow({})", self.event_type)
    }
}

/// Declares the events of a domain: a constant with the type of each, and the list of their rows.
///
/// A row is its documentation, its constant, its event type, `durable` or `ephemeral`, the Rust type of
/// its data and an example. `from anyone` or `from server` says who may say it, if that is not a service:
/// see [`Source`](crate::contract::Source). `in "project"` says that it comes in channels of that namespace.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, validator::Validate, schemars::JsonSchema)]
/// #[serde(rename_all = "camelCase")]
/// struct Started {
///     /// What is deployed.
///     deploy_id: String,
/// }
///
/// tidings_core::events! {
///     /// The events of deployments.
///     pub const EVENTS;
///
///     /// Something is being deployed.
///     STARTED = "deploy.started": durable Started, from anyone, r#"{"deployId":"d1"}"#;
/// }
/// assert_eq!((STARTED, EVENTS[0].doc), ("deploy.started", "Something is being deployed."));
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$list_doc:meta])* $visibility:vis const $list:ident;
        $(
            $(#[doc = $doc:literal])+
            $name:ident = $event_type:literal: $durability:ident $data:ty
                $(, from $source:ident)? $(, in $namespace:literal)?, $example:literal;
        )+
    ) => {
        $(
            $(#[doc = $doc])+
            #[doc = concat!("\n\nIts data is a `", stringify!($data), "`.")]
            $visibility const $name: &str = $event_type;
        )+

        $(#[$list_doc])*
        $visibility const $list: &[$crate::contract::EventRow] = &[$(
            $crate::contract::EventRow {
                event_type: $name,
                durable: $crate::events!(@$durability),
                source: $crate::events!(@from $($source)?),
                namespace: $crate::events!(@in $($namespace)?),
                doc: concat!($($doc),+).trim_ascii(),
                data: $crate::contract::data::<$data>(),
                example: $example,
            },
        )+];
    };
    (@durable) => { true };
    (@ephemeral) => { false };
    (@in) => { None };
    (@in $namespace:literal) => { Some($namespace) };
    (@from) => { $crate::contract::Source::Service };
    (@from anyone) => { $crate::contract::Source::Anyone };
    (@from server) => { $crate::contract::Source::Server };
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::Code;

    #[derive(Debug, Serialize, Deserialize, Validate, JsonSchema, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Made {
        /// Which.
        #[validate(length(min = 1, max = 3, message = "is 1 to 3 characters"))]
        thing_id: String,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
    struct Part {
        size: u32,
    }

    events! {
        /// Rows.
        pub(super) const ROWS;

        /// A thing
        /// was made.
        MADE = "thing.made": durable Made, r#"{"thingId":"a"}"#;
        /// It moved.
        MOVED = "thing.moved": ephemeral Made, from anyone, r#"{"thingId":"b"}"#;
    }

    fn refused(json: &str) -> Vec<(String, String)> {
        let mut payload = Payload::raw(serde_json::from_str(json).expect("JSON"));
        let error = ROWS[0].data.read(&mut payload).expect_err("refused");
        assert_eq!(error.code(), Code::InvalidData);
        error.fields().iter().map(|(field, why)| (field.clone(), why.clone())).collect()
    }

    #[test]
    fn a_row_says_all_of_its_event() {
        let [made, moved] = ROWS else { panic!("two rows") };
        assert_eq!((made.event_type, made.durable, made.source), (MADE, true, Source::Service));
        assert_eq!((moved.event_type, moved.durable, moved.source), (MOVED, false, Source::Anyone));
        assert_eq!(made.doc, "A thing was made.");
        let schema = made.data.schema(&mut SchemaGenerator::default());
        let id = &schema.as_value()["properties"]["thingId"];
        assert_eq!((&id["maxLength"], &id["description"]), (&3.into(), &"Which.".into()));
    }

    #[test]
    fn what_was_read_stays_beside_its_json() {
        let mut event = ROWS[0].sample().expect("an example");
        ROWS[0].data.read(&mut event.payload).expect("reads");
        let first = event.payload.typed::<Made>().expect("typed");
        assert!(std::sync::Arc::ptr_eq(&first, &event.payload.typed::<Made>().expect("typed")));
        assert_eq!(event.payload.json(), ROWS[0].example);
    }

    #[test]
    fn data_that_breaks_its_type_or_a_rule_is_refused_with_the_field() {
        let field = |name: &str, why: &str| vec![(name.to_owned(), why.to_owned())];
        assert_eq!(refused("{}"), field("data.thingId", "is missing"));
        assert_eq!(refused(r#"{"thingId":""}"#), field("data.thingId", "is 1 to 3 characters"));
        assert_eq!(refused(r#"{"thingId":5}"#), field("data.thingId", "expected a string"));
        assert_eq!(refused(r#"{"thingId":"a","parts":[{"size":-1}]}"#), field("data.parts[0].size", "expected u32"));
        assert_eq!(refused(r#"{"thingId":"a","parts":[{}]}"#), field("data.parts[0].size", "is missing"));
        assert_eq!(refused("5"), field("data", "expected struct Made"));
    }
}
