//! The catalogue as an AsyncAPI 3.0 document: channels with their messages, and what a connection asks and hears.
//!
//! Guarantees: it is told from the server's side: `send` is what clients hear, `receive` what they say.
//! It describes the content; the packets around it are Socket.IO's.

use serde_json::{Map, Value, json};
use tidings_core::contract::Source;

use crate::{
    Catalogue,
    vocabulary::{Kind, Told, Vocabulary, pascal, reference, relocated},
};

const PLACE: &str = "#/components/schemas/";

/// The document in the making.
#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

/// The whole document.
pub(crate) fn document(catalogue: &Catalogue, vocabulary: &Vocabulary) -> Value {
    let mut parts = Parts::default();
    for kind in &vocabulary.kinds {
        parts.channel(kind);
    }
    parts.connection(vocabulary);
    let domains: Vec<&str> = catalogue.domains.iter().map(|domain| domain.name.as_str()).collect();
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings",
            "version": vocabulary.version,
            "description": format!("What goes over Socket.IO: the messages of the domains {}, and what a connection asks and hears. The routes are in /openapi.json.", domains.join(", ")),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": { "host": "127.0.0.1:4100", "pathname": "/socket.io/", "protocol": "ws", "description": "Socket.IO, namespace `/`. Every message comes as the event `message`." },
        },
        "channels": parts.channels,
        "operations": parts.operations,
        "components": { "schemas": vocabulary.definitions, "messages": parts.messages },
    });
    relocated(&document, PLACE)
}

fn to_message(name: &str) -> Value {
    json!({ "$ref": format!("#/components/messages/{name}") })
}

fn in_channel(channel: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/channels/{channel}/messages/{name}") })
}

/// An example of a message with these data.
fn example(told: &Told, template: &str) -> Option<Value> {
    let data: Value = serde_json::from_str(told.row.example).ok()?;
    let filled = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(field) => data[field].as_str().unwrap_or("1").to_owned(),
        None => segment.to_owned(),
    };
    let channel: Vec<String> = template.split(':').map(filled).collect();
    let mut message = json!({
        "type": told.row.event_type, "channel": channel.join(":"), "time": "2026-11-20T20:31:29.123Z", "data": data,
    });
    if told.row.durable {
        message["seq"] = 42.into();
    }
    Some(message)
}

impl Parts {
    fn message(&mut self, name: &str, title: &str, summary: &str, payload: &Value) {
        let message = json!({ "name": title, "title": title, "summary": summary, "payload": payload });
        self.messages.insert(name.to_owned(), message);
    }

    fn channel(&mut self, kind: &Kind) {
        let key = kind.template.split(':').next().unwrap_or_default();
        let mut names = Map::new();
        for told in &kind.events {
            let name = format!("{}Message", told.data);
            let numbered = if told.row.durable {
                json!({ "required": ["seq"] })
            } else {
                json!({ "not": { "required": ["seq"] } })
            };
            let own =
                json!({ "properties": { "type": { "const": told.row.event_type }, "data": reference(&told.data) } });
            let payload = json!({ "allOf": [reference("Message"), own, numbered] });
            self.message(&name, told.row.event_type, told.row.doc, &payload);
            if let Some(example) = example(told, &kind.template) {
                self.messages[&name]["examples"] = json!([{ "payload": example }]);
            }
            names.insert(name.clone(), to_message(&name));
        }
        let open = kind.template.split(':').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Map<String, Value> = open
            .map(|name| (name.to_owned(), json!({ "description": "An id: 1 to 128 letters, digits, `_` or `-`." })))
            .collect();
        let heard: Vec<Value> = names.keys().map(|name| in_channel(key, name)).collect();
        let said = kind.events.iter().filter(|told| told.row.source != Source::Server);
        let said: Vec<Value> = said.map(|told| in_channel(key, &format!("{}Message", told.data))).collect();
        self.channels.insert(
            key.to_owned(),
            json!({ "address": kind.template, "title": kind.template, "parameters": parameters, "messages": names }),
        );
        let at = json!({ "$ref": format!("#/channels/{key}") });
        if !heard.is_empty() {
            let doc = "What whoever follows the channel hears, beside notices of the connection.";
            self.operations.insert(
                format!("{key}.follow"),
                json!({ "action": "send", "channel": at, "summary": doc, "messages": heard }),
            );
        }
        if !said.is_empty() {
            let doc = "What producers outside may publish, with a grant: `type`, `data` and `id` count.";
            self.operations.insert(
                format!("{key}.publish"),
                json!({ "action": "receive", "channel": at, "summary": doc, "messages": said }),
            );
        }
    }

    /// What one connection asks and hears.
    fn connection(&mut self, vocabulary: &Vocabulary) {
        let key = "connection";
        let mut names: Vec<String> = Vec::new();
        let mut heard = Vec::new();
        for notice in &vocabulary.notices {
            let payload = json!({
                "type": "object",
                "properties": {
                    "type": { "const": notice.event_type },
                    "channel": reference("Channel"),
                    "time": reference("Timestamp"),
                    "data": reference(&notice.data),
                },
                "required": ["type", "time", "data"],
            });
            let name = format!("{}Notice", notice.data);
            self.message(&name, &notice.event_type, &notice.doc, &payload);
            heard.push(in_channel(key, &name));
            names.push(name);
        }
        self.message("Refused", "refused", "What is answered to whatever is refused.", &reference("Refused"));
        let doc = "What is answered to a repeat of a command whose answer is not kept any more.";
        let repeated = json!({ "allOf": [reference("Repeated"), { "properties": { "ok": { "const": true } }, "required": ["ok"] }] });
        self.message("Repeated", "repeated", doc, &repeated);
        names.extend(["Refused".to_owned(), "Repeated".to_owned()]);
        let doc = "What the server says of connections and subscriptions.";
        let at = json!({ "$ref": "#/channels/connection" });
        self.operations.insert(
            "connection.notices".to_owned(),
            json!({ "action": "send", "channel": at, "summary": doc, "messages": heard }),
        );
        for request in &vocabulary.requests {
            let answer = reference(&request.answer);
            names.extend(self.question(request.row.name, request.row.doc, &reference(&request.argument), &answer));
        }
        for asked in &vocabulary.commands {
            let data = asked.answer.as_deref().map_or_else(|| json!({ "type": "string" }), reference);
            let answer = json!({
                "type": "object",
                "properties": { "ok": { "const": true }, "data": data },
                "required": ["ok", "data"],
            });
            let name = asked.command.name;
            names.extend(self.question(name, asked.command.doc, &reference(&asked.input), &answer));
            let replies = self.operations.get_mut(name).and_then(|asked| asked.pointer_mut("/reply/messages"));
            if let Some(replies) = replies.and_then(Value::as_array_mut).filter(|_| !asked.command.reads) {
                replies.push(in_channel(key, "Repeated"));
            }
        }
        let messages: Map<String, Value> = names.iter().map(|name| (name.clone(), to_message(name))).collect();
        let doc = "One connection of Socket.IO: questions with their acknowledgements, and notices.";
        self.channels.insert(key.to_owned(), json!({ "address": null, "description": doc, "messages": messages }));
    }

    /// A question and its acknowledgement: the names of both messages.
    fn question(&mut self, name: &str, doc: &str, argument: &Value, answer: &Value) -> [String; 2] {
        let (asks, answers) = (pascal(name), format!("{}Answered", pascal(name)));
        self.message(&asks, name, doc, argument);
        self.message(&answers, &format!("{name}, acknowledged"), "What is answered when all is well.", answer);
        let at = json!({ "$ref": "#/channels/connection" });
        self.operations.insert(
            name.to_owned(),
            json!({
                "action": "receive",
                "channel": at,
                "summary": doc,
                "messages": [in_channel("connection", &asks)],
                "reply": {
                    "channel": at,
                    "messages": [in_channel("connection", &answers), in_channel("connection", "Refused")],
                },
            }),
        );
        [asks, answers]
    }
}
