//! The routes under `/socket.io/`: which request is what.
//!
//! Guarantees: a page of a foreign origin is refused first; a handshake beyond the bounds is asked to come back, before
//! anything of it exists; a request that is none is refused as the reference refuses it; a session is only found by the
//! engine's id.
//! It is not the answer to any: polls and posts are in `polling`, WebSockets in `upgrade`.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
    routing::any,
};

use super::{
    SocketIoTransport,
    engines::Engine,
    polling,
    request::{Query, Refusal, Transport},
    upgrade,
};
use crate::{connection::websocket, http::Origins};

impl SocketIoTransport {
    /// The routes under `/socket.io/`, for programs and for pages of these origins.
    pub fn router(self: &Arc<Self>, origins: Origins) -> Router {
        let routes = Router::new().route("/socket.io/", any(handle)).route("/socket.io", any(handle));
        origins.guard(routes, || Refusal::Origin.answer()).with_state(self.clone())
    }
}

async fn handle(State(transport): State<Arc<SocketIoTransport>>, request: Request<Body>) -> Response<Body> {
    let mut response = match judge(&transport, &request) {
        Ok(engine) => answer(&transport, engine, request).await,
        Err(refusal) => refusal.answer(),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whose session a request is about, if it is about one. The order of the questions is the reference's.
fn judge(transport: &SocketIoTransport, request: &Request<Body>) -> Result<Option<Arc<Engine>>, Refusal> {
    let query = Query::of(request.uri());
    let wants_websocket = query.transport == Transport::WebSocket;
    let is_websocket = wants_websocket && request.method() == Method::GET && websocket::is_asked(request);
    if query.transport == Transport::Unknown {
        return Err(Refusal::Transport);
    }
    let Some(sid) = query.sid else {
        if request.method() != Method::GET {
            return Err(Refusal::Method);
        }
        if wants_websocket && !is_websocket {
            return Err(Refusal::Request);
        }
        if !query.known_engine {
            return Err(Refusal::Version);
        }
        return Ok(None);
    };
    let engine = transport.engines.get(&sid).filter(|engine| !engine.is_over()).ok_or(Refusal::Session)?;
    if !query.known_engine {
        return Err(Refusal::Version);
    }
    // One that is on a WebSocket takes no requests; another WebSocket is turned away.
    if wants_websocket != is_websocket || (engine.line().is_some() && !is_websocket) {
        return Err(Refusal::Request);
    }
    let parts = &transport.connections.parts;
    // The sweep may not have looked yet.
    if engine.line().is_none() && engine.end_if_silent(parts.clock.monotonic(), &parts.config) {
        return Err(Refusal::Session);
    }
    Ok(Some(engine))
}

async fn answer(
    transport: &Arc<SocketIoTransport>,
    engine: Option<Arc<Engine>>,
    request: Request<Body>,
) -> Response<Body> {
    if websocket::is_asked(&request) && Query::of(request.uri()).transport == Transport::WebSocket {
        return upgrade::switch(transport, request, engine);
    }
    let Some(engine) = engine else { return polling::open(transport, request).await };
    engine.heard(transport.connections.parts.clock.monotonic());
    match *request.method() {
        Method::GET => polling::poll(transport, &engine).await,
        Method::POST => polling::post(transport, &engine, request).await,
        _ => Refusal::Request.answer(),
    }
}
