//! Fields of an input that are said to be nothing, and fields that are not there: they are the same.
//!
//! Guarantees: only fields that the input's type knows, and that may be left out, are taken out; what is kept as it
//! came - free JSON, maps of a client's own names - keeps its nulls.
//! It is not the reading of an input: that is serde's, which takes either for the same.

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::contract::Shape;

/// Where the definitions of a schema are referred to.
const DEFINITIONS: &str = "#/$defs/";

/// Takes the fields out of an input that are null and may be left out.
pub(super) fn take_out(input: &mut Value, shape: Shape) {
    let mut generator = SchemaGenerator::default();
    let schema = shape(&mut generator);
    let definitions = generator.take_definitions(true);
    Known { definitions: &definitions }.clear(input, schema.as_value());
}

struct Known<'a> {
    definitions: &'a Map<String, Value>,
}

impl Known<'_> {
    fn clear(&self, value: &mut Value, schema: &Value) {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix(DEFINITIONS)) {
            return self.definitions.get(name).map_or((), |schema| self.clear(value, schema));
        }
        for forms in ["allOf", "anyOf", "oneOf"] {
            schema[forms].as_array().into_iter().flatten().for_each(|schema| self.clear(value, schema));
        }
        match value {
            Value::Object(fields) => self.clear_fields(fields, schema),
            Value::Array(items) => items.iter_mut().for_each(|item| self.clear(item, &schema["items"])),
            _ => {}
        }
    }

    fn clear_fields(&self, fields: &mut Map<String, Value>, schema: &Value) {
        let known = schema["properties"].as_object();
        let is_needed = |name: &str| schema["required"].as_array().into_iter().flatten().any(|needed| needed == name);
        fields.retain(|name, value| {
            !(value.is_null() && known.is_some_and(|known| known.contains_key(name)) && !is_needed(name))
        });
        for (name, value) in fields {
            let of_map = || Some(&schema["additionalProperties"]).filter(|schema| schema.is_object());
            if let Some(schema) = known.and_then(|known| known.get(name)).or_else(of_map) {
                self.clear(value, schema);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only its schema is asked for")]
    struct Input {
        needed: String,
        #[serde(default)]
        title: Option<String>,
        tree_name: Option<Tree>,
        trees: Option<Vec<Tree>>,
        names: BTreeMap<String, Tree>,
        free: Option<Value>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is asked for")]
    struct Tree {
        name: String,
        branch: Option<String>,
    }

    #[test]
    fn what_is_null_and_may_be_left_out_is_taken_out_wherever_the_type_knows_it_and_nothing_else() {
        let table = [
            (json!({"needed": "a", "title": null, "treeName": null, "free": null}), json!({"needed": "a"})),
            (json!({"treeName": {"name": "a", "branch": null}}), json!({"treeName": {"name": "a"}})),
            (json!({"trees": [{"name": "a", "branch": null}]}), json!({"trees": [{"name": "a"}]})),
            (json!({"names": {"x": {"name": "a", "branch": null}}}), json!({"names": {"x": {"name": "a"}}})),
            (json!({"names": {"x": null}}), json!({"names": {"x": null}})),
            (json!({"free": {"a": null, "title": null}}), json!({"free": {"a": null, "title": null}})),
            (json!({"needed": null, "unknown": null}), json!({"needed": null, "unknown": null})),
            (json!({"title": ""}), json!({"title": ""})),
            (json!(null), json!(null)),
        ];
        for (mut input, expected) in table {
            let shown = input.to_string();
            take_out(&mut input, Input::json_schema);
            assert_eq!(input, expected, "{shown}");
        }
    }
}
