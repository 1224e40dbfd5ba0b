//! A filter: which messages of a channel a subscription is given.
//!
//! Guarantees: only the fields that a condition names are read, so that nothing else in the data can hide a
//! message: a log may hold data that would not be taken today.
//! It is not the judgement of a request: `subscription` refuses what is no filter.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tidings_core::{Message, Pattern, json};

/// Which messages pass. Conditions are joined by AND; absent ones pass everything.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Event types.
    #[serde(default)]
    pub types: Option<Vec<Pattern>>,
    /// Top-level fields of `data`: the value, or one of the values.
    #[serde(default, rename = "where")]
    pub conditions: Option<BTreeMap<String, Value>>,
}

impl Filter {
    /// Whether a message passes.
    #[must_use]
    pub fn passes(&self, message: &Message) -> bool {
        if let Some(types) = &self.types
            && !types.iter().any(|pattern| pattern.matches_event(&message.event_type))
        {
            return false;
        }
        let Some(conditions) = self.conditions.as_ref().filter(|conditions| !conditions.is_empty()) else {
            return true;
        };
        let data = json::Text::new(message.payload.json());
        // What cannot be read at all is for the client to judge.
        let Ok(fields) = data.read::<BTreeMap<String, &RawValue>>() else { return true };
        conditions.iter().all(|(field, expected)| {
            let value = fields.get(field).and_then(|value| simple(value));
            value.is_some_and(|value| match expected {
                Value::Array(several) => several.iter().any(|one| same(one, &value)),
                one => same(one, &value),
            })
        })
    }
}

/// A value that a condition can be equal to: no object, no array, and no number that no condition can name.
fn simple(value: &RawValue) -> Option<Value> {
    let nested = value.get().starts_with(['{', '[']);
    if nested { None } else { json::from_str(value.get()).ok() }
}

/// Numbers are the same however they are written: 1, 1.0 and 1e0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_core::{Event, Payload, Timestamp};

    use super::*;

    fn passes(conditions: &Value, data: &str) -> bool {
        let filter: Filter = serde_json::from_value(json!({ "where": conditions })).expect("a filter");
        let event = Event {
            event_type: "build.done".parse().expect("a type"),
            payload: Payload::kept(data),
            channel: None,
            by: None,
            id: None,
        };
        let channel = "build:1".parse().expect("a channel");
        filter.passes(&Message::new(channel, Some(1), Timestamp(0), event))
    }

    #[test]
    fn a_condition_is_equal_to_a_value_however_it_is_written() {
        let table = [
            (json!({"a": 1}), r#"{"a":1.0}"#, true),
            (json!({"a": 1.0}), r#"{"a":1}"#, true),
            (json!({"a": 100}), r#"{"a":1e2}"#, true),
            (json!({"a": 1}), r#"{"a":2}"#, false),
            (json!({"a": 9_007_199_254_740_993_u64}), r#"{"a":9007199254740992}"#, false),
            (json!({"a": ["x", null]}), r#"{"a":null}"#, true),
            (json!({"a": null}), "{}", false),
            (json!({"a": "é"}), r#"{"\u0061":"\u00e9"}"#, true),
            (json!({"a": "\u{FFFD}"}), r#"{"a":"\ud83d"}"#, true),
            (json!({"\u{FFFD}": true}), r#"{"\ude00":true}"#, true),
            (json!({"a": "x"}), r#"{"a":["x"]}"#, false),
        ];
        for (conditions, data, expected) in table {
            assert_eq!(passes(&conditions, data), expected, "{conditions} {data}");
        }
    }

    #[test]
    fn data_that_would_not_be_taken_today_hides_no_message_from_a_condition() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for other in [deep.as_str(), "1e400", r#""\ud83d""#] {
            let data = format!(r#"{{"other":{other},"kind":"x"}}"#);
            assert!(passes(&json!({"kind": "x"}), &data), "{other:.20}");
            assert!(!passes(&json!({"kind": "y"}), &data), "{other:.20}");
            assert!(!passes(&json!({"other": 1}), &data), "{other:.20}");
        }
        assert!(passes(&json!({"kind": "x"}), "what is no object"));
    }
}
