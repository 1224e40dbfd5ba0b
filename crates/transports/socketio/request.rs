//! Requests to the engine's path: what their query says, and the answers of the engine's own form.
//!
//! Guarantees: a refusal has the number and the words that the reference has for it; no answer is kept by a cache.
//! It is not the judgement of a request: see `route`.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, Uri, header},
};

use crate::http::FOREIGN_PAGE;

/// How a request wants to be served.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Polling,
    WebSocket,
    #[default]
    Unknown,
}

/// What a request says of itself.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) sid: Option<String>,
    pub(super) transport: Transport,
    pub(super) known_engine: bool,
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let mut query = Self::default();
        for pair in uri.query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("sid", sid)) => query.sid = Some(sid.to_owned()),
                Some(("transport", "polling")) => query.transport = Transport::Polling,
                Some(("transport", "websocket")) => query.transport = Transport::WebSocket,
                Some(("transport", _)) => query.transport = Transport::Unknown,
                Some(("EIO", version)) => query.known_engine = version == "4",
                _ => {}
            }
        }
        query
    }
}

/// Why a request is refused, with the engine's number for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    Transport,
    Session,
    Method,
    Request,
    /// A packet that is refused, and why.
    Packet(&'static str),
    Version,
    /// A page of an origin that may not use the server.
    Origin,
    Busy,
    TooLarge,
    /// A body that took too long to arrive.
    TooSlow,
}

impl Refusal {
    fn parts(self) -> (StatusCode, u8, &'static str) {
        match self {
            Self::Transport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Self::Session => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            Self::Method => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Self::Request => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Self::Packet(why) => (StatusCode::BAD_REQUEST, 3, why),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "Payload too large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, 3, "Bad request: the body took too long to arrive"),
            Self::Origin => (StatusCode::FORBIDDEN, 4, FOREIGN_PAGE),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, 4, "Try again later"),
            Self::Version => (
                StatusCode::BAD_REQUEST,
                5,
                "Unsupported protocol version: this server speaks EIO=4, which socket.io-client 3 and 4 do",
            ),
        }
    }

    /// The answer. A refusal is counted.
    pub(super) fn answer(self) -> Response<Body> {
        let (status, code, message) = self.parts();
        metrics::counter!("tidings_engine_refusals_total", "code" => code.to_string()).increment(1);
        let body = match self {
            Self::Packet(_) => format!(r#"{{"code":{code},"message":"Bad request: {message}"}}"#),
            Self::Origin => format!(r#"{{"code":{code},"message":"Forbidden: {message}"}}"#),
            _ => format!(r#"{{"code":{code},"message":"{message}"}}"#),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if matches!(self, Self::Busy) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The address of a session, or of one that is to be opened, as the engine is asked for it. It is the engine's as long
/// as the session lives: what its client asked for is not kept, with all that may be in there.
pub(super) fn address(transport: Transport, sid: Option<&str>) -> Option<Uri> {
    let name = if transport == Transport::WebSocket { "websocket" } else { "polling" };
    let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
    format!("/socket.io/?EIO=4&transport={name}{sid}").parse().ok()
}

/// The answer to a poll or a post that is in order.
pub(super) fn payload(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}
