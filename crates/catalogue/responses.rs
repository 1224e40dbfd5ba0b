//! The responses of the OpenAPI document: what each route answers when all is well, and how it can refuse.
//!
//! Guarantees: each status by its number, with the codes that it is refused with.
//! It does not say which request is refused: that is the routes' and the commands' own.

use serde_json::{Map, Value, json};
use tidings_core::{Code, document::Reply};

use crate::vocabulary::{Route, reference};

/// The statuses of refusals, with their names in the document and what they mean.
const REFUSALS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "It cannot be understood."),
    (401, "Unauthenticated", "It needs a token, or another one."),
    (
        403,
        "Forbidden",
        "It is not allowed without a grant, or there is nothing there, or a page of a foreign origin asks.",
    ),
    (404, "NotFound", "There is no such thing, or none that the caller may see."),
    (408, "RequestTimeout", "The body took too long to arrive."),
    (409, "Conflict", "It contradicts what is there already."),
    (413, "TooLarge", "It is larger than the limit."),
    (415, "UnsupportedMediaType", "The body says that it is no JSON."),
    (422, "InvalidData", "Its fields are not valid: `fields` says which, and why."),
    (429, "RateLimited", "Too often, or too many at once: `retryAfterMs` says when to come back."),
    (500, "Internal", "A fault of the server, whose log has it under the id that the message ends in."),
    (503, "Unavailable", "The server cannot do it now: it is stopping, or has too much to do, or lacks something."),
];

/// What a request brings, and so how it can be refused.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Brings {
    /// A token counts.
    pub(crate) token: bool,
    /// It says who asks in its body.
    pub(crate) credentials: bool,
    /// Its path or its query have fields, or a header that is read.
    pub(crate) fields: bool,
    /// It names something that may not be there.
    pub(crate) names: bool,
    /// It has a body.
    pub(crate) body: bool,
    /// It may contradict what is there.
    pub(crate) contradicts: bool,
    /// It counts for the rate of whoever asks.
    pub(crate) rate: bool,
}

impl Brings {
    fn may_be(self, status: u16) -> bool {
        match status {
            400 => self.fields || self.body,
            401 => self.token || self.credentials,
            404 => self.names,
            408 | 413 | 415 => self.body,
            409 => self.contradicts,
            422 => self.fields || self.body,
            429 => self.rate,
            _ => true,
        }
    }
}

/// The codes that a status is refused with. Two statuses are HTTP's own, with the nearest code.
fn codes(status: u16) -> Vec<&'static str> {
    let status = if matches!(status, 408 | 415) { 400 } else { status };
    let codes = Code::ALL.iter().filter(|code| code.http_status() == status).map(|code| code.as_str());
    if status == 400 { codes.take(3).collect() } else { codes.collect() }
}

/// The responses that routes refer to.
pub(crate) fn components() -> Value {
    let response = |(status, name, doc): (u16, &str, &str)| {
        let own = json!({ "properties": { "status": { "const": status }, "code": { "enum": codes(status) } } });
        let schema = json!({ "allOf": [reference("Problem"), own] });
        let mut response =
            json!({ "description": doc, "content": { "application/problem+json": { "schema": schema } } });
        if status == 401 {
            let challenge = json!({ "type": "string", "description": "What is asked for: a bearer token." });
            response["headers"]["WWW-Authenticate"] = json!({ "required": true, "schema": challenge });
        }
        if matches!(status, 429 | 503) {
            let seconds = json!({ "type": "integer", "minimum": 0, "description": "When to come back, in seconds." });
            response["headers"]["Retry-After"] = json!({ "schema": seconds });
        }
        (name.to_owned(), response)
    };
    REFUSALS.into_iter().map(response).collect::<Map<_, _>>().into()
}

/// The responses of a route: this one when all is well, and the refusals that what it brings may get.
pub(crate) fn of(status: u16, content: Option<(&str, Value)>, brings: Brings) -> Value {
    let mut response = json!({ "description": "It is done." });
    if let Some((kind, schema)) = content {
        response["content"] = json!({ kind: { "schema": schema } });
    }
    let refusals = REFUSALS.iter().filter(|(status, ..)| brings.may_be(*status));
    let refusals = refusals
        .map(|(status, name, _)| (status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") })));
    [(status.to_string(), response)].into_iter().chain(refusals).collect::<Map<_, _>>().into()
}

/// The responses of a route of the server's own.
pub(crate) fn of_route(route: &Route) -> Value {
    let row = &route.row;
    let is_api = row.path.starts_with("/api/");
    let brings = Brings {
        token: !row.public,
        credentials: row.public && row.body.is_some(),
        fields: row.segment.is_some() || !row.query.is_empty() || (is_api && row.body.is_none() && !row.public),
        names: row.segment.is_some(),
        body: row.body.is_some(),
        contradicts: !row.public && (row.body.is_some() || row.method == tidings_core::command::Method::Delete),
        rate: is_api || row.path == "/",
    };
    match (&row.reply, &route.answer) {
        (Reply::Json(status, _), Some(schema)) => of(*status, Some(("application/json", schema.clone())), brings),
        (Reply::Text, _) => of(200, Some(("text/plain", json!({ "type": "string" }))), brings),
        (Reply::Page, _) => of(200, Some(("text/html", json!({ "type": "string" }))), brings),
        _ => of(204, None, brings),
    }
}
