//! Which fields of an input go together, as its schema says it.
//!
//! Guarantees: a field that is null counts as one that is not there, as it does where inputs are read.
//! It checks nothing: whoever reads the input does, and a test holds the two together.

use serde_json::{Value, json};

/// Of two fields, each of this type of JSON, exactly one is there: for `anyOf`, of which only one can hold.
pub(crate) fn one_of(one: (&str, &str), other: (&str, &str)) -> Value {
    let only = |(field, kind): (&str, &str), absent: &str| json!({ "required": [field], "properties": { field: { "type": kind }, absent: { "type": "null" } } });
    json!([only(one, other.0), only(other, one.0)])
}

/// That a field is there, of this type of JSON: for `if` and `then`.
pub(crate) fn given(field: &str, kind: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "type": kind } } })
}

/// That these fields are not there: for `then` and `else`.
pub(crate) fn absent(fields: &[&str]) -> Value {
    let fields: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), json!({ "type": "null" }))).collect();
    json!({ "properties": fields })
}
