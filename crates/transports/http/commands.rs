//! The commands of the domains over HTTP: from path, query and body to the gate, and back.
//!
//! Guarantees: path and body cannot name different things; a body's fields are passed on byte for
//! byte, each at most once; `commandId` and `Idempotency-Key` are one thing.
//! It is not the judgement of an input: the row parses it, the gate authorises it.

use std::{collections::BTreeMap, fmt};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;
use tidings_core::{
    Error, Principal, Result,
    command::{Answer, Command, END, Repeated, WAIT_MS},
    json,
    refusal::{self, shown},
};

use super::{HttpState, prefer};

/// The field that names a command's id.
const COMMAND_ID: &str = "commandId";
/// The most fields of an input. Each is compared with the ones before it.
const MAX_FIELDS: usize = 256;

/// Names and values of path or query.
pub(super) type Pairs = Vec<(String, String)>;

/// Runs a row whose input comes from path and query.
pub(super) async fn run_read(
    state: &HttpState,
    principal: &Principal,
    command: &Command,
    (path, query): (Pairs, Pairs),
    headers: &HeaderMap,
) -> Result<Response> {
    let (pairs, command_id) = (joined(path, query)?, idempotency_key(headers)?);
    let answer = state.gate.run_pairs(principal, command, &pairs, command_id.as_deref()).await?;
    Ok(respond(command.status, answer))
}

/// Runs a row whose input comes from path and body.
pub(super) async fn run_write(
    state: &HttpState,
    principal: &Principal,
    command: &Command,
    path: &Pairs,
    (headers, body): (&HeaderMap, &str),
) -> Result<Response> {
    let wait = if command.waits { prefer::wait(headers) } else { None };
    let (input, command_id, applied) = input(path, body, idempotency_key(headers)?, wait)?;
    let answer = state.gate.run_json(principal, command, &input, command_id.as_deref()).await?;
    let status = if command.waits && has_ended(&answer) { StatusCode::OK.as_u16() } else { command.status };
    let mut response = respond(status, answer);
    if let Some(seconds) = applied {
        prefer::applied(&mut response, seconds);
    }
    Ok(response)
}

/// Whether an answer has the end of what the command began.
fn has_ended(answer: &Answer) -> bool {
    match answer {
        Answer::Json(json) => {
            let fields = json::from_str::<BTreeMap<String, de::IgnoredAny>>(json.get());
            fields.is_ok_and(|fields| fields.contains_key(END))
        }
        Answer::Text(_) | Answer::Repeated => false,
    }
}

/// Path and query as one. A query may repeat what the path says, and nothing else of it.
fn joined(mut path: Pairs, query: Pairs) -> Result<Pairs> {
    let own = path.len();
    for (name, value) in query {
        match path[..own].iter().find(|(known, _)| *known == name) {
            None => path.push((name, value)),
            Some((_, same)) if *same == value => {}
            Some(_) => return Err(Error::invalid_field(name, "is another one in the path")),
        }
    }
    Ok(path)
}

/// The input of a row as a JSON object, the command's id, and the seconds that are waited because a header prefers
/// so: what the body says counts more.
fn input(
    path: &Pairs,
    body: &str,
    key: Option<String>,
    wait: Option<u32>,
) -> Result<(String, Option<String>, Option<u32>)> {
    let body = if body.trim_ascii().is_empty() { "{}" } else { body };
    if !body.trim_ascii_start().starts_with('{') {
        return Err(Error::bad_request("the body is one JSON object"));
    }
    let body = json::Text::new(body);
    let mut fields: Fields<'_> = refusal::read_parts(&body)?;
    let command_id = match (fields.take(COMMAND_ID), key) {
        (None, key) => key,
        (Some(raw), key) => {
            let id = command_id(raw)?;
            if key.is_some_and(|key| key != id) {
                return Err(Error::invalid_field(COMMAND_ID, "is another one than the header Idempotency-Key"));
            }
            Some(id)
        }
    };
    for (name, value) in path {
        match fields.take(name) {
            Some(raw) if json::from_str::<String>(raw.get()).ok().as_ref() != Some(value) => {
                return Err(Error::invalid_field(name, "is another one in the path"));
            }
            Some(_) | None => {}
        }
    }
    let applied = wait.filter(|_| !fields.0.iter().any(|(name, _)| name == WAIT_MS));
    Ok((fields.with(path, applied), command_id, applied))
}

fn command_id(raw: &RawValue) -> Result<String> {
    json::from_str(raw.get()).map_err(|_| Error::invalid_field(COMMAND_ID, "is a text"))
}

/// The header that names the id of a command or of a publication: bare, or quoted as a structured header has it.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().map_err(|_| Error::bad_request("the header Idempotency-Key is ASCII"))?.trim();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if text.contains('"') {
        return Err(Error::bad_request("the header Idempotency-Key is a text, quoted as a whole or not at all"));
    }
    Ok(Some(text.to_owned()))
}

/// The answer of a row as a response. A repeat whose answer is not kept made and accepted nothing: 200.
fn respond(status: u16, answer: Answer) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if status == StatusCode::NO_CONTENT {
        return status.into_response();
    }
    let (content_type, text) = match answer {
        Answer::Json(json) => ("application/json", Box::<str>::from(json).into_string()),
        Answer::Text(text) => ("text/plain; charset=utf-8", text),
        Answer::Repeated => return axum::Json(Repeated::TOLD).into_response(),
    };
    (status, [(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// The fields of a JSON object, in their order, with their values as they came.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Takes a field out.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// The object of these fields, of names and values of the path, and of the seconds to wait.
    fn with(&self, path: &Pairs, wait: Option<u32>) -> String {
        serde_json::to_string(&Joined(&self.0, path, wait)).expect("texts and raw JSON serialise")
    }
}

/// Fields of a body and of a path, and seconds to wait, as one object.
struct Joined<'a>(&'a [(String, &'a RawValue)], &'a Pairs, Option<u32>);

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(seconds) = self.2 {
            map.serialize_entry(WAIT_MS, &(seconds * 1000))?;
        }
        for (name, value) in self.1 {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if fields.len() == MAX_FIELDS {
                        return Err(de::Error::custom("too many fields"));
                    }
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format_args!("duplicate field `{}`", shown(&name))));
                    }
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Code;

    use super::*;

    fn path() -> Pairs {
        vec![("sessionId".to_owned(), "s1".to_owned())]
    }

    #[test]
    fn the_path_goes_into_the_body_and_the_rest_keeps_its_bytes() {
        let body = r#"{"a": { "x":1.0 },"sessionId":"s1","commandId":"c"}"#;
        let (json, id, _) = input(&path(), body, None, None).expect("fine");
        assert_eq!(json, r#"{"sessionId":"s1","a":{ "x":1.0 }}"#);
        assert_eq!(id.as_deref(), Some("c"));
        let (json, id, _) = input(&path(), " ", Some("k".to_owned()), None).expect("no body is an empty object");
        assert_eq!((json.as_str(), id.as_deref()), (r#"{"sessionId":"s1"}"#, Some("k")));
    }

    #[test]
    fn a_preferred_wait_is_a_field_of_the_input_unless_the_body_has_one() {
        let (json, _, applied) = input(&path(), r#"{"a":1}"#, None, Some(2)).expect("fine");
        assert_eq!((json.as_str(), applied), (r#"{"waitMs":2000,"sessionId":"s1","a":1}"#, Some(2)));
        let (json, _, applied) = input(&path(), r#"{"waitMs":5}"#, None, Some(2)).expect("fine");
        assert_eq!((json.as_str(), applied), (r#"{"sessionId":"s1","waitMs":5}"#, None));
    }

    #[test]
    fn path_body_and_header_that_contradict_each_other_are_refused() {
        let table = [
            (r#"{"sessionId":"s2"}"#, "k", Code::InvalidData, "sessionId"),
            (r#"{"sessionId":null}"#, "k", Code::InvalidData, "sessionId"),
            (r#"{"commandId":"c"}"#, "k", Code::InvalidData, "commandId"),
            (r#"{"commandId":7}"#, "k", Code::InvalidData, "commandId"),
            (r#"{"a":1,"a":2}"#, "k", Code::InvalidData, "a"),
            ("[1]", "k", Code::BadRequest, ""),
            (r#"{"a":1"#, "k", Code::BadRequest, ""),
        ];
        for (body, key, code, field) in table {
            let error = input(&path(), body, Some(key.to_owned()), None).expect_err(body);
            assert_eq!(error.code(), code, "{body}");
            assert_eq!(error.fields().keys().next().map_or("", String::as_str), field, "{body}");
        }
    }

    #[test]
    fn a_query_may_repeat_the_path_and_not_contradict_it() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = joined(path(), vec![pair("type", "stdout"), pair("sessionId", "s1")]).expect("fine");
        assert_eq!(pairs, [pair("sessionId", "s1"), pair("type", "stdout")]);
        assert!(joined(path(), vec![pair("sessionId", "s2")]).is_err());
    }

    #[test]
    fn an_answer_leaves_with_the_status_of_its_row_and_its_content_type() {
        let table = [
            (201, Answer::json(&7), Some("application/json")),
            (200, Answer::Text("x".to_owned()), Some("text/plain; charset=utf-8")),
            (204, Answer::json(&()), None),
            (204, Answer::Repeated, None),
        ];
        for (status, answer, content_type) in table {
            let response = respond(status, answer);
            assert_eq!(response.status().as_u16(), status);
            let told = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().expect("ASCII"));
            assert_eq!(told, content_type);
        }
        let repeated = respond(201, Answer::Repeated);
        assert_eq!(repeated.status(), StatusCode::OK, "nothing was made");
        assert_eq!(repeated.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn an_idempotency_key_may_be_quoted() {
        for (text, expected) in
            [("k-1", Some("k-1")), ("\"k-1\"", Some("k-1")), ("\"", None), ("a\"b", None), ("ü", None)]
        {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("idempotency-key"),
                text.parse().expect("a header"),
            )]);
            assert_eq!(idempotency_key(&headers).ok().flatten().as_deref(), expected, "{text}");
        }
    }
}
