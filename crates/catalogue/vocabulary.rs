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

use crate::{Catalogue, Domain, typescript};

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
    /// The schema of what is open in its path.
    pub(crate) segment: Option<Value>,
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

/// The name of a schema that is of something with a name on the wire, such as `session.start`: `SessionStartInput`.
/// Where two would be one, as those of `a.b_c` and `a.b.c`, its parts stay apart: `A_B_C`.
fn names(name: &str, what: &str) -> impl Iterator<Item = String> {
    let apart = name.split('.').map(pascal).collect::<Vec<_>>().join("_");
    let more = (1..).map({
        let apart = apart.clone();
        move |more| format!("{apart}{what}{}", "_".repeat(more))
    });
    [format!("{}{what}", pascal(name)), format!("{apart}{what}")].into_iter().chain(more)
}

/// What comes in, and what goes out.
struct Sides {
    incoming: SchemaGenerator,
    outgoing: SchemaGenerator,
    named: BTreeMap<String, Value>,
}

impl Sides {
    /// Puts a schema under the first of these names that nothing else has.
    fn put(&mut self, mut names: impl Iterator<Item = String>, schema: &Value) -> String {
        let (incoming, outgoing) = (self.incoming.definitions(), self.outgoing.definitions());
        let is_taken = |name: &String| {
            let by_type = incoming.contains_key(name) || outgoing.contains_key(name);
            by_type || self.named.contains_key(name) || typescript::OWN.contains(&name.as_str())
        };
        let name = names.find(|name| !is_taken(name)).unwrap_or_default();
        self.named.insert(name.clone(), schema.clone());
        name
    }

    fn kind(&mut self, catalogue: &Catalogue, template: &str, snapshot: Option<Value>) -> Kind {
        let namespace = template.split(':').next().unwrap_or_default();
        let mut events = Vec::new();
        for domain in &catalogue.domains {
            let home = domain.channels.first().map(|kind| kind.namespace());
            for row in domain.events.iter().filter(|row| row.namespace.or(home) == Some(namespace)) {
                let schema = row.data.schema(&mut self.incoming).to_value();
                events.push(Told { row: *row, data: self.put(names(row.event_type, ""), &schema) });
            }
        }
        Kind { template: template.to_owned(), snapshot, events }
    }

    fn asked(&mut self, command: &Command) -> Asked {
        let mut input = (command.input)(&mut self.incoming).to_value();
        input["properties"][COMMAND_ID] = command_id();
        let input = self.put(names(command.name, "Input"), &input);
        let answer = (command.answer)(&mut self.outgoing);
        let answer = answer.map(|schema| self.put(names(command.name, "Answer"), &schema.to_value()));
        Asked { command: command.clone(), input, answer }
    }

    fn requested(&mut self, row: RequestRow) -> Requested {
        let argument = (row.argument)(&mut self.incoming).to_value();
        let answer = (row.answer)(&mut self.outgoing).to_value();
        let argument = self.put(names(row.name, "Argument"), &argument);
        Requested { row, argument, answer: self.put(names(row.name, "Acknowledgement"), &answer) }
    }

    fn route(&mut self, row: RouteRow) -> Route {
        let segment = row.segment.map(|shape| shape(&mut self.incoming).to_value());
        let query = row.query.iter().map(|field| (field.shape)(&mut self.incoming).to_value()).collect();
        let body = row.body.map(|shape| shape(&mut self.incoming).to_value());
        let answer = match row.reply {
            Reply::Json(_, shape) => Some(shape(&mut self.outgoing).to_value()),
            Reply::Nothing | Reply::Text | Reply::Page => None,
        };
        Route { row, segment, query, body, answer }
    }

    /// The members of the union of notices.
    fn notices(&mut self, union: &Schema) -> Vec<Noticed> {
        let members = union.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut notices = Vec::with_capacity(members.len());
        for member in members {
            let event_type = member["properties"]["type"]["const"].as_str().unwrap_or_default().to_owned();
            let doc = member["description"].as_str().unwrap_or_default().to_owned();
            let data = self.put(names(&event_type, ""), &member["properties"]["data"]);
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
        definitions.values_mut().for_each(bounded);
        definitions
    }

    /// Describes all of it.
    fn gather(&mut self, catalogue: &Catalogue) -> Gathered {
        self.named.clear();
        let wire = catalogue.wire;
        self.outgoing.subschema_for::<Message>();
        self.outgoing.subschema_for::<Error>();
        self.outgoing.subschema_for::<Repeated>();
        for (name, shape) in [("Problem", wire.problem), ("Refused", wire.refused)] {
            self.named.insert(name.to_owned(), shape(&mut self.outgoing).to_value());
        }
        let mut kinds = Vec::new();
        for channel in catalogue.domains.iter().flat_map(|domain| &domain.channels) {
            let snapshot = channel.projection.as_ref().map(|it| it.schema(&mut self.outgoing).to_value());
            kinds.push(self.kind(catalogue, &channel.template, snapshot));
        }
        let commands = catalogue.domains.iter().flat_map(|domain: &Domain| &domain.commands);
        let commands = commands.map(|command| self.asked(command)).collect();
        let requests = wire.requests.iter().map(|row| self.requested(*row)).collect();
        let notices = (wire.notices)(&mut self.outgoing);
        let notices = self.notices(&notices);
        let mut routes: Vec<Route> = wire.routes.iter().map(|row| self.route(*row)).collect();
        for route in &mut routes {
            route.query.iter_mut().chain(&mut route.body).chain(&mut route.segment).for_each(bounded);
        }
        Gathered { kinds, commands, requests, notices, routes }
    }
}

/// What a vocabulary has beside its definitions.
struct Gathered {
    kinds: Vec<Kind>,
    commands: Vec<Asked>,
    requests: Vec<Requested>,
    notices: Vec<Noticed>,
    routes: Vec<Route>,
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
        // Twice: which names are free is known once every type has the one that it brings.
        drop(sides.gather(catalogue));
        let Gathered { kinds, commands, requests, notices, routes } = sides.gather(catalogue);
        let version = catalogue.wire.version;
        Self { version, kinds, commands, requests, notices, routes, definitions: sides.definitions() }
    }

    /// A definition; null for a name that there is not.
    #[must_use]
    pub(crate) fn definition(&self, name: &str) -> &Value {
        self.definitions.get(name).unwrap_or(&Value::Null)
    }
}

impl Vocabulary {
    /// A definition; where it is nothing but another one's name, that other one.
    pub(crate) fn resolved(&self, name: &str) -> &Value {
        let definition = self.definition(name);
        let other = definition["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/"));
        other.map_or(definition, |other| self.definition(other))
    }

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

/// The field of a command's input that is the gate's: see docs/PROTOCOL.md.
pub(crate) const COMMAND_ID: &str = "commandId";

fn command_id() -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 128,
        "description": "The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again.",
    })
}

/// Whole numbers, with the bounds of the type that reads them.
fn bounded(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let most = match fields.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(u64::from(u8::MAX)),
                Some("uint16") => Some(u64::from(u16::MAX)),
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint64" | "uint") => Some(u64::MAX),
                _ => None,
            };
            if let Some(most) = most {
                fields.entry("maximum").or_insert_with(|| most.into());
            }
            fields.values_mut().for_each(bounded);
        }
        Value::Array(values) => values.iter_mut().for_each(bounded),
        _ => {}
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
