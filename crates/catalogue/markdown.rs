//! The catalogue as a page for people: every event with its data and an example, every notice, every command.
//!
//! Guarantees: a page that begins with what it is and what it is made from.
//! It does not explain the wire: docs/PROTOCOL.md does.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_core::contract::Source;

use crate::{
    typescript::type_of,
    vocabulary::{Kind, Told, Vocabulary},
};

const HEAD: &str = "# Events

Every event that the server knows, with its data and an example. This page is made from the types of the server by `cargo xtask gen`. What a message is, how to follow a channel and what errors look like is in [PROTOCOL.md](PROTOCOL.md); the same as types: [schemas/tidings.ts](../schemas/tidings.ts), as JSON Schema: [schemas/events.schema.json](../schemas/events.schema.json).

A **durable** event is numbered, stored and replayed, an **ephemeral** one is not. What a **service** says, producers outside may publish with the grant `ingest`; what **anyone** says, with the grant `publish`; what the **server** says, nobody else. A field with `?` may be absent. Further types of these domains pass as their producers' own.
";

/// The whole page.
pub(crate) fn document(vocabulary: &Vocabulary) -> String {
    let mut text = HEAD.to_owned();
    for kind in &vocabulary.kinds {
        text += &channel(vocabulary, kind);
    }
    text += "\n## Notices\n\nWhat the server says of connections and subscriptions, as messages without a number.\n";
    for notice in &vocabulary.notices {
        text += &format!(
            "\n### {}\n\n{}\n{}",
            notice.event_type,
            line(&notice.doc),
            fields(vocabulary.resolved(&notice.data))
        );
    }
    text += "\n## Types\n\nWhat the fields above are of.\n";
    for (name, schema) in mentioned(vocabulary) {
        let doc = line(schema["description"].as_str().unwrap_or_default());
        let fields = fields(schema);
        let form = if fields.is_empty() { format!("\n`{}`\n", type_of(schema, 0).replace('\n', " ")) } else { fields };
        text += &format!("\n### {name}\n\n{doc}\n{form}");
    }
    text
}

fn channel(vocabulary: &Vocabulary, kind: &Kind) -> String {
    let mut text = format!("\n## {}\n", kind.template);
    if let Some(snapshot) = &kind.snapshot {
        text +=
            &format!("\nIts snapshot is a [{0}](#{1}).\n", type_of(snapshot, 0), type_of(snapshot, 0).to_lowercase());
    }
    for told in &kind.events {
        text += &event(vocabulary, told);
    }
    text
}

fn event(vocabulary: &Vocabulary, told: &Told) -> String {
    let row = &told.row;
    let durability = if row.durable { "durable" } else { "ephemeral" };
    let source = match row.source {
        Source::Server => "the server",
        Source::Service => "a service",
        Source::Anyone => "anyone",
    };
    let copy = if row.namespace.is_some() && row.source == Source::Server { " It is a copy." } else { "" };
    let mut text =
        format!("\n### {}\n\n{} **{durability}**, said by **{source}**.{copy}\n", row.event_type, line(row.doc));
    text += &fields(vocabulary.resolved(&told.data));
    if !row.example.is_empty() {
        text += &format!("\n```json\n{}\n```\n", row.example);
    }
    text
}

/// A table of an object's fields; empty for what has none.
fn fields(schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        return String::new();
    };
    let needed = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let mut text = "\n| field | type | meaning |\n|---|---|---|\n".to_owned();
    for (name, schema) in properties {
        let mark = if needed(name) { "" } else { "?" };
        let of = type_of(schema, 0).split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let doc = line(schema["description"].as_str().unwrap_or_default()).replace('|', "\\|");
        text += &format!("| `{name}`{mark} | `{of}` | {doc} |\n");
    }
    text
}

/// The definitions that data, snapshots and notices refer to, by name.
fn mentioned(vocabulary: &Vocabulary) -> BTreeMap<&str, &Value> {
    let events = vocabulary.kinds.iter().flat_map(|kind| &kind.events).map(|told| told.data.as_str());
    let tops = events.chain(vocabulary.notices.iter().map(|notice| notice.data.as_str()));
    let tops: Value = tops.map(|name| vocabulary.definition(name).clone()).collect();
    let snapshots: Value = vocabulary.kinds.iter().filter_map(|kind| kind.snapshot.clone()).collect();
    let mut found = vocabulary.mentioned_in(&tops);
    found.append(&mut vocabulary.mentioned_in(&snapshots));
    found
}

/// A text in one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
