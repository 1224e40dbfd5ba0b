//! HTTP long-polling: what a poll is answered, and what a post says.
//!
//! Guarantees: what a poll answered counts as written once the next poll comes; a second poll at the same time ends the
//! session, as in the reference; of a client one POST at a time is read, in the order in which they came, its bytes are
//! held for its user before they are read, and its packets go in as there is room for them; before a client is accepted,
//! it has room for its token only, and counts as a handshake; a session that ends lets go of what it reads.
//! It is not the queue of what waits for polls: that is socketioxide's.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, header},
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{Either, select},
};
use http_body_util::{BodyExt, Full};
use tidings_engine::budget::Held;
use tokio::{task::unconstrained, time::timeout};
use tower::Service;

use super::{
    MAX_PAYLOAD, MAX_UNACCEPTED, SocketIoTransport,
    engines::Engine,
    frames,
    heartbeat::Advertised,
    intake::{self, Taken},
    polled::Polled,
    polls::{Interrupt, Polls},
    request::{Refusal, Transport, address, payload},
    said::said,
};
use crate::body::{Unread, declared, read};

/// Separates the packets of a polling payload (Engine.IO 4).
const SEPARATOR: u8 = 0x1e;
/// What a poll is answered that is to end without a packet.
const NOTHING: &str = "6";
const PING: &str = "2";
/// The most bytes of a program's name that are looked at.
const LONGEST_AGENT: usize = 256;

/// A request that opens a session.
pub(super) async fn open(transport: &Arc<SocketIoTransport>, request: Request<Body>) -> Response<Body> {
    let Some(handshake) = transport.connections.admission.begin(&request) else { return Refusal::Busy.answer() };
    let Some(request) = opening(&request) else { return Refusal::Request.answer() };
    let Ok(body) = forward(transport, request).await.into_body().collect().await else {
        return Refusal::Request.answer();
    };
    let body = body.to_bytes();
    let Some(sid) = frames::opened(&body) else { return Refusal::Request.answer() };
    Engine::polling(transport, sid, handshake);
    payload(Advertised::of(&transport.connections.parts.config).corrected(&body))
}

/// What the engine keeps of the request that opens a session: who says that it is one of Python's is fed otherwise.
fn opening(request: &Request<Body>) -> Option<Request<Full<Bytes>>> {
    let mut opening = Request::new(Full::new(Bytes::new()));
    *opening.uri_mut() = address(Transport::Polling, None)?;
    // A copy, and a short one: the header itself would keep the whole buffer that the request was read into.
    let agent = request.headers().get(header::USER_AGENT).filter(|agent| agent.len() <= LONGEST_AGENT);
    if let Some(agent) = agent.and_then(|agent| HeaderValue::from_bytes(agent.as_bytes()).ok()) {
        opening.headers_mut().insert(header::USER_AGENT, agent);
    }
    Some(opening)
}

async fn forward(transport: &SocketIoTransport, request: Request<Full<Bytes>>) -> Response<Body> {
    let answered = Service::<Request<Full<Bytes>>>::call(&mut transport.service(), request).await;
    match answered {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// A request of this transport's own to the engine.
fn inside(sid: &str, method: Method, body: Bytes) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = address(Transport::Polling, Some(sid))?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    Some(request)
}

/// Ends a session whose client gives a poll up, as the reference does: what the poll would have told is not told again.
struct Waiting<'a>(Option<&'a Engine>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(engine) = self.0 {
            engine.end("1");
        }
    }
}

/// A poll.
pub(super) async fn poll(transport: &SocketIoTransport, engine: &Engine) -> Response<Body> {
    let mut waiting = Waiting(Some(engine));
    let answer = answer_poll(transport, engine).await;
    waiting.0 = None;
    answer
}

/// What a poll is answered. What the last one answered has arrived.
async fn answer_poll(transport: &SocketIoTransport, engine: &Engine) -> Response<Body> {
    let Some(polls) = &engine.polls else { return Refusal::Request.answer() };
    let Some(turn) = polls.poll() else {
        engine.end("1");
        return Refusal::Request.answer();
    };
    if turn.held().await {
        return payload(NOTHING);
    }
    if let Some(session) = engine.session() {
        session.outlet.with_polled(Polled::arrived);
    }
    loop {
        let (passing, interrupted) = (std::pin::pin!(waiting(transport, engine)), std::pin::pin!(turn.interrupted()));
        // A poll that waits has taken nothing out of the queue: it may be let go.
        let told = match select(passing, interrupted).await {
            Either::Left((told, _)) => told,
            Either::Right((Interrupt::Probe, _)) => return payload(NOTHING),
            Either::Right((Interrupt::Ping, _)) => return payload(PING),
            Either::Right((Interrupt::End(answer), _)) => return payload(answer),
        };
        match told {
            Some(body) if body.is_empty() => {}
            Some(body) => {
                engine.heard(transport.connections.parts.clock.monotonic());
                return payload(body);
            }
            // The engine has ended it.
            None => {
                engine.end("1");
                return match turn.interrupted().now_or_never() {
                    Some(Interrupt::End(answer)) => payload(answer),
                    _ => Refusal::Session.answer(),
                };
            }
        }
    }
}

/// What waits for the client, or will; empty if it was only for the engine, none if the engine has no such session.
async fn waiting(transport: &SocketIoTransport, engine: &Engine) -> Option<Bytes> {
    let response = forward(transport, inside(&engine.sid, Method::GET, Bytes::new())?).await;
    if !response.status().is_success() {
        return None;
    }
    let body = response.into_body().collect().await.ok()?.to_bytes();
    if let Some(session) = engine.session() {
        session.outlet.with_polled(|polled| polled.answered(packets(&body)));
    }
    let mut told = Vec::with_capacity(body.len());
    let heartbeat = Advertised::of(&transport.connections.parts.config);
    for packet in packets(&body).filter_map(|packet| said(engine, heartbeat, packet)) {
        if !told.is_empty() {
            told.push(SEPARATOR);
        }
        told.extend_from_slice(&packet);
    }
    Some(told.into())
}

/// The packets of a payload.
pub(super) fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR).filter(|packet| !packet.is_empty())
}

/// What waits for a session's next poll, as that poll would be answered; none when nothing does. No poll of the session
/// may be under way.
pub(super) fn take_waiting(transport: &SocketIoTransport, engine: &Engine) -> Option<Bytes> {
    // Without a budget: a task that has used its own up would be told that nothing waits.
    unconstrained(waiting(transport, engine)).now_or_never()?
}

/// A post: its packets go in as the mailbox has room for them.
pub(super) async fn post(
    transport: &SocketIoTransport,
    engine: &Arc<Engine>,
    request: Request<Body>,
) -> Response<Body> {
    let Some(polls) = &engine.polls else { return Refusal::Request.answer() };
    // Others wait unread. The semaphore is never closed.
    let Some(Ok(_turn)) = before_its_end(polls, polls.posting.acquire()).await else {
        return Refusal::Session.answer();
    };
    let (body, _held) = match heard(engine, polls, request).await {
        Ok(heard) => heard,
        Err(refusal) => {
            // As in the reference: a post without an end is the end of its session. One that is too large is so as a
            // packet of that size is on a WebSocket: nobody knows which of its packets are lost.
            if matches!(refusal, Refusal::TooSlow | Refusal::TooLarge) {
                engine.end("1");
            }
            return refusal.answer();
        }
    };
    match take_all(transport, engine, polls, &body).await {
        Ok(()) => payload("ok"),
        Err(refusal) => {
            engine.end("1");
            refusal.answer()
        }
    }
}

/// What comes before the session is over; none if that is first.
async fn before_its_end<T>(polls: &Polls, what: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(what), std::pin::pin!(polls.over())).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// The body of a post, with what counts it for its user. As much is held before it is read: what it is said to have,
/// else as much as there may be.
async fn heard(engine: &Engine, polls: &Polls, request: Request<Body>) -> Result<(Bytes, Option<Held>), Refusal> {
    let session = engine.session();
    let most = if session.is_some() { MAX_PAYLOAD } else { MAX_UNACCEPTED };
    let bytes = match declared(request.headers()) {
        Some(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes <= most).ok_or(Refusal::TooLarge)?,
        None => most,
    };
    let held = session.map(|session| session.client.connection.share().hold(bytes)).transpose();
    let mut held = held.map_err(|bound| {
        bound.count("bodies");
        Refusal::Busy
    })?;
    let read = before_its_end(polls, read(request.into_body(), most)).await.ok_or(Refusal::Session)?;
    let body = read.map_err(|why| match why {
        Unread::TooLarge => Refusal::TooLarge,
        Unread::TooSlow => Refusal::TooSlow,
        Unread::Broken => Refusal::Request,
    })?;
    if let Some(held) = &mut held {
        held.set(body.len());
    }
    Ok((body, held))
}

async fn take_all(
    transport: &SocketIoTransport,
    engine: &Arc<Engine>,
    polls: &Polls,
    body: &[u8],
) -> Result<(), Refusal> {
    let body = std::str::from_utf8(body).map_err(|_| Refusal::Packet("a payload is UTF-8"))?;
    for packet in body.split(char::from(SEPARATOR)) {
        has_room(transport, engine, polls).await;
        if engine.is_over() || engine.line().is_some() {
            return Err(Refusal::Session);
        }
        let taken = match packet.strip_prefix('b') {
            Some(_) => intake::binary(engine),
            None => intake::text(engine, packet),
        };
        match taken {
            Taken::Done => {}
            Taken::Passed => pass(transport, engine, packet).await?,
            Taken::Closed => {
                polls.overtaken().await;
                engine.end(NOTHING);
                return Ok(());
            }
            Taken::Refused(_, why) => return Err(Refusal::Packet(why)),
        }
    }
    Ok(())
}

/// Waits until the next packet may be taken: a CONNECT before it is judged, and what waits of the client's is less.
async fn has_room(transport: &SocketIoTransport, engine: &Engine, polls: &Polls) {
    let judged = polls.until(|| (!engine.is_judging()).then_some(()));
    if timeout(transport.connections.parts.config.connect_timeout, judged).await.is_err() {
        engine.end("1");
    }
    let Some(session) = engine.session() else { return };
    while session.client.mailbox.is_crowded() && !session.client.connection.is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Gives a packet to socketioxide.
async fn pass(transport: &SocketIoTransport, engine: &Engine, packet: &str) -> Result<(), Refusal> {
    let request = inside(&engine.sid, Method::POST, Bytes::copy_from_slice(packet.as_bytes()));
    let answer = forward(transport, request.ok_or(Refusal::Request)?).await;
    if answer.status().is_success() { Ok(()) } else { Err(Refusal::Request) }
}

/// Ends a session in the engine as its client would: with a close packet, which frees everything of it.
pub(super) async fn close(transport: &SocketIoTransport, sid: &str, was_accepted: bool) {
    if !was_accepted && let Some(parting) = inside(sid, Method::POST, transport.parting.packet().into()) {
        forward(transport, parting).await;
        // It joins in a task of its own.
        tokio::task::yield_now().await;
    }
    let Some(request) = inside(sid, Method::POST, Bytes::from_static(b"1")) else { return };
    let answer = forward(transport, request).await;
    tracing::debug!(status = %answer.status(), "a polling session was closed");
}
