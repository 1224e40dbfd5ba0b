//! What a connection asks for beside commands: arguments, answers, and their rows for the documents.
//!
//! Guarantees: what is documented is what is parsed and written.
//! It is not the work: see `command`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use smol_str::SmolStr;
use tidings_core::{Channel, Error, EventType, Result, Timestamp, document::RequestRow, identity::Secret, refusal};
use tidings_engine::hub::{MAX_BATCH, Outcome, SubscribeRequest};

use super::command::{Failed, Ok, PlacedAnswer};

/// What `unsubscribe` takes: a channel, several, or all of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is what the document says; `names` reads it")]
pub(super) enum Which {
    /// One.
    One(#[schemars(with = "Channel")] String),
    /// Several.
    Several(#[schemars(with = "Vec<Channel>")] Vec<String>),
    /// All.
    All(All),
}

/// What `unsubscribe` takes for all channels.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct All {
    /// Only `true`.
    all: bool,
}

impl Which {
    /// Reads it: none for all.
    ///
    /// # Errors
    /// `bad_request`, `invalid_data` with the field.
    pub(super) fn names(text: &str) -> Result<Option<Vec<String>>> {
        match text.trim_ascii_start().as_bytes().first() {
            Some(b'"') => Result::Ok(Some(vec![refusal::read(text)?])),
            Some(b'[') => refusal::read(text).map(Some),
            Some(b'{') => match refusal::read(text)? {
                All { all: true } => Result::Ok(None),
                All { all: false } => Err(Error::invalid_field("all", "can only be true")),
            },
            _ => Err(Error::bad_request("unsubscribe takes a channel, an array of channels, or {all: true}")),
        }
    }
}

/// What `auth.refresh` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// A token of the same user.
    pub(super) token: Secret,
}

/// What `auth.refresh` answers.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refreshed {
    /// When the new token ends.
    pub(super) expires_at: Option<Timestamp>,
}

/// What `publish` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish<'a> {
    /// Where.
    #[schemars(with = "Channel")]
    pub(super) channel: Value,
    /// The event type.
    #[schemars(with = "EventType")]
    pub(super) r#type: Value,
    /// The data, which is passed on byte for byte.
    #[serde(borrow)]
    #[schemars(with = "Map<String, Value>")]
    pub(super) data: &'a RawValue,
    /// An idempotency id: a repeat within 24 hours gives the first place.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) id: Option<SmolStr>,
}

/// Nothing but that all is well.
#[derive(Serialize, JsonSchema)]
pub(super) struct Nothing {}

/// What a connection may ask for, beside the commands of the domains.
pub const REQUESTS: &[RequestRow] = &[
    RequestRow {
        name: "subscribe",
        doc: "Follows a channel, or several. The answer comes before the subscription's messages.",
        argument: |generator| {
            let one = [generator.subschema_for::<Channel>(), generator.subschema_for::<SubscribeRequest>()];
            or_several(&one)
        },
        answer: |generator| {
            let one = generator.subschema_for::<Outcome>();
            let refused = generator.subschema_for::<Failed<'static>>();
            let several = json_schema!({
                "type": "object",
                "properties": { "ok": { "const": true }, "results": { "type": "array", "items": { "anyOf": [one, refused] } } },
                "required": ["ok", "results"],
            });
            json_schema!({ "anyOf": [one, several] })
        },
    },
    RequestRow {
        name: "unsubscribe",
        doc: "Follows it no more: nothing of the channel comes after the answer.",
        argument: Which::json_schema,
        answer: Ok::<Nothing>::json_schema,
    },
    RequestRow {
        name: "publish",
        doc: "Publishes an event.",
        argument: Publish::json_schema,
        answer: Ok::<PlacedAnswer>::json_schema,
    },
    RequestRow {
        name: "auth.refresh",
        doc: "Goes on with a new token. Subscriptions that it does not allow end.",
        argument: Refresh::json_schema,
        answer: Ok::<Refreshed>::json_schema,
    },
];

/// The schema of what is answered to a request that is refused.
pub fn refused_shape(generator: &mut SchemaGenerator) -> Schema {
    Failed::<'static>::json_schema(generator)
}

fn or_several(one: &[Schema]) -> Schema {
    let several = json_schema!({ "type": "array", "items": { "anyOf": one }, "maxItems": MAX_BATCH });
    let all: Vec<&Schema> = one.iter().chain([&several]).collect();
    json_schema!({ "anyOf": all })
}
