//! The WebSocket upgrade: done here, so that socketioxide gets a stream of ours.
//!
//! Guarantees: nothing of the request but its address is kept for the connection's life; a session
//! that polls changes to the WebSocket without loss, double or disorder, and a probe that dies leaves
//! it as it was; one that breaks the protocol is told why in a close frame.
//! It is not the engine's handshake: socketioxide does that on the stream.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, Uri, header},
};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tower::Service;

use super::{
    SocketIoTransport,
    engines::Engine,
    frames::{self, Begins},
    greeting::Greeting,
    polling,
    polls::{Polls, Turn},
    request::{Refusal, Transport, address},
};
use crate::connection::{
    Handshake, Line, Tap, close_code,
    frames::{MASKED, close, text},
    websocket::{self, Stream},
};

/// What a probe is, for whoever says something else.
const NO_PROBE: &str = "a WebSocket for a session that polls says 2probe, and then 5";

/// Why a probe came to nothing.
enum Unfinished {
    /// Its client went or took too long, or the session is over.
    Over,
    /// Its client broke the protocol: the code of the close frame, and its words.
    Broken(u16, &'static str),
}

impl From<io::Error> for Unfinished {
    fn from(_: io::Error) -> Self {
        Self::Over
    }
}

/// Answers the upgrade, of a session that polls or to a new one, and hands the stream over when it comes.
pub(super) fn switch(
    transport: &Arc<SocketIoTransport>,
    mut request: Request<Body>,
    engine: Option<Arc<Engine>>,
) -> Response<Body> {
    let uri = address(Transport::WebSocket, engine.as_ref().map(|engine| engine.sid.as_str()));
    let (Some(mut response), Some(uri)) = (websocket::answer(&request), uri) else {
        return Refusal::Request.answer();
    };
    if let Some(protocol) = subprotocol(&request) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    // One that polls counts already, as a handshake or as a connection.
    let handshake = match &engine {
        Some(_) => None,
        None => match transport.connections.admission.begin(&request) {
            Some(handshake) => Some(handshake),
            None => return Refusal::Busy.answer(),
        },
    };
    let upgraded = hyper::upgrade::on(&mut request);
    if engine.as_ref().is_some_and(|engine| engine.is_taken()) {
        transport.connections.parts.tasks.spawn("socketio.upgrade", Box::pin(turn_away(upgraded)));
        return response;
    }
    let holder = transport.clone();
    transport.connections.parts.tasks.spawn(
        "socketio.upgrade",
        Box::pin(async move {
            let stream = match upgraded.await {
                Ok(upgraded) => Stream::of(upgraded),
                Err(error) => return tracing::debug!(%error, "an upgrade was not completed"),
            };
            match (stream, engine) {
                (Some(stream), None) => {
                    let early = stream.early.freeze();
                    let (_, tap) = line_of(stream.socket, &holder, handshake, None, (Bytes::new(), &early));
                    hand_over(&holder, tap, uri);
                }
                (Some(stream), Some(engine)) => change(&holder, stream, uri, &engine).await,
                (None, _) => tracing::error!("a WebSocket over something else than TCP cannot be served"),
            }
        }),
    );
    response
}

/// Closes a WebSocket for a session that is on one, or for which one probes. A refusal of the upgrade would be an error
/// without a reason for its client.
async fn turn_away(upgraded: OnUpgrade) {
    metrics::counter!("tidings_upgrades_failed_total").increment(1);
    let stream = upgraded.await.ok().and_then(Stream::of);
    let Some(stream) = stream else { return };
    let close = close(close_code::POLICY, "the session has a WebSocket already");
    if let Err(error) = stream.socket.try_write(&close) {
        tracing::trace!(%error, "a client is gone already");
    }
}

/// The first subprotocol that is asked for: it is answered, as the reference does, and means nothing.
fn subprotocol(request: &Request<Body>) -> Option<HeaderValue> {
    let asked = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = asked.split(',').next()?.trim();
    HeaderValue::from_str(first).ok().filter(|first| !first.is_empty())
}

/// The line of a stream, and what socketioxide sees of it: `begun` is what it reads first, and what comes after that
/// was read already.
fn line_of(
    socket: TcpStream,
    transport: &Arc<SocketIoTransport>,
    handshake: Option<Handshake>,
    engine: Option<Arc<Engine>>,
    begun: (Bytes, &[u8]),
) -> (Arc<Line>, Tap<Greeting>) {
    let line = Line::new(socket, transport.connections.parts.clock.clone(), handshake);
    let greeting = Greeting::new(transport, &line, engine);
    let tap = Tap::new(line.clone(), begun.0, begun.1, greeting, transport.connections.admission.stream());
    (line, tap)
}

/// The text of the client's next short frame, which stays in what was read. `from` is where it begins.
async fn next_text(stream: &mut Stream, from: usize) -> Result<(Vec<u8>, usize), Unfinished> {
    loop {
        match frames::begins(&stream.early[from..]) {
            Begins::Text(text, length) => return Ok((text, from + length)),
            Begins::Other => return Err(broken(&stream.early[from..])),
            Begins::Part => {}
        }
        stream.socket.readable().await?;
        match stream.socket.try_read_buf(&mut stream.early) {
            Ok(0) => return Err(Unfinished::Over),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
}

/// What is wrong with a frame that is no short text.
fn broken(frame: &[u8]) -> Unfinished {
    let (code, why) = match frame {
        [0x88, ..] => (close_code::NORMAL, ""),
        [_, length, ..] if length & MASKED == 0 => (close_code::PROTOCOL, "the frames of a client are masked"),
        [0x82, ..] => (close_code::UNSUPPORTED, NO_PROBE),
        _ => (close_code::POLICY, NO_PROBE),
    };
    Unfinished::Broken(code, why)
}

/// Closes a WebSocket whose client broke the protocol. What it sends meanwhile is read and dropped: what lies unread
/// would make the system cut the connection, and the client would not see why.
async fn part_with(mut stream: Stream, (code, why): (u16, &'static str), patience: Duration) {
    if !why.is_empty() {
        metrics::counter!("tidings_websockets_failed_total", "code" => code.to_string()).increment(1);
    }
    let parting = async {
        write(&stream, &close(code, why)).await?;
        stream.socket.shutdown().await?;
        loop {
            stream.early.clear();
            stream.socket.readable().await?;
            match stream.socket.try_read_buf(&mut stream.early) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    };
    if let Ok(Err(error)) = timeout(patience, parting).await {
        let error: io::Error = error;
        tracing::trace!(%error, "a client is gone already");
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

/// Answers the probe, and waits until the client changes. Where what it says after that begins.
async fn probed(stream: &mut Stream) -> Result<usize, Unfinished> {
    let (text, end) = next_text(stream, 0).await?;
    if text != b"2probe" {
        return Err(Unfinished::Broken(close_code::POLICY, NO_PROBE));
    }
    write(stream, frames::PROBE_ANSWER).await?;
    let (text, end) = next_text(stream, end).await?;
    if text == b"5" { Ok(end) } else { Err(Unfinished::Broken(close_code::POLICY, NO_PROBE)) }
}

/// Probes for a session that polls: whose turn it is then, and where what comes after the probe begins.
async fn probe<'a>(
    transport: &SocketIoTransport,
    stream: &mut Stream,
    polls: &'a Polls,
) -> Result<(Turn<'a>, usize), Unfinished> {
    let turn = polls.probe().ok_or(Unfinished::Over)?;
    let patience = transport.connections.parts.config.connect_timeout;
    tokio::select! {
        probed = timeout(patience, probed(stream)) => {
            let end = probed.unwrap_or(Err(Unfinished::Over))?;
            turn.polls_over().await;
            Ok((turn, end))
        }
        () = polls.over() => Err(Unfinished::Over),
    }
}

/// Changes a session that polls to a WebSocket, if its client goes through with it.
async fn change(transport: &Arc<SocketIoTransport>, mut stream: Stream, uri: Uri, engine: &Arc<Engine>) {
    let Some(polls) = &engine.polls else { return };
    let (_turn, end) = match probe(transport, &mut stream, polls).await {
        Ok(probed) => probed,
        Err(unfinished) => {
            metrics::counter!("tidings_upgrades_failed_total").increment(1);
            tracing::debug!("a change to a WebSocket was not finished; the client polls on");
            let patience = transport.connections.parts.config.connect_timeout;
            if let Unfinished::Broken(code, why) = unfinished {
                part_with(stream, (code, why), patience).await;
            }
            return;
        }
    };
    let early = stream.early.freeze();
    let begun = (early.slice(..end), &early[end..]);
    let handshake = engine.take_handshake();
    let (line, tap) = line_of(stream.socket, transport, handshake, Some(engine.clone()), begun);
    // Whoever is accepted from here on finds the line. Whoever was before is held, and gets it below.
    engine.set_line(line.clone());
    let session = engine.session();
    let mut told = session
        .as_ref()
        .and_then(|session| {
            session.outlet.with_polled(|polled| {
                polled.changing = true;
                polled.told
            })
        })
        .unwrap_or_default();
    while let Some(body) = polling::take_waiting(transport, engine) {
        for packet in polling::packets(&body) {
            told |= packet.starts_with(b"40{");
            if line.begin(&text(&[packet])).is_err() {
                return tracing::debug!("a client left while it changed to a WebSocket");
            }
        }
    }
    if let Some(session) = session {
        session.outlet.set_line(line.clone());
    }
    if told {
        line.open();
    }
    hand_over(transport, tap, uri);
}

fn hand_over(transport: &SocketIoTransport, tap: Tap<Greeting>, uri: Uri) {
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    if let Err(error) = Service::<(_, Request<()>)>::call(&mut transport.service(), (tap, request)).into_inner() {
        tracing::debug!(%error, "a stream was not taken");
    }
}
