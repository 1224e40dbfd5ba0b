//! The WebSocket upgrade: done here, so that socketioxide gets a stream of ours.
//!
//! Guarantees: the request's headers are not kept for the connection's life; the stream is a
//! [`Line`] that can be counted, paused and ended.
//! It is not the engine's handshake: socketioxide does that on the stream.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::Service;

use super::{
    SocketIoTransport,
    line::{Line, LineEars, Tap},
    request::{Query, plain},
    session::SessionEars,
};

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked(request: &Request<Body>) -> bool {
    request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Answers the upgrade and hands the stream over when it comes.
pub(super) fn switch(transport: &Arc<SocketIoTransport>, mut request: Request<Body>, query: &Query) -> Response<Body> {
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| version == Some(b"13"));
    let accept = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        return plain(StatusCode::BAD_REQUEST, r#"{"code":3,"message":"Bad request"}"#);
    };
    let uri = request.uri().clone();
    let upgraded = hyper::upgrade::on(&mut request);
    let (holder, sid) = (transport.clone(), query.sid.clone());
    transport.parts.tasks.spawn(
        "socketio.upgrade",
        Box::pin(async move {
            match upgraded.await {
                Ok(stream) => hand_over(&holder, TokioIo::new(stream), uri, sid),
                Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
            }
        }),
    );
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn hand_over<S>(transport: &Arc<SocketIoTransport>, stream: S, uri: axum::http::Uri, sid: Option<String>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let line = Line::new(transport.parts.clock.clone(), sid.is_some());
    if let Some(sid) = sid {
        // The session may be accepted already, or only while the probe runs.
        transport.lines.lock().insert(sid.clone(), line.clone());
        if let Some(session) = transport.session(&sid) {
            session.outlet.set_line(line.clone());
            let ears: Arc<dyn LineEars> = Arc::new(SessionEars(Arc::downgrade(&session)));
            line.listen(&ears);
        }
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    request.extensions_mut().insert(line.clone());
    if let Err(error) = Service::<(_, Request<()>)>::call(
        &mut transport.service(),
        (Tap::new(stream, line, &transport.open_streams), request),
    )
    .into_inner()
    {
        tracing::debug!(%error, "a stream was not taken");
    }
}
