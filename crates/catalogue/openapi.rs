//! The catalogue as an OpenAPI 3.1 document: the routes of the server's own, and those of the commands.
//!
//! Guarantees: every route has its input, its answer and each status that it can be refused with; what the gate
//! refuses before a command runs, the schemas refuse too, as far as they can say it.
//! It says nothing of what comes live: that is the AsyncAPI document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tidings_core::contract::Source;

use crate::{
    Catalogue,
    responses::{self, Brings},
    vocabulary::{Asked, COMMAND_ID, Route, Vocabulary, method, pascal, reference, relocated},
};

const PLACE: &str = "#/components/schemas/";
const NEW_EVENT: &str = "NewEvent";
const ABOUT: &str = "Logins, users, channels, events and the commands of the domains. What comes live is in /asyncapi.json. \
    Where a text is bounded in bytes, as its description says, `maxLength` counts characters: one with many that are not \
    ASCII may be refused though it is shorter.";
/// What an `Idempotency-Key` may be: bare, or quoted as a structured header has it.
const KEY: &str = r#"^("[ !#-~]{1,128}"|[!#-~]([ !#-~]{0,126}[!#-~])?)$"#;
/// The most characters of one where it names events.
const MAX_EVENTS_KEY: usize = 124;

/// The whole document.
pub(crate) fn document(catalogue: &Catalogue, vocabulary: &Vocabulary) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in &vocabulary.routes {
        paths.entry(route.row.path).or_default().insert(method(route.row.method).to_owned(), of_route(route));
    }
    for asked in &vocabulary.commands {
        let row = &asked.command;
        let operation = of_command(vocabulary, asked);
        paths.entry(row.path).or_default().insert(method(row.method).to_owned(), operation);
    }
    let paths = json!(paths);
    let responses = responses::components();
    let is_sent = vocabulary.definitions.contains_key(NEW_EVENT);
    let event = if is_sent { new_event(catalogue, vocabulary) } else { Value::Null };
    let mut schemas: Map<String, Value> = vocabulary
        .mentioned_in(&json!([paths, responses, event]))
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema.clone()))
        .collect();
    if is_sent {
        schemas.insert(NEW_EVENT.to_owned(), event);
    }
    let tags: Vec<Value> = catalogue
        .domains
        .iter()
        .filter(|domain| !domain.commands.is_empty())
        .map(|domain| {
            json!({
                "name": domain.name,
                "description": format!("Commands of the domain {}.", domain.name),
            })
        })
        .chain([json!({ "name": "server", "description": "Routes of the server's own." })])
        .collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidings",
            "version": vocabulary.version,
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "responses": responses,
        },
    });
    relocated(&document, PLACE)
}

/// An event as a producer sends it, by its type: data of a known one are of its schema, what the server alone says
/// is not among them, and others are of a domain that there is.
fn new_event(catalogue: &Catalogue, vocabulary: &Vocabulary) -> Value {
    let plain = vocabulary.definition(NEW_EVENT);
    let variant = |event_type: Value, data: Option<Value>| {
        let mut variant = plain.clone();
        variant.as_object_mut().map(|fields| fields.remove("description"));
        variant["properties"]["type"] = event_type;
        if let Some(data) = data {
            variant["properties"]["data"] = data;
        }
        variant
    };
    let told: Vec<_> = vocabulary.kinds.iter().flat_map(|kind| &kind.events).collect();
    let sent = told.iter().filter(|told| told.row.source != Source::Server);
    let mut kinds: Vec<Value> =
        sent.map(|told| variant(json!({ "const": told.row.event_type }), Some(reference(&told.data)))).collect();
    let open = catalogue.domains.iter().filter(|domain| !domain.is_strict);
    let domains: Vec<&str> = open.map(|domain| domain.name.as_str()).collect();
    if !domains.is_empty() {
        let types: Vec<&str> = told.iter().map(|told| told.row.event_type).collect();
        let pattern = format!("^({})(\\.[a-z][a-z0-9_]*){{1,4}}$", domains.join("|"));
        let other = json!({ "type": "string", "maxLength": 128, "pattern": pattern, "not": { "enum": types } });
        kinds.push(variant(other, None));
    }
    // Each in full: generators of clients and of requests understand that, and not a base with alternatives.
    json!({ "description": plain["description"], "anyOf": kinds })
}

fn json_body(schema: &Value) -> Value {
    // Without a body, the input is an empty one.
    let is_needed =
        schema["required"].as_array().is_none_or(|names| !names.is_empty()) || schema.get("anyOf").is_some();
    json!({ "required": is_needed, "content": { "application/json": { "schema": schema } } })
}

/// The schema of a field as it is in an address, where nothing can be null.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if schema.get("default").is_some_and(Value::is_null) {
        schema.as_object_mut().map(|fields| fields.remove("default"));
    }
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if kinds.len() == 1 {
            schema["type"] = kinds.remove(0);
        }
    }
    let other = match schema.get("anyOf") {
        Some(Value::Array(members)) => members.iter().find(|member| member["type"] != "null").cloned(),
        _ => None,
    };
    if let (Some(Value::Object(other)), Some(fields)) = (other, schema.as_object_mut()) {
        fields.remove("anyOf");
        fields.extend(other);
    }
    schema
}

fn parameter(name: &str, place: &str, schema: &Value, required: bool) -> Value {
    let mut schema = without_null(schema);
    let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
    let mut parameter = json!({ "name": name, "in": place, "required": required, "schema": schema });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter
}

/// The fields that are open in a path.
fn open(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn of_route(route: &Route) -> Value {
    let row = &route.row;
    let segment = route.segment.clone().unwrap_or_else(|| json!({ "type": "string" }));
    let mut parameters: Vec<Value> = open(row.path).map(|name| parameter(name, "path", &segment, true)).collect();
    for (field, schema) in row.query.iter().zip(&route.query) {
        let mut schema = schema.clone();
        schema["description"] = field.doc.into();
        parameters.push(parameter(field.name, "query", &schema, false));
    }
    if let Some(doc) = row.key {
        let key = json!({ "type": "string", "pattern": KEY, "maxLength": MAX_EVENTS_KEY, "description": doc });
        parameters.push(parameter("Idempotency-Key", "header", &key, false));
    }
    let mut operation = json!({
        "operationId": format!("{}{}", method(row.method), if row.path == "/" { "Page".to_owned() } else { pascal(row.path) }),
        "summary": row.doc,
        "tags": ["server"],
        "parameters": parameters,
        "responses": responses::of_route(route),
    });
    if row.public {
        operation["security"] = json!([]);
    }
    if let Some(schema) = &route.body {
        operation["requestBody"] = json_body(schema);
    }
    operation
}

fn of_command(vocabulary: &Vocabulary, asked: &Asked) -> Value {
    let row = &asked.command;
    let input = vocabulary.definition(&asked.input);
    let empty = Map::new();
    let fields = input.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = |name: &str| input["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let in_path: Vec<&str> = open(row.path).collect();
    let in_query = matches!(method(row.method), "get" | "delete");
    let mut parameters: Vec<Value> =
        in_path.iter().map(|name| parameter(name, "path", fields.get(*name).unwrap_or(&json!({})), true)).collect();
    let is_elsewhere = |name: &str| in_path.contains(&name) || (in_query && name == COMMAND_ID);
    let rest = fields.iter().filter(|(name, _)| !is_elsewhere(name));
    let mut operation = json!({ "operationId": row.name, "summary": row.doc, "tags": [row.name.split('.').next()] });
    if in_query {
        parameters.extend(rest.map(|(name, schema)| parameter(name, "query", schema, required(name))));
    } else {
        let mut body = input.clone();
        let rest: Map<String, Value> = rest.map(|(name, schema)| (name.clone(), schema.clone())).collect();
        let needed: Vec<&String> = rest.keys().filter(|name| required(name)).collect();
        body["required"] = json!(needed);
        body["properties"] = rest.into();
        operation["requestBody"] = json_body(&body);
    }
    if !row.reads {
        let key = json!({
            "type": "string", "pattern": KEY,
            "description": "The `commandId`: a repeat within 24 hours gets the first answer, or `repeated` with 200 where that is not kept any more, and nothing happens.",
        });
        parameters.push(parameter("Idempotency-Key", "header", &key, false));
    }
    if row.waits {
        let prefer = json!({
            "type": "string",
            "description": "`wait=N`: the end is waited for, as by `waitMs`, for N seconds, 60 at most. `Preference-Applied` says that it was.",
        });
        parameters.push(parameter("Prefer", "header", &prefer, false));
    }
    operation["parameters"] = parameters.into();
    let brings = Brings {
        token: true,
        fields: true,
        names: true,
        body: !in_query,
        contradicts: true,
        rate: true,
        ..Brings::default()
    };
    operation["responses"] = match &asked.answer {
        _ if row.status == 204 => responses::of(204, None, brings),
        Some(name) => responses::of(row.status, Some(("application/json", reference(name))), brings),
        None => responses::of(row.status, Some(("text/plain", json!({ "type": "string" }))), brings),
    };
    if let (true, Some(name)) = (row.waits, &asked.answer) {
        operation["responses"]["200"] = json!({
            "description": "It has ended, and how is in `end`.",
            "content": { "application/json": { "schema": reference(name) } },
        });
    }
    if !row.reads && row.status != 204 {
        or_repeated(&mut operation["responses"]);
    }
    operation
}

/// Adds what a repeat is told whose answer is not kept any more: with 200, whatever the first was answered with.
fn or_repeated(responses: &mut Value) {
    let repeated = reference("Repeated");
    match responses.pointer_mut("/200/content/application~1json/schema") {
        Some(schema) => *schema = json!({ "anyOf": [schema, repeated] }),
        None => {
            responses["200"]["description"] = "It was done before, and the answer is not kept any more.".into();
            responses["200"]["content"]["application/json"] = json!({ "schema": repeated });
        }
    }
}
