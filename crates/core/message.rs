//! A message: an event as it stands in a channel, with its number and time.
//!
//! Guarantees: immutable and shared.
//! It is not a delivery: who gets it, and when, is the hub's.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Channel, Event, EventType, Payload, UserId};

mod envelope;
mod time;

/// A message's number in its channel: 1, 2, 3 … without holes; 0 is before the first.
pub type Seq = u64;

/// What a channel's numbering belongs to. It changes when the numbering cannot be trusted to continue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub SmolStr);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a message stands: `(channel, epoch, seq)` identifies it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The numbering.
    pub epoch: Epoch,
    /// The number.
    pub seq: Seq,
}

/// An instant in milliseconds since 1970, UTC. On the wire: RFC 3339 with milliseconds and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

crate::text_schema!(Timestamp, {
    description: "An instant in UTC: RFC 3339 with milliseconds.",
    format: "date-time",
});

impl Timestamp {
    /// This instant and so many milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = time::rfc3339(self.0);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Instant)
    }
}

/// Reads a [`Timestamp`].
struct Instant;

impl serde::de::Visitor<'_> for Instant {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant as RFC 3339 has it")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        let unknown = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        time::parsed(text).map(Timestamp).ok_or_else(unknown)
    }
}

/// A message of a channel.
pub struct Message {
    /// Where it was published.
    pub channel: Channel,
    /// What happened.
    pub event_type: EventType,
    /// Its number; none for an ephemeral message.
    pub seq: Option<Seq>,
    /// When it was published. Never goes back within a log.
    pub time: Timestamp,
    /// The person who caused it, if one did.
    pub by: Option<UserId>,
    /// The producer's idempotency id, if it gave one.
    pub id: Option<SmolStr>,
    /// Its data.
    pub payload: Payload,
}

impl Message {
    /// An event as the message `seq` of a channel; without `seq`, ephemeral.
    #[must_use]
    pub fn new(channel: Channel, seq: Option<Seq>, time: Timestamp, event: Event) -> Self {
        let Event { event_type, payload, by, id, .. } = event;
        Self { channel, event_type, seq, time, by, id, payload }
    }

    /// The message as JSON. `dropped` counts the ephemeral messages lost before it; 0 is left out.
    ///
    /// # Panics
    /// Never: every field can be written.
    #[must_use]
    pub fn to_json(&self, dropped: u64) -> String {
        let mut json = Vec::with_capacity(self.payload.json().len() + 256);
        self.write_json(dropped, &mut json);
        String::from_utf8(json).expect("names, numbers and JSON are texts")
    }

    /// Writes the message as JSON to the end of `out`, as [`Message::to_json`].
    ///
    /// # Panics
    /// Never: every field can be written.
    pub fn write_json(&self, dropped: u64, out: &mut Vec<u8>) {
        envelope::write(self, dropped, out).expect("memory takes whatever is written, and any text has a JSON form");
    }

    /// About how much memory it holds, in bytes: data and names.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.payload.json().len() + self.channel.as_str().len() + 240
    }
}

impl JsonSchema for Message {
    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A message of a channel: an event with its number and time.",
            "properties": {
                "type": generator.subschema_for::<EventType>(),
                "channel": generator.subschema_for::<Channel>(),
                "seq": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Its number in the channel; an ephemeral message has none.",
                },
                "time": generator.subschema_for::<Timestamp>(),
                "by": {
                    "type": "object",
                    "description": "Who caused it, if a person did.",
                    "properties": { "userId": generator.subschema_for::<UserId>() },
                    "required": ["userId"],
                },
                "id": { "type": "string", "description": "The producer's idempotency id, if it gave one." },
                "dropped": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "So many ephemeral messages were left out before this one.",
                },
                "data": { "type": "object", "description": "The data of the event." },
            },
            "required": ["type", "channel", "time", "data"],
        })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:?} {}", self.channel, self.seq, self.event_type)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn an_envelope_has_the_fields_of_the_wire_and_the_data_byte_for_byte() {
        let raw: &RawValue = serde_json::from_str(r#"{ "b":1,"a": 1.0 }"#).expect("JSON");
        let event = Event {
            event_type: "session.stream_output".parse().expect("a type"),
            payload: Payload::raw(raw),
            channel: None,
            by: Some("u1".parse().expect("an id")),
            id: Some("x".into()),
        };
        let channel: Channel = "session:123".parse().expect("a channel");
        let message = Message::new(channel, Some(42), Timestamp(1_795_206_689_123), event);
        assert_eq!(
            message.to_json(0),
            r#"{"type":"session.stream_output","channel":"session:123","seq":42,"time":"2026-11-20T20:31:29.123Z","by":{"userId":"u1"},"id":"x","data":{ "b":1,"a": 1.0 }}"#
        );
        assert!(message.to_json(3).contains(r#""dropped":3,"#));
    }

    #[test]
    fn the_schema_of_a_message_has_the_fields_that_are_written() {
        let mut event = Event::new("test.said", serde_json::json!({}));
        (event.by, event.id) = (Some("u1".parse().expect("an id")), Some("x".into()));
        let message = Message::new("test:1".parse().expect("a channel"), Some(1), Timestamp(0), event);
        let written: serde_json::Value = serde_json::from_str(&message.to_json(2)).expect("JSON");
        let schema = Message::json_schema(&mut SchemaGenerator::default());
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        assert_eq!(names(&written), names(&schema.as_value()["properties"]));
    }

    #[test]
    fn an_id_of_any_characters_is_escaped_and_absent_fields_are_left_out() {
        let mut event = Event::new("test.said", 7);
        event.id = Some("a\"b\\\n\u{1}é".into());
        let channel: Channel = "test:1".parse().expect("a channel");
        let json = Message::new(channel, None, Timestamp(0), event).to_json(0);
        assert_eq!(
            json,
            r#"{"type":"test.said","channel":"test:1","time":"1970-01-01T00:00:00.000Z","id":"a\"b\\\n\u0001é","data":7}"#
        );
    }

    #[test]
    fn whole_seconds_keep_their_milliseconds_on_the_wire() {
        assert_eq!(Timestamp(1_795_206_689_000).to_string(), "2026-11-20T20:31:29.000Z");
    }
}
