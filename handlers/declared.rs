//! A domain that is declared in the configuration: a name, a form of channels, and schemas of events.
//!
//! Guarantees: what is declared is checked before the server starts; an event goes to the channel that its
//! data, or its producer, names, and what the one says never contradicts the other; data of a type with a schema is
//! held against it where it enters, and no data has a field twice.
//! It has no service, no commands and no state: it is for programs outside.

mod against;
mod once;

use serde_json::Value;
use tidings_core::{
    Channel, Code, Error, Event, EventType, Result,
    contract::{EventRow, Source},
    handler::{Handler, Retention, Route},
    id::is_segment,
};

use self::{against::AgainstSchema, once::Once};

const THIRTY_DAYS_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// A domain as an operator declares it.
#[derive(Debug, Clone, Default)]
pub struct Declaration {
    /// Its name: the first segment of its event types.
    pub name: String,
    /// The form of its channels, such as `build:{buildId}`. Each open segment is a field of the data.
    pub channel: String,
    /// Whether only the events that are declared may be published.
    pub strict: bool,
    /// The events of which more is known than that they are durable.
    pub events: Vec<DeclaredEvent>,
}

/// An event of a declared domain.
#[derive(Debug, Clone)]
pub struct DeclaredEvent {
    /// Its type.
    pub event_type: String,
    /// Whether it is numbered and kept.
    pub durable: bool,
    /// What it tells.
    pub doc: String,
    /// The JSON Schema of its data; none for any object.
    pub schema: Option<Value>,
}

/// What is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDeclaration {
    /// The key within the declaration, such as `channel` or `events[0].schema`.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl BadDeclaration {
    fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), why: why.into() }
    }
}

/// The handler of a declared domain.
// The names live as long as the process: a declaration is read once, at its start.
#[derive(Debug)]
pub struct DeclaredHandler {
    name: &'static str,
    namespaces: &'static [&'static str],
    template: &'static str,
    strict: bool,
    rows: Vec<EventRow>,
}

impl DeclaredHandler {
    /// The handler of a declaration.
    ///
    /// # Errors
    /// [`BadDeclaration`] with the key that is wrong.
    pub fn new(declaration: Declaration) -> Result<Self, BadDeclaration> {
        let Declaration { name, channel, strict, events } = declaration;
        if !format!("{name}.x").parse::<EventType>().is_ok_and(|parsed| parsed.domain() == name) {
            return Err(BadDeclaration::new("name", "a domain is [a-z][a-z0-9_]*"));
        }
        check_template(&channel).map_err(|why| BadDeclaration::new("channel", why))?;
        let template: &'static str = channel.leak();
        let namespace = template.split(':').next().unwrap_or_default();
        let rows = events.into_iter().enumerate().map(|(index, event)| row(&name, event, &format!("events[{index}]")));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        for (index, row) in rows.iter().enumerate() {
            if rows[..index].iter().any(|other| other.event_type == row.event_type) {
                return Err(BadDeclaration::new(format!("events[{index}].type"), "is there twice"));
            }
        }
        Ok(Self { name: name.leak(), namespaces: vec![namespace].leak(), template, strict, rows })
    }

    /// The channel that the data name; where a field is not there, it is as `named` has it. None if neither says it.
    fn home(&self, data: &Value, named: Option<&Channel>) -> Result<Option<Channel>> {
        let mut named = named.map(|named| named.as_str().split(':'));
        let mut segments = Vec::new();
        for form in self.template.split(':') {
            let by_name = named.as_mut().and_then(Iterator::next);
            let segment = match open(form) {
                Some(field) => in_data(data, field)?.or(by_name),
                None => Some(form),
            };
            segments.push(segment);
        }
        let segments: Option<Vec<&str>> = segments.into_iter().collect();
        segments.map(|segments| segments.join(":").parse()).transpose()
    }
}

/// The id in a field of the data; none if it is not there.
fn in_data<'a>(data: &'a Value, field: &str) -> Result<Option<&'a str>> {
    match data.get(field) {
        None => Ok(None),
        Some(Value::String(id)) if is_segment(id) => Ok(Some(id)),
        Some(_) => {
            let why = "an id is a string of 1 to 128 letters, digits, '_' or '-'";
            Err(Error::invalid_field(format!("data.{field}"), why))
        }
    }
}

impl Handler for DeclaredHandler {
    fn domain(&self) -> &'static str {
        self.name
    }

    fn namespaces(&self) -> &'static [&'static str] {
        self.namespaces
    }

    fn channels(&self) -> Vec<String> {
        vec![self.template.to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        self.rows.clone()
    }

    fn is_strict(&self) -> bool {
        self.strict
    }

    fn route(&self, event: &Event) -> Result<Route> {
        if self.strict && !self.rows.iter().any(|row| row.event_type == event.event_type.as_str()) {
            let why = format!("event type '{}': the domain '{}' declares no such event", event.event_type, self.name);
            return Err(Error::new(Code::InvalidEvent, why.clone()).with_field("type", why));
        }
        let data = &event.payload.typed::<Once>()?.0;
        let named = event.channel.as_ref();
        match (self.home(data, named)?, named) {
            // What the name says elsewhere than the data would have, or in another form, is another channel.
            (Some(home), Some(named)) if home != *named => {
                let whole = self.home(data, None)?;
                let why = whole.map_or_else(
                    || format!("is {}, with the ids of the data", self.template),
                    |home| format!("the data names {home}"),
                );
                Err(Error::invalid_field("channel", why))
            }
            (Some(home), _) => Ok(Route::to(home)),
            (None, Some(_)) => Err(Error::invalid_field("channel", format!("is {}", self.template))),
            (None, None) => {
                let fields = self.template.split(':').filter_map(open);
                let missing = fields.filter(|field| data.get(field).is_none());
                let error = Error::new(Code::InvalidData, "the data name no channel");
                Err(missing.fold(error, |error, field| error.with_field(format!("data.{field}"), "is missing")))
            }
        }
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        let open = self.template.split(':').filter_map(open).count();
        let name = self.template.split(':').map(|segment| if segment.starts_with('{') { id } else { segment });
        (open == 1 && is_segment(id)).then(|| name.collect::<Vec<_>>().join(":").parse().ok())?
    }

    fn retention(&self) -> Retention {
        Retention { messages: 10_000, bytes: 16 << 20, age_ms: THIRTY_DAYS_MS }
    }
}

/// The field that an open segment of a form names.
fn open(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn check_template(template: &str) -> Result<(), String> {
    let filled: Vec<&str> = template.split(':').map(|segment| open(segment).map_or(segment, |_| "x")).collect();
    if let Err(error) = filled.join(":").parse::<Channel>() {
        return Err(error.message().to_owned());
    }
    let fields: Vec<&str> = template.split(':').filter_map(open).collect();
    let named = |field: &&str| field.starts_with(|c: char| c.is_ascii_alphabetic()) && is_segment(field);
    if open(template.split(':').next().unwrap_or_default()).is_some() {
        return Err("the first segment is the namespace: it cannot be open".to_owned());
    }
    if fields.is_empty() || !fields.iter().all(named) {
        return Err("at least one segment is open, and names a field of the data, as in build:{buildId}".to_owned());
    }
    if (1..fields.len()).any(|at| fields[..at].contains(&fields[at])) {
        return Err("two open segments name one field".to_owned());
    }
    Ok(())
}

fn row(domain: &str, event: DeclaredEvent, key: &str) -> Result<EventRow, BadDeclaration> {
    let DeclaredEvent { event_type, durable, doc, schema } = event;
    match event_type.parse::<EventType>() {
        Ok(parsed) if parsed.domain() == domain => {}
        Ok(_) => return Err(BadDeclaration::new(format!("{key}.type"), format!("is no event of the domain {domain}"))),
        Err(error) => return Err(BadDeclaration::new(format!("{key}.type"), error.message())),
    }
    let data =
        AgainstSchema::new(&event_type, schema).map_err(|why| BadDeclaration::new(format!("{key}.schema"), why))?;
    Ok(EventRow {
        source: Source::Anyone,
        doc: doc.leak(),
        data: Box::leak(Box::new(data)),
        ..EventRow::untyped(event_type.leak(), durable)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_core::{Payload, schemars::SchemaGenerator};

    use super::*;

    fn finished(schema: Value) -> DeclaredEvent {
        let (event_type, doc) = ("build.finished".to_owned(), "A build ended.".to_owned());
        DeclaredEvent { event_type, durable: true, doc, schema: Some(schema) }
    }

    fn declared(channel: &str, strict: bool, events: Vec<DeclaredEvent>) -> Result<DeclaredHandler, BadDeclaration> {
        DeclaredHandler::new(Declaration { name: "build".to_owned(), channel: channel.to_owned(), strict, events })
    }

    fn event(event_type: &'static str, data: Value, channel: Option<&str>) -> Event {
        let mut event = Event::new(event_type, data);
        event.channel = channel.map(|channel| channel.parse().expect("a channel"));
        event
    }

    #[test]
    fn an_event_goes_to_the_channel_that_its_data_or_its_producer_names() {
        let handler = declared("build:{repo}:run:{buildId}", false, vec![]).expect("is good");
        let both = json!({"repo": "shop", "buildId": "7"});
        let table = [
            (both.clone(), None, Ok("build:shop:run:7")),
            (both.clone(), Some("build:shop:run:7"), Ok("build:shop:run:7")),
            (both, Some("build:shop:run:8"), Err(Code::InvalidData)),
            (json!({"repo": "shop"}), Some("build:shop:run:7"), Ok("build:shop:run:7")),
            (json!({"buildId": "7"}), Some("build:shop:run:7"), Ok("build:shop:run:7")),
            (json!({}), Some("build:shop:run:7"), Ok("build:shop:run:7")),
            (json!({"repo": "other"}), Some("build:shop:run:7"), Err(Code::InvalidData)),
            (json!({"buildId": "8"}), Some("build:shop:run:7"), Err(Code::InvalidData)),
            (json!({"buildId": 7}), Some("build:shop:run:7"), Err(Code::InvalidData)),
            (json!({"repo": null}), Some("build:shop:run:7"), Err(Code::InvalidData)),
            (json!({"repo": "shop"}), Some("other:shop:run:7"), Err(Code::InvalidData)),
            (json!({"repo": "shop"}), Some("build:shop:walk:7"), Err(Code::InvalidData)),
            (json!({"repo": "shop"}), Some("build:7"), Err(Code::InvalidData)),
            (json!({"repo": "shop"}), None, Err(Code::InvalidData)),
            (json!({"repo": "a:b", "buildId": "7"}), None, Err(Code::InvalidData)),
            (json!({"repo": "shop", "buildId": 7}), None, Err(Code::InvalidData)),
        ];
        for (data, channel, expected) in table {
            let routed = handler.route(&event("build.finished", data.clone(), channel));
            let routed = routed.map(|route| route.home.to_string()).map_err(|error| error.code());
            assert_eq!(routed, expected.map(str::to_owned), "{data} {channel:?}");
        }
        assert_eq!(handler.channel("7"), None);
    }

    #[test]
    fn data_is_held_against_its_schema_and_the_refused_value_is_not_told() {
        let schema = json!({
            "required": ["buildId"],
            "properties": {"ok": {"type": "boolean"}, "log": {"$ref": "#/$defs/Log"}},
            "$defs": {"Log": {"type": "object", "properties": {"lines": {"type": "integer", "maximum": 9}}}},
        });
        let handler = declared("build:{buildId}", false, vec![finished(schema)]).expect("is good");
        let row = &handler.events()[0];
        let read = |data: Value| row.data.read(&mut Payload::of(data));
        assert!(read(json!({"buildId": "7", "ok": true, "log": {"lines": 3}})).is_ok());
        let error = read(json!({"ok": "secret", "log": {"lines": 12}})).expect_err("refused");
        let fields: Vec<(&str, &str)> =
            error.fields().iter().map(|(field, why)| (field.as_str(), why.as_str())).collect();
        let expected = [
            ("data.buildId", "is missing"),
            ("data.log.lines", "must be at most 9"),
            ("data.ok", "expected a boolean"),
        ];
        assert_eq!(fields, expected);
        assert!(!error.to_string().contains("secret") && !error.to_string().contains("12"), "{error}");

        let mut generator = SchemaGenerator::default();
        let described = row.data.schema(&mut generator);
        assert_eq!(described.as_value()["properties"]["log"], json!({"$ref": "#/$defs/BuildFinishedLog"}));
        assert!(generator.definitions().contains_key("BuildFinishedLog"));
    }

    #[test]
    fn a_field_is_named_with_its_place_as_in_a_domain_of_rust() {
        let schema = json!({
            "properties": {
                "tests": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {}, "ms": {"type": ["integer", "null"]}}, "additionalProperties": false}},
            },
            "additionalProperties": false,
        });
        let handler = declared("build:{buildId}", false, vec![finished(schema)]).expect("is good");
        let data = json!({"more": 1, "tests": [{"name": "a"}, {"ms": "x", "odd": 1}]});
        let error = handler.events()[0].data.read(&mut Payload::of(data)).expect_err("refused");
        let fields: Vec<(&str, &str)> =
            error.fields().iter().map(|(field, why)| (field.as_str(), why.as_str())).collect();
        let expected = [
            ("data.more", "is not known"),
            ("data.tests[1].ms", "expected null or a whole number"),
            ("data.tests[1].name", "is missing"),
            ("data.tests[1].odd", "is not known"),
        ];
        assert_eq!(fields, expected);
        assert!(handler.events()[0].data.read(&mut Payload::of(json!({"tests": [{"name": "a", "ms": 3.0}]}))).is_ok());
    }

    #[test]
    fn an_id_that_is_there_twice_is_refused_with_and_without_a_schema() {
        let handler = declared("build:{buildId}", false, vec![finished(json!({}))]).expect("is good");
        let json = r#"{"buildId":"b2","buildId":"b1"}"#;
        let mut payload = Payload::raw(serde_json::from_str(json).expect("JSON"));
        let twice = |error: Error| {
            assert_eq!(error.fields().get("data.buildId").map(String::as_str), Some("is there twice"), "{error}");
        };
        let queued = Event { payload: payload.clone(), ..event("build.queued", json!({}), Some("build:b1")) };
        twice(handler.route(&queued).expect_err("refused"));
        twice(handler.events()[0].data.read(&mut payload).expect_err("refused"));
    }

    #[test]
    fn a_strict_domain_knows_its_own_events_only() {
        let of = |strict| declared("build:{buildId}", strict, vec![finished(json!({}))]).expect("is good");
        let other = event("build.queued", json!({"buildId": "7"}), None);
        assert!(of(false).route(&other).is_ok());
        assert_eq!(of(true).route(&other).expect_err("refused").code(), Code::InvalidEvent);
        assert!(of(true).route(&event("build.finished", json!({"buildId": "7"}), None)).is_ok());
        assert_eq!(of(true).channel("7").expect("a channel").as_str(), "build:7");
    }

    #[test]
    fn a_bad_declaration_is_refused_by_its_key() {
        let key = |handler: Result<DeclaredHandler, BadDeclaration>| handler.map(drop).map_err(|bad| bad.key);
        for channel in ["build", "build:7", "{build}:7", "Build:{id}", "build:{}", "build:{a}:{a}", "build.{id}", ""] {
            assert_eq!(key(declared(channel, false, vec![])), Err("channel".to_owned()), "{channel}");
        }
        let foreign = DeclaredEvent { event_type: "shop.sold".to_owned(), ..finished(json!({})) };
        let channel = "build:{buildId}";
        assert_eq!(key(declared(channel, false, vec![foreign])), Err("events[0].type".to_owned()));
        let twice = vec![finished(json!({})), finished(json!({}))];
        assert_eq!(key(declared(channel, false, twice)), Err("events[1].type".to_owned()));
        for schema in [json!({"type": "text"}), json!({"$ref": "http://example.com/x"}), json!({"$ref": "#"})] {
            let refused = declared(channel, false, vec![finished(schema.clone())]);
            assert_eq!(key(refused), Err("events[0].schema".to_owned()), "{schema}");
        }
        let unnamed = Declaration { name: "Build".to_owned(), channel: channel.to_owned(), ..Declaration::default() };
        assert_eq!(key(DeclaredHandler::new(unnamed)), Err("name".to_owned()));
    }
}
