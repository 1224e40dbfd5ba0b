//! What is wrong with a value that came in: each field and why.
//!
//! Guarantees: fields are named as the wire has them, with their place; a rejected value is never quoted.
//! It knows no command and no event.

use serde::de::{Deserialize, DeserializeOwned};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use crate::{Code, Error, Result, json};

/// The most characters of a client's text that an error shows.
const SHOWN: usize = 128;

/// Runs a type's validation rules.
///
/// # Errors
/// `invalid_data` with each field and why, never with the rejected value.
pub fn check(value: &impl Validate) -> Result<()> {
    check_under("", value)
}

/// The same, of a value that stands under this path: `data.` for the data of an event.
pub(crate) fn check_under(path: &str, value: &impl Validate) -> Result<()> {
    let Err(errors) = value.validate() else { return Ok(()) };
    let mut error = Error::new(Code::InvalidData, "some fields are not valid");
    collect(path, &errors, &mut error);
    Err(error)
}

fn collect(path: &str, errors: &ValidationErrors, error: &mut Error) {
    for (field, kind) in errors.errors() {
        let place = format!("{path}{}", on_the_wire(field));
        match kind {
            ValidationErrorsKind::Field(rules) => {
                let texts = rules.iter().map(|rule| match &rule.message {
                    Some(message) => message.to_string(),
                    None => format!("breaks the rule '{}'", rule.code),
                });
                // A rule over the whole value has no field of its own.
                let place = if field == "__all__" { path.trim_end_matches('.').to_owned() } else { place };
                *error = error.clone().with_field(place, texts.collect::<Vec<_>>().join("; "));
            }
            ValidationErrorsKind::Struct(inner) => collect(&format!("{place}."), inner, error),
            ValidationErrorsKind::List(entries) => {
                for (index, inner) in entries {
                    collect(&format!("{place}[{index}]."), inner, error);
                }
            }
        }
    }
}

/// A field's name in Rust as the wire has it.
fn on_the_wire(field: &str) -> String {
    let mut words = field.trim_start_matches("r#").split('_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_ascii_uppercase() + &word[1..])
}

/// Reads a JSON text that came in.
///
/// # Errors
/// `bad_request` for what is no JSON; `invalid_data` with the field that is not known, is missing, is there twice or is
/// of another form.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    json::from_str(text).map_err(|error| unread::<T>("", text, &error))
}

/// The same, of a text whose parts are borrowed or passed on.
///
/// # Errors
/// As [`read`].
pub fn read_parts<'t, T: Deserialize<'t>>(text: &'t json::Text<'_>) -> Result<T> {
    text.read().map_err(|first| {
        let readable = text.readable();
        match serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(readable)) {
            Ok(_) => refused("", &first),
            Err(error) => found("", readable, &error.path().to_string(), error.inner()),
        }
    })
}

/// What is wrong with a JSON text that did not become a `T`; `path` is where the text stands, such as
/// `data`, or empty. A second look, for the place: the first one is fast.
pub(crate) fn unread<T: DeserializeOwned>(path: &str, text: &str, first: &serde_json::Error) -> Error {
    let text = json::plain(text).map_or_else(|| json::readable(text), Into::into);
    let mut json = serde_json::Deserializer::from_str(&text);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => refused(path, first),
        Err(error) => found(path, &text, &error.path().to_string(), error.inner()),
    }
}

/// What is wrong at a place in a JSON text. Apart from [`unread`], which is compiled once for each type.
fn found(path: &str, text: &str, place: &str, error: &serde_json::Error) -> Error {
    let joined = match (path, place) {
        (path, ".") => path.to_owned(),
        ("", place) => place.to_owned(),
        (path, place) => format!("{path}.{place}"),
    };
    match json::fits(text) {
        // By its grammar it is JSON: serde_json has no other name for what it cannot hold.
        Err(why) if error.is_syntax() => Error::invalid_field(joined, why.to_string()),
        _ => refused(&joined, error),
    }
}

/// What is wrong with JSON: the field and what was expected there, without its value.
pub(crate) fn refused(path: &str, error: &serde_json::Error) -> Error {
    if !error.is_data() {
        return Error::bad_request(format!("not valid JSON, at line {} column {}", error.line(), error.column()));
    }
    let path = if path == "." { "" } else { path };
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let path = shown(path);
    let inside = |field: &str| if path.is_empty() { shown(field) } else { format!("{path}.{}", shown(field)) };
    match (what.split('`').nth(1), what.rsplit_once("expected ")) {
        (Some(field), _) if what.starts_with("missing field") => Error::invalid_field(inside(field), "is missing"),
        // The path of a field that is not known ends with it already.
        (Some(field), _) if what.starts_with("unknown field") || what.starts_with("duplicate field") => {
            let is_there = path.rsplit('.').next().is_some_and(|last| last == shown(field));
            let place = if is_there { path } else { inside(field) };
            let why = if what.starts_with("unknown") { "is not known" } else { "is there twice" };
            Error::invalid_field(place, why)
        }
        // The whole of it has no name.
        (_, Some((_, expected))) if path.is_empty() => Error::new(Code::InvalidData, format!("expected {expected}")),
        (_, Some((_, expected))) => Error::invalid_field(path, format!("expected {expected}")),
        _ => Error::invalid_field(path, "is not of the expected form"),
    }
}

/// A client's text as an error may show it.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect()
}
