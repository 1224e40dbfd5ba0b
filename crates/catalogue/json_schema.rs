//! The catalogue as one JSON Schema: it holds for every message, and its definitions are all types.
//!
//! Guarantees: a message of a known type is held against the schema of its data; one of an unknown type
//! passes as a message.
//! It is not what the server checks by: that is done by the types themselves.

use serde_json::{Value, json};

use crate::vocabulary::{Vocabulary, reference};

/// The whole schema.
pub(crate) fn document(vocabulary: &Vocabulary) -> Value {
    let events = vocabulary.kinds.iter().flat_map(|kind| &kind.events);
    let rules: Vec<Value> = events
        .map(|told| {
            let numbered = if told.row.durable {
                json!({ "required": ["seq"] })
            } else {
                json!({ "properties": { "seq": false } })
            };
            json!({
                "if": { "properties": { "type": { "const": told.row.event_type } } },
                "then": { "allOf": [numbered, { "properties": { "data": reference(&told.data) } }] },
            })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message of a channel of Tidings",
        "$ref": "#/$defs/Message",
        "allOf": rules,
        "$defs": vocabulary.definitions,
    })
}
