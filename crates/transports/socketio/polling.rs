//! HTTP long-polling: requests pass through to socketioxide, watched on their way.
//!
//! Guarantees: what a poll answered counts as written once the next poll comes; a POST with many
//! packets is fed in portions, so that a flooding client waits instead of losing anything; of a client one POST at a
//! time is read, and its bytes are held for its user; before a client is accepted, it has room for its token only, and
//! counts as a handshake.
//! It is not the protocol: socketioxide answers.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header},
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{Either, select},
};
use http_body_util::{BodyExt, Full, Limited};
use tokio::task::unconstrained;
use tower::Service;

use super::{
    MAX_PAYLOAD, MAX_UNACCEPTED, SocketIoTransport, heartbeat::Advertised, polled::Polled, request::plain,
    session::Session,
};

/// Separates the packets of a polling payload (Engine.IO 4).
const SEPARATOR: u8 = 0x1e;
/// Packets that are fed at once.
const PORTION: usize = 64;

/// A request that opens a session, or that is refused.
pub(super) async fn open(transport: &SocketIoTransport, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = pass(transport, request).await.into_parts();
    let Ok(body) = body.collect().await else { return bad_request() };
    let body = body.to_bytes();
    if let Some(sid) = opened(&body) {
        let handshake = transport.connections.admission.begin();
        transport.opening.lock().insert(sid.to_owned(), (transport.connections.parts.clock.monotonic(), handshake));
    }
    let advertised = Advertised(transport.connections.parts.config.ping_timeout);
    let body = advertised.corrected_body(&body).into_owned();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// The id of the session that was opened, in the packet that says so.
fn opened(body: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(body).ok()?.strip_prefix('0')?.split_once("\"sid\":\"")?;
    Some(rest.split_once('"')?.0)
}

fn bad_request() -> Response<Body> {
    plain(StatusCode::BAD_REQUEST, r#"{"code":3,"message":"Bad request"}"#)
}

/// The answer to a poll that is to end without a packet: one that says nothing.
fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::from("6"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}

pub(super) async fn pass(transport: &SocketIoTransport, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, MAX_UNACCEPTED).collect().await {
        Ok(body) => forward(transport, Request::from_parts(parts, Full::new(body.to_bytes()))).await,
        Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, r#"{"code":3,"message":"Payload too large"}"#),
    }
}

async fn forward(transport: &SocketIoTransport, request: Request<Full<Bytes>>) -> Response<Body> {
    let answered = Service::<Request<Full<Bytes>>>::call(&mut transport.service(), request).await;
    match answered {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// A poll: what the last one answered has arrived.
pub(super) async fn poll(transport: &SocketIoTransport, sid: &str, request: Request<Body>) -> Response<Body> {
    let turn = transport.changes.poll(sid);
    if turn.held().await {
        return nothing();
    }
    if let Some(session) = transport.session(sid) {
        session.outlet.with_polled(Polled::arrived);
    }
    let (passing, probing) = (std::pin::pin!(pass(transport, request)), std::pin::pin!(turn.probes()));
    let response = match select(passing, probing).await {
        Either::Left((response, _)) => response,
        // A poll that waits has taken nothing out of the queue: it may be let go.
        Either::Right(((), _)) => return nothing(),
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return bad_request() };
    let body = body.to_bytes();
    if let Some(session) = transport.session(sid) {
        session.heard(transport.connections.parts.clock.monotonic());
        session.outlet.with_polled(|polled| polled.answered(packets(&body)));
    }
    Response::from_parts(parts, Body::from(body))
}

/// The packets of a payload.
pub(super) fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR).filter(|packet| !packet.is_empty())
}

/// What waits for a session's next poll, as that poll would be answered; none when nothing does. No
/// poll of the session may be under way.
pub(super) fn take_waiting(transport: &SocketIoTransport, sid: &str) -> Option<Bytes> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = address(sid)?;
    // Without a budget: a task that has used its own up would be told that nothing waits.
    let response = unconstrained(forward(transport, request)).now_or_never()?;
    if !response.status().is_success() {
        return None;
    }
    response.into_body().collect().now_or_never()?.ok().map(http_body_util::Collected::to_bytes)
}

fn address(sid: &str) -> Option<Uri> {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}").parse().ok()
}

/// A post: its packets go in as the mailbox has room for them.
pub(super) async fn post(transport: &SocketIoTransport, session: &Session, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // Others wait unread. The semaphore is never closed.
    let Ok(_turn) = session.posting.acquire().await else { return bad_request() };
    let Ok(body) = Limited::new(body, MAX_PAYLOAD).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, r#"{"code":3,"message":"Payload too large"}"#);
    };
    let body = body.to_bytes();
    let _held = match session.client.connection.share().hold(body.len()) {
        Ok(held) => held,
        Err(bound) => {
            bound.count("bodies");
            return plain(StatusCode::SERVICE_UNAVAILABLE, r#"{"code":4,"message":"Try again later"}"#);
        }
    };
    let packets: Vec<&[u8]> = body.split(|byte| *byte == SEPARATOR).collect();
    let mut answer = None;
    for portion in packets.chunks(PORTION) {
        while session.client.mailbox.is_crowded() && !session.client.connection.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let portion = Bytes::from(portion.join(&SEPARATOR));
        let mut part = Request::new(Full::new(portion));
        *part.method_mut() = Method::POST;
        *part.uri_mut() = parts.uri.clone();
        *part.headers_mut() = parts.headers.clone();
        part.headers_mut().remove(header::CONTENT_LENGTH);
        let response = forward(transport, part).await;
        let failed = !response.status().is_success();
        answer = Some(response);
        if failed {
            break;
        }
    }
    answer.unwrap_or_else(bad_request)
}

/// Ends a polling session as its client would: with a close packet, which frees everything of it.
pub(super) async fn close(transport: &SocketIoTransport, sid: &str) {
    let Some(uri) = address(sid) else { return };
    let mut request = Request::new(Full::new(Bytes::from_static(b"1")));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    let answer = forward(transport, request).await;
    tracing::debug!(status = %answer.status(), "a polling session was closed");
}
