//! socketioxide alone, as a peer: what the library that Tidings stands on does by itself.
//!
//! Guarantees: it checks a token, joins rooms and broadcasts what is posted, as the other peers do.
//! It is not durable, and a socket whose queue is full does not get the message at all.

use std::process::ExitCode;

use axum::{Json, Router, body::Bytes, extract::State, http::StatusCode, routing::any, serve::ListenerExt};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler,
};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECRET: &[u8] = b"secret";

#[derive(Debug, Deserialize)]
struct Auth {
    token: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(rename = "sub")]
    _sub: String,
}

#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    channel: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    channel: &'a str,
    data: &'a RawValue,
}

#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
}

const OK: Answer = Answer { ok: true };

/// Checks the token before the connection is answered. The handlers are set here too: after the
/// answer, a client's first event could be there before they are.
async fn admit(socket: SocketRef, Data(auth): Data<Auth>) -> Result<(), jsonwebtoken::errors::Error> {
    decode::<Claims>(&auth.token, &DecodingKey::from_secret(SECRET), &Validation::default())?;
    socket.on("subscribe", async |socket: SocketRef, Data(channel): Data<String>, answer: AckSender| {
        socket.join(channel);
        answer.send(&OK).ok();
    });
    Ok(())
}

async fn publish(State(io): State<SocketIo>, body: Bytes) -> Result<Json<Answer>, StatusCode> {
    let events: Vec<Event<'_>> = match body.first() {
        None => return Ok(Json(OK)),
        Some(b'[') => serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?,
        Some(_) => vec![serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?],
    };
    for Event { event_type, channel, data } in events {
        let message = Message { event_type, channel: &channel, data };
        // A full queue is the library's answer to a slow socket, and part of what is measured.
        io.to(channel.clone()).emit("message", &message).await.ok();
    }
    Ok(Json(OK))
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok()) else {
        return ExitCode::from(2);
    };
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", (async |_: SocketRef| {}).with(admit));
    let app = Router::new().route("/api/events", any(publish)).with_state(io).layer(layer);
    let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await else { return ExitCode::FAILURE };
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    if axum::serve(listener, app).await.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
