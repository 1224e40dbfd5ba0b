//! The WebSocket upgrade: done here, so that socketioxide gets a stream of ours.
//!
//! Guarantees: nothing of the request but its address is kept for the connection's life; a session
//! that polls changes to the WebSocket without loss, double or disorder, and a probe that dies leaves
//! it as it was.
//! It is not the engine's handshake: socketioxide does that on the stream.

use std::{io, sync::Arc};

use axum::{
    body::Body,
    http::{Request, Response, StatusCode, Uri},
};
use tokio::time::timeout;
use tower::Service;

use super::{
    SocketIoTransport,
    frames::{self, Begins},
    greeting::Greeting,
    heartbeat::Advertised,
    polling,
    request::{Query, plain},
    session::SessionEars,
};
use crate::connection::{
    Handshake, Line, Tap,
    frames::text,
    websocket::{self, Stream},
};

/// Answers the upgrade and hands the stream over when it comes.
pub(super) fn switch(transport: &Arc<SocketIoTransport>, mut request: Request<Body>, query: &Query) -> Response<Body> {
    // A copy: the address itself would keep the whole buffer that the request was read into.
    let uri = request.uri().path_and_query().and_then(|address| address.as_str().to_owned().parse::<Uri>().ok());
    let (Some(response), Some(uri)) = (websocket::answer(&request), uri) else {
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
                    let (line, tap) = line_of(stream, &holder, handshake, Greeting::new);
                    hand_over(&holder, tap, uri, line);
                }
                (Some(stream), Some(sid)) => change(&holder, stream, uri, &sid, handshake).await,
                (None, _) => tracing::error!("a WebSocket over something else than TCP cannot be served"),
            }
        }),
    );
    response
}

/// The line of a stream, and what socketioxide sees of it.
fn line_of(
    stream: Stream,
    transport: &SocketIoTransport,
    handshake: Handshake,
    greeting: fn(Advertised) -> Greeting,
) -> (Arc<Line>, Tap<Greeting>) {
    let (parts, admission) = (&transport.connections.parts, &transport.connections.admission);
    let greeting = greeting(Advertised(parts.config.ping_timeout));
    let line = Line::new(stream.socket, parts.clock.clone(), handshake);
    let tap = Tap::new(line.clone(), stream.early.freeze(), greeting, admission.stream());
    (line, tap)
}

/// The text of the client's next short frame, which stays in what was read. `from` is where it begins.
async fn next_text(stream: &mut Stream, from: usize) -> io::Result<(Vec<u8>, usize)> {
    loop {
        match frames::begins(&stream.early[from..]) {
            Begins::Text(text, length) => return Ok((text, from + length)),
            Begins::Other => return Err(io::ErrorKind::InvalidData.into()),
            Begins::Part => {}
        }
        stream.socket.readable().await?;
        match stream.socket.try_read_buf(&mut stream.early) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

async fn write(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.socket.writable().await?;
        match stream.socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Changes a session that polls to a WebSocket, if its client goes through with it.
async fn change(transport: &Arc<SocketIoTransport>, mut stream: Stream, uri: Uri, sid: &str, handshake: Handshake) {
    let probe = transport.changes.probe(sid);
    let probed = async {
        let (text, end) = next_text(&mut stream, 0).await?;
        if text != b"2probe" {
            return Err(io::ErrorKind::InvalidData.into());
        }
        write(&stream, frames::PROBE_ANSWER).await?;
        let (text, _) = next_text(&mut stream, end).await?;
        if text == b"5" { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
    };
    if !matches!(timeout(transport.connections.parts.config.connect_timeout, probed).await, Ok(Ok(()))) {
        metrics::counter!("tidings_upgrades_failed_total").increment(1);
        tracing::debug!("a change to a WebSocket was not finished; the client polls on");
        return tracing::debug!("a probe for an upgrade died; the session polls on");
    }
    probe.polls_over().await;
    let (line, tap) = line_of(stream, transport, handshake, Greeting::probed);
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
            if line.begin(&text(&[packet])).is_err() {
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
    hand_over(transport, tap, uri, line);
}

fn hand_over(transport: &SocketIoTransport, tap: Tap<Greeting>, uri: Uri, line: Arc<Line>) {
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    request.extensions_mut().insert(line);
    if let Err(error) = Service::<(_, Request<()>)>::call(&mut transport.service(), (tap, request)).into_inner() {
        tracing::debug!(%error, "a stream was not taken");
    }
}
