//! Requests to the engine's path: what their query says, and the small answers of its own form.
//!
//! Guarantees: a query that says nothing known asks for nothing.
//! It is not the judgement of a request: socketioxide refuses what is wrong.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, Uri, header},
};

/// What a request says of itself.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) sid: Option<String>,
    pub(super) websocket: bool,
    pub(super) known_engine: bool,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let mut query = Self::default();
        for pair in uri.query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("sid", sid)) => query.sid = Some(sid.to_owned()),
                Some(("transport", transport)) => query.websocket = transport == "websocket",
                Some(("EIO", version)) => query.known_engine = version == "4",
                _ => {}
            }
        }
        query
    }
}

/// A small answer of the engine's own form.
pub(super) fn plain(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
