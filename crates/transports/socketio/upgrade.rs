//! The WebSocket upgrade: done here, so that socketioxide gets a stream of ours.
//!
//! Guarantees: nothing of the request but its address is kept for the connection's life; a session
//! that polls changes to the WebSocket without loss, double or disorder, and a probe that dies leaves
//! it as it was.
//! It is not the engine's handshake: socketioxide does that on the stream.

use std::{io, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, Uri, header},
};
use bytes::BytesMut;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::Service;

use super::{
    SocketIoTransport,
    frames::{self, Begins},
    heartbeat::Advertised,
    polling,
    request::{Query, plain},
    session::SessionEars,
    tap::Tap,
};
use crate::connection::{Handshake, Line};

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
    // A copy: the address itself would keep the whole buffer that the request was read into.
    let uri = request.uri().path_and_query().and_then(|address| address.as_str().to_owned().parse::<Uri>().ok());
    let (Some(accept), Some(uri)) = (accept, uri) else {
        return plain(StatusCode::BAD_REQUEST, r#"{"code":3,"message":"Bad request"}"#);
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let (holder, sid) = (transport.clone(), query.sid.clone());
    let handshake = transport.connections.admission.begin();
    transport.connections.parts.tasks.spawn(
        "socketio.upgrade",
        Box::pin(async move {
            let stream = match upgraded.await {
                Ok(upgraded) => Stream::of(upgraded),
                Err(error) => return tracing::debug!(%error, "an upgrade was not completed"),
            };
            match (stream, sid) {
                (Some(stream), None) => {
                    let (line, tap) = stream.into_line(&holder, handshake);
                    hand_over(&holder, tap, uri, line);
                }
                (Some(stream), Some(sid)) => change(&holder, stream, uri, &sid, handshake).await,
                (None, _) => tracing::error!("a WebSocket over something else than TCP cannot be served"),
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

/// A stream that is no longer HTTP's, and what was read of it already.
struct Stream {
    socket: TcpStream,
    early: BytesMut,
}

impl Stream {
    fn of(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        Some(Self { socket: parts.io.into_inner(), early: BytesMut::from(&parts.read_buf[..]) })
    }

    fn into_line(self, transport: &SocketIoTransport, handshake: Handshake) -> (Arc<Line>, Tap) {
        let advertised = Advertised(transport.connections.parts.config.ping_timeout);
        let line = Line::new(self.socket, transport.connections.parts.clock.clone(), handshake);
        let tap = Tap::new(line.clone(), self.early.freeze(), advertised, transport.connections.admission.stream());
        (line, tap)
    }

    /// The text of the client's next short frame, which stays in what was read. `from` is where it begins.
    async fn next_text(&mut self, from: usize) -> io::Result<(Vec<u8>, usize)> {
        loop {
            match frames::begins(&self.early[from..]) {
                Begins::Text(text, length) => return Ok((text, from + length)),
                Begins::Other => return Err(io::ErrorKind::InvalidData.into()),
                Begins::Part => {}
            }
            self.socket.readable().await?;
            match self.socket.try_read_buf(&mut self.early) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.writable().await?;
            match self.socket.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Changes a session that polls to a WebSocket, if its client goes through with it.
async fn change(transport: &Arc<SocketIoTransport>, mut stream: Stream, uri: Uri, sid: &str, handshake: Handshake) {
    let probe = transport.changes.probe(sid);
    let probed = async {
        let (text, end) = stream.next_text(0).await?;
        if text != b"2probe" {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.write(frames::PROBE_ANSWER).await?;
        let (text, _) = stream.next_text(end).await?;
        if text == b"5" { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
    };
    if !matches!(timeout(transport.connections.parts.config.connect_timeout, probed).await, Ok(Ok(()))) {
        metrics::counter!("tidings_upgrades_failed_total").increment(1);
        tracing::debug!("a change to a WebSocket was not finished; the client polls on");
        return tracing::debug!("a probe for an upgrade died; the session polls on");
    }
    probe.polls_over().await;
    let (line, tap) = stream.into_line(transport, handshake);
    // Whoever is accepted from here on finds the line. Whoever was before is held, and gets it below.
    transport.lines.lock().insert(sid.to_owned(), line.clone());
    let session = transport.session(sid);
    let mut told = session
        .as_ref()
        .and_then(|session| {
            session.outlet.with_polled(|polled| {
                polled.changing = true;
                polled.told
            })
        })
        .unwrap_or_default();
    while let Some(body) = polling::take_waiting(transport, sid) {
        for packet in polling::packets(&body).filter(|packet| *packet != b"6") {
            told |= packet.starts_with(b"40");
            if line.begin(&frames::text(&[packet])).is_err() {
                return tracing::debug!("a client left while it changed to a WebSocket");
            }
        }
    }
    if let Some(session) = session {
        line.listen(Arc::new(SessionEars(Arc::downgrade(&session))));
        session.outlet.set_line(line.clone());
    }
    if told {
        line.open();
    }
    hand_over(transport, tap.probed(), uri, line);
}

fn hand_over(transport: &SocketIoTransport, tap: Tap, uri: Uri, line: Arc<Line>) {
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    request.extensions_mut().insert(line);
    if let Err(error) = Service::<(_, Request<()>)>::call(&mut transport.service(), (tap, request)).into_inner() {
        tracing::debug!(%error, "a stream was not taken");
    }
}
