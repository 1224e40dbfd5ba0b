//! Bodies: JSON texts, bounded in size, and what is said of bad ones.
//!
//! Guarantees: a body over the limit is refused before it is read where its length is declared, and
//! while it is read where not; what is said of bad JSON names the field and the place, not the value.
//! It is not the judgement of a domain's input: rows parse their own. Nor is it the deadline of a body: who serves the
//! router sets that (see [`crate::body`]).

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use tidings_core::{Code, Error, Result, refusal};

use super::{Shared, limits::BodyRoom, problem::Problem};
use crate::body::{Unread, declared, read};

/// The text of a JSON body; empty where there is no body.
pub(super) struct Text(pub(super) String);

/// A JSON object of this type.
pub(super) struct Json<T>(pub(super) T);

impl FromRequest<Shared> for Text {
    type Rejection = Response;
    async fn from_request(request: Request, state: &Shared) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let room = parts.extensions.get::<BodyRoom>();
        let bytes = collect(&parts.headers, body, (state.config.body_limit, room)).await.map_err(|problem| {
            let mut response = problem.into_response();
            // What is left of the body would be taken for the next request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        })?;
        text(&parts.headers, bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Response;
    async fn from_request(request: Request, state: &Shared) -> Result<Self, Self::Rejection> {
        let Text(text) = Text::from_request(request, state).await?;
        parse_object(&text).map(Self).map_err(|error| Problem::from(error).into_response())
    }
}

/// Reads a body. Its bytes are held before they are read: the declared ones, else as many as there may be.
async fn collect(headers: &HeaderMap, body: Body, (limit, room): (usize, Option<&BodyRoom>)) -> Result<Bytes, Problem> {
    let too_large = || Error::new(Code::TooLarge, format!("a body has at most {limit} bytes"));
    let bytes = match declared(headers) {
        Some(length) => usize::try_from(length).ok().filter(|length| *length <= limit).ok_or_else(too_large)?,
        None => limit,
    };
    if let Some(room) = room {
        room.hold(bytes)?;
    }
    let read = read(body, limit).await.map_err(|why| match why {
        Unread::TooLarge => Problem::from(too_large()),
        Unread::Broken => Error::bad_request("the body could not be read to its end").into(),
        Unread::TooSlow => {
            let error = Error::bad_request("the body took too long to arrive");
            Problem::with_status(StatusCode::REQUEST_TIMEOUT, error)
        }
    })?;
    if let Some(room) = room {
        room.is(read.len());
    }
    Ok(read)
}

fn text(headers: &HeaderMap, bytes: Bytes) -> Result<String, Problem> {
    if !bytes.is_empty() && !is_json(headers) {
        let error = Error::bad_request("a body is JSON, with the content type application/json");
        return Err(Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    String::from_utf8(bytes.into()).map_err(|_| Error::bad_request("the body is not UTF-8").into())
}

/// Whether the body says it is JSON, or says nothing.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Parses one JSON object of the transport's own.
pub(super) fn parse_object<T: DeserializeOwned>(text: &str) -> Result<T> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Error::bad_request("the body is one JSON object"));
    }
    refusal::read(text)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its absence is asked for")]
        name: String,
        #[expect(dead_code, reason = "only its type is asked for")]
        age: Option<u32>,
    }

    #[test]
    fn a_refusal_names_the_field_and_not_the_value() {
        let table = [
            ("[]", Code::BadRequest, ""),
            ("", Code::BadRequest, ""),
            (r#"{"name":"#, Code::BadRequest, ""),
            (r#"{"name":"a"} x"#, Code::BadRequest, ""),
            (r#"{"age":1}"#, Code::InvalidData, "name"),
            (r#"{"name":"a","name":"b"}"#, Code::InvalidData, "name"),
            (r#"{"name":"a","hunter2":1}"#, Code::InvalidData, "hunter2"),
            (r#"{"name":"a","age":"hunter2, expected"}"#, Code::InvalidData, "age"),
            (r#"{"name":"a","age":"x at line 3, expected hunter2"}"#, Code::InvalidData, "age"),
        ];
        for (text, code, field) in table {
            let error = parse_object::<Sample>(text).expect_err(text);
            assert_eq!(error.code(), code, "{text}");
            assert_eq!(error.fields().keys().next().map_or("", String::as_str), field, "{text}");
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }
}
