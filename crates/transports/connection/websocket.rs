//! The handshake of a WebSocket (RFC 6455, section 4): from a request of HTTP to the bare stream.
//!
//! Guarantees: a request that is no handshake of version 13 is not answered with one; what the client sent together
//! with it is not lost.
//! It is not the protocol on the stream: each transport has its own.

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use bytes::BytesMut;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::stream::ClientStream;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(request: &Request<Body>) -> bool {
    request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The answer that switches to a WebSocket; none if what is asked for cannot be.
pub(crate) fn answer(request: &Request<Body>) -> Option<Response<Body>> {
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| version == Some(b"13"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

/// A stream that is no longer HTTP's.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    /// What was read of it already.
    pub(crate) early: BytesMut,
}

impl Stream {
    /// None if it runs over something else than a client's TCP stream.
    pub(crate) fn of(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<ClientStream>>().ok()?;
        Some(Self { socket: parts.io.into_inner().into_socket(), early: BytesMut::from(&parts.read_buf[..]) })
    }
}
