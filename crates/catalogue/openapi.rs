//! The catalogue as an OpenAPI 3.1 document: the routes of the server's own, and those of the commands.
//!
//! Guarantees: every route has its input, its answer and the one form of every error.
//! It says nothing of what comes live: that is the AsyncAPI document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tidings_core::document::Reply;

use crate::{
    Catalogue,
    vocabulary::{Asked, Route, Vocabulary, method, pascal, reference, relocated},
};

const PLACE: &str = "#/components/schemas/";

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
    let problem = reference("Problem");
    let schemas = vocabulary.mentioned_in(&json!([paths, problem]));
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
            "description": "Logins, users, channels, events and the commands of the domains. What comes live is in /asyncapi.json.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "responses": {
                "Problem": {
                    "description": "It was refused, or failed: the code says why.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        },
    });
    relocated(&document, PLACE)
}

fn problems(mut responses: Map<String, Value>) -> Value {
    for status in ["4XX", "5XX"] {
        responses.insert(status.to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    }
    responses.into()
}

fn json_body(schema: &Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn success(status: u16, content: Option<(&str, Value)>) -> Value {
    let mut response = json!({ "description": "It is done." });
    if let Some((kind, schema)) = content {
        response["content"] = json!({ kind: { "schema": schema } });
    }
    problems(Map::from_iter([(status.to_string(), response)]))
}

fn parameter(name: &str, place: &str, schema: &Value, required: bool) -> Value {
    let mut schema = schema.clone();
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
    let mut parameters: Vec<Value> =
        open(row.path).map(|name| parameter(name, "path", &json!({ "type": "string" }), true)).collect();
    for (field, schema) in row.query.iter().zip(&route.query) {
        let mut schema = schema.clone();
        schema["description"] = field.doc.into();
        parameters.push(parameter(field.name, "query", &schema, false));
    }
    let responses = match (&row.reply, &route.answer) {
        (Reply::Json(status, _), Some(schema)) => success(*status, Some(("application/json", schema.clone()))),
        (Reply::Text, _) => success(200, Some(("text/plain", json!({ "type": "string" })))),
        _ => success(204, None),
    };
    let mut operation = json!({
        "operationId": format!("{}{}", method(row.method), pascal(row.path)),
        "summary": row.doc,
        "tags": ["server"],
        "parameters": parameters,
        "responses": responses,
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
    let rest = fields.iter().filter(|(name, _)| !in_path.contains(&name.as_str()));
    let mut operation = json!({ "operationId": row.name, "summary": row.doc, "tags": [row.name.split('.').next()] });
    if in_query {
        parameters.extend(rest.map(|(name, schema)| parameter(name, "query", schema, required(name))));
    } else {
        let mut body = input.clone();
        let rest: Map<String, Value> = rest.map(|(name, schema)| (name.clone(), schema.clone())).collect();
        let needed: Vec<&String> = rest.keys().filter(|name| required(name)).collect();
        body["required"] = json!(needed);
        if !rest.is_empty() {
            operation["requestBody"] = json_body(&body);
        }
        if let Some(kept) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
            kept["properties"] = rest.into();
        }
    }
    if !row.reads {
        let key = json!({
            "type": "string", "minLength": 1, "maxLength": 128,
            "description": "The `commandId`: a repeat within 24 hours gets the first answer, or `repeated` with 200 where that is not kept any more, and nothing happens.",
        });
        parameters.push(parameter("Idempotency-Key", "header", &key, false));
    }
    operation["parameters"] = parameters.into();
    operation["responses"] = match &asked.answer {
        _ if row.status == 204 => success(204, None),
        Some(name) => success(row.status, Some(("application/json", reference(name)))),
        None => success(row.status, Some(("text/plain", json!({ "type": "string" })))),
    };
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
