//! The routes under `/socket.io/`: which request is what.
//!
//! Guarantees: a handshake beyond the bounds is asked to come back, before anything of it exists.
//! It is not the answer to any: polls and posts are in `polling`, WebSockets in `upgrade`, and the
//! protocol is socketioxide's.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
    routing::any,
};

use super::{
    SocketIoTransport, polling,
    request::{Query, plain},
    upgrade,
};
use crate::connection::websocket;

impl SocketIoTransport {
    /// The routes under `/socket.io/`.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/socket.io/", any(handle)).route("/socket.io", any(handle)).with_state(self.clone())
    }
}

async fn handle(State(transport): State<Arc<SocketIoTransport>>, request: Request<Body>) -> Response<Body> {
    let query = Query::of(request.uri());
    if query.sid.is_none() && transport.connections.admission.refuses().is_some() {
        let mut refusal = plain(StatusCode::SERVICE_UNAVAILABLE, r#"{"code":4,"message":"Try again later"}"#);
        refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return refusal;
    }
    if query.websocket && query.known_engine && request.method() == Method::GET && websocket::is_asked(&request) {
        return upgrade::switch(&transport, request, &query);
    }
    let Some(sid) = query.sid.filter(|_| !query.websocket) else { return polling::open(&transport, request).await };
    let session = transport.session(&sid);
    if let Some(session) = &session {
        session.heard(transport.connections.parts.clock.monotonic());
    }
    match (session, request.method()) {
        (_, &Method::GET) => polling::poll(&transport, &sid, request).await,
        (Some(session), &Method::POST) => polling::post(&transport, &session, request).await,
        _ => polling::pass(&transport, request).await,
    }
}
