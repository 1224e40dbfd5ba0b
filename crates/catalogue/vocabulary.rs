//! The schemas of everything on the wire, each under one name.
//!
//! Guarantees: what comes in is described as it is parsed, what goes out as it is written, and data of
//! events as they are parsed, since a producer's bytes are passed on as they came; a name means one schema.
//! It is no document: references in it are those of a plain JSON Schema, `#/$defs/Name`.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};
use tidings_core::{
    Error, Message,
    command::{Command, Method, Repeated},
    contract::EventRow,
    document::{Reply, RequestRow, RouteRow},
};

use crate::{Catalogue, Domain};

/// An event, with the names of its parts.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Its row.
    pub(crate) row: EventRow,
    /// The name of its data's schema.
    pub(crate) data: String,
}

/// A kind of channel, and all that comes in it.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// The form of its names.
    pub(crate) template: String,
    /// The schema of its snapshot, if it has one: a reference.
    pub(crate) snapshot: Option<Value>,
    /// Its events, copies included.
    pub(crate) events: Vec<Told>,
}

/// A command, with the names of its parts.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its row.
    pub(crate) command: Command,
    /// The name of its input's schema.
    pub(crate) input: String,
    /// The name of its answer's schema; none for plain text.
    pub(crate) answer: Option<String>,
}

/// A request of a connection, with the names of its parts.
#[derive(Debug, Clone)]
pub(crate) struct Requested {
    /// Its row.
    pub(crate) row: RequestRow,
    /// The name of its argument's schema.
    pub(crate) argument: String,
    /// The name of its answer's schema.
    pub(crate) answer: String,
}

/// A notice of the server.
#[derive(Debug, Clone)]
pub(crate) struct Noticed {
    /// Its type.
    pub event_type: String,
    /// What it tells.
    pub(crate) doc: String,
    /// The name of its data's schema.
    pub(crate) data: String,
}

/// A route of the server's own, with its schemas.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Its row.
    pub(crate) row: RouteRow,
    /// The schemas of its query's fields, in their order.
    pub(crate) query: Vec<Value>,
    /// The schema of its body.
    pub(crate) body: Option<Value>,
    /// The schema of its answer; none for plain text and for nothing.
    pub(crate) answer: Option<Value>,
}

/// All schemas, and where each is used.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// The version of the server.
    pub(crate) version: &'static str,
    /// The schemas by their names.
    pub(crate) definitions: BTreeMap<String, Value>,
    /// The kinds of channels.
    pub(crate) kinds: Vec<Kind>,
    /// The commands.
    pub(crate) commands: Vec<Asked>,
    /// The requests of a connection beside commands.
    pub(crate) requests: Vec<Requested>,
    /// The notices.
    pub(crate) notices: Vec<Noticed>,
    /// The routes of the server's own.
    pub(crate) routes: Vec<Route>,
}

/// A reference to a definition.
#[must_use]
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// `session.tool_started` as `SessionToolStarted`.
#[must_use]
pub(crate) fn pascal(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// What comes in, and what goes out.
struct Sides {
    incoming: SchemaGenerator,
    outgoing: SchemaGenerator,
    named: BTreeMap<String, Value>,
}

impl Sides {
    fn put(&mut self, name: String, schema: Schema) -> String {
        self.named.insert(name.clone(), schema.to_value());
        name
    }

    fn kind(&mut self, catalogue: &Catalogue, template: &str, snapshot: Option<Value>) -> Kind {
        let namespace = template.split(':').next().unwrap_or_default();
        let mut events = Vec::new();
        for domain in &catalogue.domains {
            let home = domain.channels.first().map(|kind| kind.namespace());
            for row in domain.events.iter().filter(|row| row.namespace.or(home) == Some(namespace)) {
                let schema = row.data.schema(&mut self.incoming);
                events.push(Told { row: *row, data: self.put(pascal(row.event_type), schema) });
            }
        }
        Kind { template: template.to_owned(), snapshot, events }
    }

    fn asked(&mut self, command: &Command) -> Asked {
        let name = pascal(command.name);
        let input = (command.input)(&mut self.incoming);
        let input = self.put(format!("{name}Input"), input);
        let answer = (command.answer)(&mut self.outgoing).map(|schema| self.put(format!("{name}Answer"), schema));
        Asked { command: command.clone(), input, answer }
    }

    fn requested(&mut self, row: RequestRow) -> Requested {
        let name = pascal(row.name);
        let argument = (row.argument)(&mut self.incoming);
        let answer = (row.answer)(&mut self.outgoing);
        let argument = self.put(format!("{name}Argument"), argument);
        Requested { row, argument, answer: self.put(format!("{name}Acknowledgement"), answer) }
    }

    fn route(&mut self, row: RouteRow) -> Route {
        let query = row.query.iter().map(|field| (field.shape)(&mut self.incoming).to_value()).collect();
        let body = row.body.map(|shape| shape(&mut self.incoming).to_value());
        let answer = match row.reply {
            Reply::Json(_, shape) => Some(shape(&mut self.outgoing).to_value()),
            Reply::Nothing | Reply::Text => None,
        };
        Route { row, query, body, answer }
    }

    /// The members of the union of notices.
    fn notices(&mut self, union: &Schema) -> Vec<Noticed> {
        let members = union.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut notices = Vec::with_capacity(members.len());
        for member in members {
            let event_type = member["properties"]["type"]["const"].as_str().unwrap_or_default().to_owned();
            let doc = member["description"].as_str().unwrap_or_default().to_owned();
            let data = pascal(&event_type);
            self.named.insert(data.clone(), member["properties"]["data"].clone());
            notices.push(Noticed { event_type, doc, data });
        }
        notices
    }

    /// All definitions. A type that is both read and written is described as it is read.
    fn definitions(mut self) -> BTreeMap<String, Value> {
        let incoming: BTreeMap<String, Value> = self.incoming.take_definitions(true).into_iter().collect();
        let outgoing: BTreeMap<String, Value> = self.outgoing.take_definitions(true).into_iter().collect();
        let mut definitions = incoming;
        for (name, schema) in outgoing {
            definitions.entry(name).or_insert(schema);
        }
        definitions.append(&mut self.named);
        definitions.values_mut().for_each(readable);
        definitions
    }
}

impl Vocabulary {
    /// The vocabulary of a catalogue.
    #[must_use]
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        let settings = SchemaSettings::draft2020_12();
        let mut sides = Sides {
            incoming: settings.clone().for_deserialize().into_generator(),
            outgoing: settings.for_serialize().into_generator(),
            named: BTreeMap::new(),
        };
        let wire = catalogue.wire;
        sides.outgoing.subschema_for::<Message>();
        sides.outgoing.subschema_for::<Error>();
        sides.outgoing.subschema_for::<Repeated>();
        for (name, shape) in [("Problem", wire.problem), ("Refused", wire.refused)] {
            let schema = shape(&mut sides.outgoing);
            sides.put(name.to_owned(), schema);
        }
        let mut kinds = Vec::new();
        for channel in catalogue.domains.iter().flat_map(|domain| &domain.channels) {
            let snapshot = channel.projection.as_ref().map(|it| it.schema(&mut sides.outgoing).to_value());
            kinds.push(sides.kind(catalogue, &channel.template, snapshot));
        }
        let commands = catalogue.domains.iter().flat_map(|domain: &Domain| &domain.commands);
        let commands = commands.map(|command| sides.asked(command)).collect();
        let requests = wire.requests.iter().map(|row| sides.requested(*row)).collect();
        let notices = (wire.notices)(&mut sides.outgoing);
        let notices = sides.notices(&notices);
        let routes = wire.routes.iter().map(|row| sides.route(*row)).collect();
        let version = wire.version;
        Self { version, kinds, commands, requests, notices, routes, definitions: sides.definitions() }
    }

    /// A definition; an empty schema for a name that there is not.
    #[must_use]
    pub(crate) fn definition(&self, name: &str) -> &Value {
        &self.definitions[name]
    }
}

impl Vocabulary {
    /// The definitions that something refers to, directly or through others.
    pub(crate) fn mentioned_in(&self, something: &Value) -> BTreeMap<&str, &Value> {
        let mut found = BTreeMap::new();
        let mut open = vec![something];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(fields) => {
                    let name = fields.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
                    let definition = name.and_then(|name| self.definitions.get_key_value(name));
                    if let Some((name, schema)) = definition
                        && found.insert(name.as_str(), schema).is_none()
                    {
                        open.push(schema);
                    }
                    open.extend(fields.values());
                }
                Value::Array(values) => open.extend(values),
                _ => {}
            }
        }
        found
    }
}

/// Texts of Rust's documentation, without the brackets of its links.
fn readable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            fields.values_mut().for_each(readable);
        }
        Value::Array(values) => values.iter_mut().for_each(readable),
        _ => {}
    }
}

/// The schema with every reference to a definition led to another place, such as `#/components/schemas/`.
#[must_use]
pub(crate) fn relocated(schema: &Value, place: &str) -> Value {
    match schema {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| match value.as_str().and_then(|text| text.strip_prefix("#/$defs/")) {
                    Some(name) if key == "$ref" => (key.clone(), Value::from(format!("{place}{name}"))),
                    _ => (key.clone(), relocated(value, place)),
                })
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.iter().map(|value| relocated(value, place)).collect()),
        other => other.clone(),
    }
}

/// A method as it is written in a request.
#[must_use]
pub(crate) fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Patch => "patch",
        Method::Delete => "delete",
    }
}
