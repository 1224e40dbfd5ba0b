//! A JSON Schema as a TypeScript type.
//!
//! Guarantees: every value that the schema allows is of the type; where TypeScript cannot say as much, as
//! with lengths and patterns, the type allows more.
//! It knows what Rust types, and people who write schemas by hand, use: no `if`, no `dependentSchemas`.

use serde_json::{Map, Value};

/// The type of a schema. Its further lines are indented by so many levels.
pub(crate) fn type_of(schema: &Value, level: usize) -> String {
    let Value::Object(fields) = schema else {
        return if schema == &Value::Bool(false) { "never" } else { "unknown" }.to_owned();
    };
    if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    if let Some(value) = fields.get("const") {
        return value.to_string();
    }
    if let Some(Value::Array(values)) = fields.get("enum") {
        return union(values.iter().map(Value::to_string));
    }
    let mut parts = Vec::new();
    for (keyword, separator) in [("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")] {
        if let Some(Value::Array(members)) = fields.get(keyword) {
            let members: Vec<String> = members.iter().map(|member| type_of(member, level)).collect();
            if separator == " | " {
                parts.push(union(members));
            } else {
                // What says nothing of a type, such as an `if`, takes nothing from it either.
                parts.extend(members.into_iter().filter(|member| member != "unknown"));
            }
        }
    }
    let structural = fields.contains_key("properties") || fields.contains_key("type");
    if structural || parts.is_empty() {
        parts.insert(0, plain(fields, level));
    }
    match parts.len() {
        1 => parts.remove(0),
        _ => parts.iter().map(|part| grouped(part)).collect::<Vec<_>>().join(" & "),
    }
}

/// The type that `type`, `properties` and `items` say.
fn plain(fields: &Map<String, Value>, level: usize) -> String {
    match fields.get("type") {
        Some(Value::Array(kinds)) => union(kinds.iter().filter_map(Value::as_str).map(|kind| one(kind, fields, level))),
        Some(Value::String(kind)) => one(kind, fields, level),
        _ if fields.contains_key("properties") => object(fields, level),
        _ => "unknown".to_owned(),
    }
}

fn one(kind: &str, fields: &Map<String, Value>, level: usize) -> String {
    match kind {
        "object" => object(fields, level),
        "array" => array(fields, level),
        "integer" | "number" => "number".to_owned(),
        "string" | "boolean" | "null" => kind.to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn array(fields: &Map<String, Value>, level: usize) -> String {
    // Where there may be more than the first ones, those say only what a type cannot.
    if let (Some(Value::Array(places)), None) = (fields.get("prefixItems"), fields.get("items")) {
        let places: Vec<String> = places.iter().map(|place| type_of(place, level)).collect();
        return format!("[{}]", places.join(", "));
    }
    format!("{}[]", grouped(&fields.get("items").map_or_else(|| "unknown".to_owned(), |items| type_of(items, level))))
}

fn object(fields: &Map<String, Value>, level: usize) -> String {
    let empty = Map::new();
    let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let others = others(fields, level);
    if properties.is_empty() {
        return others.map_or_else(|| "Record<string, unknown>".to_owned(), |value| format!("Record<string, {value}>"));
    }
    let required: Vec<&str> =
        fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let indent = "  ".repeat(level + 1);
    let mut text = "{\n".to_owned();
    for (name, schema) in properties {
        text += &comment(schema.get("description").and_then(Value::as_str).unwrap_or_default(), level + 1);
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        text += &format!("{indent}{}{mark}: {};\n", key(name), type_of(schema, level + 1));
    }
    if others.is_some() {
        // What else there is must not contradict the fields that are known.
        text += &format!("{indent}[more: string]: unknown;\n");
    }
    text + &"  ".repeat(level) + "}"
}

/// The type of properties that are not named, where the schema speaks of them.
fn others(fields: &Map<String, Value>, level: usize) -> Option<String> {
    if let Some(Value::Object(patterns)) = fields.get("patternProperties") {
        return Some(union(patterns.values().map(|schema| type_of(schema, level))));
    }
    fields.get("additionalProperties").filter(|more| **more != Value::Bool(false)).map(|more| type_of(more, level))
}

fn union(members: impl IntoIterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for member in members {
        if !seen.contains(&member) {
            seen.push(member);
        }
    }
    seen.join(" | ")
}

fn grouped(text: &str) -> String {
    let simple = !text.contains(" | ") && !text.contains(" & ") || is_one_object(text);
    if simple { text.to_owned() } else { format!("({text})") }
}

/// Whether the object that a text begins with ends where the text does, whatever its fields are.
fn is_one_object(text: &str) -> bool {
    let mut depth = 0;
    let end = text.find(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.is_some_and(|end| end + 1 == text.len())
}

/// A property's name, quoted where it has to be.
pub(crate) fn key(name: &str) -> String {
    let plain =
        name.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit()));
    if plain && !name.is_empty() { name.to_owned() } else { Value::from(name).to_string() }
}

/// A text as a comment on what follows; nothing for an empty one.
pub(crate) fn comment(text: &str, level: usize) -> String {
    let indent = "  ".repeat(level);
    let text = text.replace("*/", "* /");
    match text.trim().lines().collect::<Vec<_>>()[..] {
        [] => String::new(),
        [line] => format!("{indent}/** {line} */\n"),
        ref lines => {
            let body: String =
                lines.iter().map(|line| format!("{indent} * {}", line.trim()).trim_end().to_owned() + "\n").collect();
            format!("{indent}/**\n{body}{indent} */\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_keyword_has_its_type() {
        let table = [
            (json!(true), "unknown"),
            (json!({}), "unknown"),
            (json!(false), "never"),
            (json!({"$ref": "#/$defs/Channel"}), "Channel"),
            (json!({"type": "integer", "minimum": 0}), "number"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (json!({"const": "a"}), "\"a\""),
            (json!({"enum": ["a", 1]}), "\"a\" | 1"),
            (json!({"type": "string", "enum": ["a"]}), "\"a\""),
            (json!({"oneOf": [{"const": "a"}, {"const": "b"}, {"const": "a"}]}), "\"a\" | \"b\""),
            (json!({"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}), "A | null"),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "(string | null)[]"),
            (json!({"type": "array"}), "unknown[]"),
            (json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]}), "[string, number]"),
            (json!({"type": "array", "prefixItems": [{"minLength": 1}], "items": {"type": "string"}}), "string[]"),
            (json!({"type": "object"}), "Record<string, unknown>"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "Record<string, string>"),
            (json!({"type": "object", "patternProperties": {"^a$": {"type": "number"}}}), "Record<string, number>"),
            (json!({"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]}), "A & B"),
            (json!({"allOf": [{"$ref": "#/$defs/A"}, {"if": {"required": ["a"]}, "then": {"required": ["b"]}}]}), "A"),
        ];
        for (schema, expected) in table {
            assert_eq!(type_of(&schema, 0), expected, "{schema}");
        }
    }

    #[test]
    fn an_object_has_its_fields_with_what_they_mean_and_whether_they_may_be_absent() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "string", "description": "One */ two."}, "b-c": {"type": "object", "properties": {"d": {}}}},
            "required": ["a"],
        });
        assert_eq!(
            type_of(&schema, 0),
            "{\n  /** One * / two. */\n  a: string;\n  \"b-c\"?: {\n    d?: unknown;\n  };\n}"
        );
        let either = json!({
            "properties": {"a": {}, "b": {}},
            "oneOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}],
        });
        let expected = "{\n  a?: unknown;\n  b?: unknown;\n} & ({\n  a: unknown;\n} | {\n  b: unknown;\n})";
        assert_eq!(type_of(&either, 0), expected);
        let open = json!({"properties": {"a": {"type": "string"}}, "additionalProperties": true});
        assert_eq!(type_of(&open, 0), "{\n  a?: string;\n  [more: string]: unknown;\n}");
    }
}
