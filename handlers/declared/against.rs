//! Data that is held against the JSON Schema of a declaration.
//!
//! Guarantees: a schema reaches nothing outside itself; what is refused is told by its field, in the words of the
//! domains of Rust, and no error holds the value that it refuses.
//! It is not the declaration: that is its parent's.

use std::{collections::BTreeMap, sync::OnceLock};

use boon::{CompileError, ErrorKind, InstanceToken, Type, Types, ValidationError};
use serde_json::{Map, Value};
use tidings_core::{
    Code, Error, Payload, Result,
    contract::DataType,
    schemars::{Schema, SchemaGenerator},
};

use super::once::Once;

/// References that a schema may have: to its own definitions.
const DEFINITIONS: [&str; 2] = ["#/$defs/", "#/definitions/"];

/// Data that is held against a JSON Schema.
pub(super) struct AgainstSchema {
    prefix: String,
    schema: Value,
    compiled: Option<Compiled>,
    names: OnceLock<BTreeMap<String, String>>,
}

/// A schema, ready to judge.
struct Compiled {
    schemas: boon::Schemas,
    whole: boon::SchemaIndex,
}

impl Compiled {
    fn of(schema: &Value) -> Result<Self, String> {
        let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
        compiler.set_default_draft(boon::Draft::V2020_12);
        // No scheme is known to it, so no schema makes the server read a file.
        compiler.use_loader(Box::new(boon::SchemeUrlLoader::new()));
        compiler.add_resource(NAME, schema.clone()).map_err(|error| not_a_schema(&error))?;
        let whole = compiler.compile(NAME, &mut schemas).map_err(|error| not_a_schema(&error))?;
        Ok(Self { schemas, whole })
    }
}

/// The name of a schema for the compiler; nothing is ever loaded from it.
const NAME: &str = "urn:tidings:declared";

/// Why a schema is none, with its place, in one line.
fn not_a_schema(error: &CompileError) -> String {
    let CompileError::ValidationError { src, .. } = error else {
        let said = error.to_string().replace(NAME, "");
        return format!("is no JSON Schema: {}", said.split_whitespace().collect::<Vec<_>>().join(" "));
    };
    // Where several things would do, the first of them is told.
    let mut error = src;
    while let Some(cause) = error.causes.first() {
        error = cause;
    }
    let mut place = "schema".to_owned();
    for token in &error.instance_location.tokens {
        match token {
            InstanceToken::Prop(name) => place = format!("{place}.{name}"),
            InstanceToken::Item(index) => place = format!("{place}[{index}]"),
        }
    }
    format!("is no JSON Schema: {place}: {}", told(&error.kind))
}

impl AgainstSchema {
    pub(super) fn new(event_type: &str, schema: Option<Value>) -> Result<Self, String> {
        let compiled = match &schema {
            Some(schema) => {
                check_references(schema)?;
                Some(Compiled::of(schema)?)
            }
            None => None,
        };
        let words = event_type.split(['.', '_']).filter(|word| !word.is_empty());
        let words = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
        let schema = schema.unwrap_or_else(|| Map::new().into());
        Ok(Self { prefix: words.collect(), schema, compiled, names: OnceLock::new() })
    }

    /// The name of each of its definitions among all types: with the event's before it, and longer where another
    /// type is called so already. They are chosen once: afterwards its own are among them.
    fn names(&self, taken: &Map<String, Value>) -> &BTreeMap<String, String> {
        self.names.get_or_init(|| {
            let mut names = BTreeMap::new();
            for kept in ["$defs", "definitions"] {
                for name in self.schema.get(kept).and_then(Value::as_object).into_iter().flat_map(Map::keys) {
                    let mut unique = format!("{}{name}", self.prefix);
                    while taken.contains_key(&unique) || names.values().any(|other| *other == unique) {
                        unique.push('_');
                    }
                    names.insert(name.clone(), unique);
                }
            }
            names
        })
    }
}

impl DataType for AgainstSchema {
    /// The schema, with its definitions among those of the generator under names of their own.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let names = self.names(generator.definitions());
        let mut schema = renamed(&self.schema, names);
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("$schema");
            fields.remove("$id");
            fields.entry("type").or_insert_with(|| "object".into());
            for kept in ["$defs", "definitions"] {
                let Some(Value::Object(definitions)) = fields.remove(kept) else { continue };
                for (name, definition) in definitions {
                    generator.definitions_mut().insert(names[&name].clone(), definition);
                }
            }
        }
        Schema::try_from(schema).unwrap_or_default()
    }

    fn read(&self, payload: &mut Payload) -> Result<()> {
        let data = &payload.read::<Once>()?.0;
        let Some(Compiled { schemas, whole }) = &self.compiled else { return Ok(()) };
        let Err(wrong) = schemas.validate(data, *whole) else { return Ok(()) };
        let mut refused = Error::new(Code::InvalidData, "some fields are not valid");
        let mut left = vec![&wrong];
        while let Some(error) = left.pop() {
            left.extend(&error.causes);
            for (field, why) in refusals(error) {
                refused = refused.with_field(field, why);
            }
        }
        Err(refused)
    }
}

/// The fields that an error of a schema is about, and why each is refused: as the types of Rust's domains tell it.
/// None where others say why.
fn refusals(error: &ValidationError<'_, '_>) -> Vec<(String, String)> {
    let mut place = "data".to_owned();
    for token in &error.instance_location.tokens {
        match token {
            InstanceToken::Prop(name) => place = format!("{place}.{name}"),
            InstanceToken::Item(index) => place = format!("{place}[{index}]"),
        }
    }
    let of = |name: &str, why: &str| (format!("{place}.{name}"), why.to_owned());
    match &error.kind {
        ErrorKind::Required { want } => want.iter().map(|name| of(name, "is missing")).collect(),
        ErrorKind::AdditionalProperties { got } => got.iter().map(|name| of(name, "is not known")).collect(),
        kind if error.causes.is_empty() => vec![(place, told(kind))],
        _ => Vec::new(),
    }
}

/// What is wrong. It never holds the value that is refused: only kinds whose text is known to hold none say it.
fn told(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Pattern { want, .. } => format!("does not match the pattern {want:?}"),
        ErrorKind::Format { want, .. } => format!("is no {want}"),
        ErrorKind::Minimum { want, .. } => format!("must be at least {want}"),
        ErrorKind::Maximum { want, .. } => format!("must be at most {want}"),
        ErrorKind::ExclusiveMinimum { want, .. } => format!("must be more than {want}"),
        ErrorKind::ExclusiveMaximum { want, .. } => format!("must be less than {want}"),
        ErrorKind::MultipleOf { want, .. } => format!("must be a multiple of {want}"),
        ErrorKind::Type { want, .. } => format!("expected {}", expected(*want)),
        ErrorKind::Enum { .. }
        | ErrorKind::Const { .. }
        | ErrorKind::MinProperties { .. }
        | ErrorKind::MaxProperties { .. }
        | ErrorKind::Dependency { .. }
        | ErrorKind::DependentRequired { .. }
        | ErrorKind::MinItems { .. }
        | ErrorKind::MaxItems { .. }
        | ErrorKind::Contains
        | ErrorKind::MinContains { .. }
        | ErrorKind::MaxContains { .. }
        | ErrorKind::UniqueItems { .. }
        | ErrorKind::AdditionalItems { .. }
        | ErrorKind::MinLength { .. }
        | ErrorKind::MaxLength { .. }
        | ErrorKind::FalseSchema
        | ErrorKind::Not
        | ErrorKind::OneOf(_) => kind.to_string(),
        _ => "is not valid".to_owned(),
    }
}

fn expected(types: Types) -> String {
    let named = |kind: Type| match kind {
        Type::Null => "null",
        Type::Boolean => "a boolean",
        Type::Integer => "a whole number",
        Type::Number => "a number",
        Type::String => "a string",
        Type::Array => "an array",
        Type::Object => "an object",
    };
    types.iter().map(named).collect::<Vec<_>>().join(" or ")
}

/// Refuses references that lead out of the schema, or elsewhere in it than to its definitions.
fn check_references(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref")
                && !DEFINITIONS.iter().any(|place| to.strip_prefix(place).is_some_and(|name| !name.contains('/')))
            {
                return Err(format!("the $ref {to:?} does not lead to #/$defs/NAME"));
            }
            fields.values().try_for_each(check_references)
        }
        Value::Array(values) => values.iter().try_for_each(check_references),
        _ => Ok(()),
    }
}

/// The schema with every reference to a definition led to the same under another name.
fn renamed(schema: &Value, names: &BTreeMap<String, String>) -> Value {
    match schema {
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| match value.as_str() {
                Some(to) if key == "$ref" => {
                    let name = to.rsplit('/').next().unwrap_or_default();
                    (key.clone(), Value::from(format!("#/$defs/{}", names.get(name).map_or(name, String::as_str))))
                }
                _ => (key.clone(), renamed(value, names)),
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(values) => values.iter().map(|value| renamed(value, names)).collect(),
        other => other.clone(),
    }
}
