//! The walk of rust_socketio: see ../../matrix/walk.js.
//!
//! Guarantees: one JSON object a line on standard output; exit code 0 only at the end of the walk.
//! It is not a test: the driver judges.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use rust_socketio::{ClientBuilder, Event, Payload, RawClient, TransportType};
use serde_json::{Value, json};

/// What the library puts before the payload of a CONNECT_ERROR.
const REFUSAL: &str = "Received an ConnectError frame: ";

fn say(name: &str, mut rest: Value) {
    rest["say"] = name.into();
    println!("{rest}");
}

fn builder(walk: &Value, token: &Value) -> ClientBuilder {
    let transport = match walk["transport"].as_str() {
        Some("polling") => TransportType::Polling,
        Some("websocket") => TransportType::Websocket,
        _ => TransportType::WebsocketUpgrade,
    };
    ClientBuilder::new(walk["url"].as_str().expect("an address"))
        .auth(json!({ "token": token }))
        .transport_type(transport)
        .reconnect_delay(50, 500)
}

/// The first value of a payload; an acknowledgement's are in one more array.
fn first(payload: &Payload) -> Value {
    let Payload::Text(values) = payload else { return Value::Null };
    match values.first() {
        Some(Value::Array(inner)) => inner.first().cloned().unwrap_or_default(),
        other => other.cloned().unwrap_or_default(),
    }
}

/// Waits for the refusal of a wrong token, and says it.
fn refused(walk: &Value) {
    let (tell, told) = mpsc::channel();
    let began = Instant::now();
    let client = builder(walk, &walk["wrong"])
        .reconnect(false)
        .on(Event::Error, move |payload, _| drop(tell.send(first(&payload))))
        .on(Event::Connect, |_, _| say("failed", json!({ "message": "a wrong token was let in" })))
        .connect()
        .expect("connects");
    let error = told.recv().expect("is told");
    let text = error.as_str().unwrap_or_default();
    let parsed: Value =
        serde_json::from_str(text.strip_prefix(REFUSAL).unwrap_or(text)).unwrap_or_else(|_| json!({ "message": text }));
    let after = began.elapsed().as_millis() as u64;
    say("refused", json!({ "message": parsed["message"], "data": parsed["data"], "afterMs": after }));
    drop(client.disconnect());
}

/// Follows the channel from the beginning, from where it was after each reconnect, up to the last note.
fn follow(walk: &Value) {
    let position = Arc::new(Mutex::new(json!({ "seq": 0 })));
    let (finish, finished) = mpsc::channel();
    let (at_connect, at_message) = (position.clone(), position);
    let (subscriber, publisher) = (walk.clone(), walk.clone());
    let client = builder(walk, &walk["token"])
        .reconnect_on_disconnect(true)
        .on(Event::Connect, move |_, client: RawClient| {
            let position = at_connect.clone();
            let request = json!({ "channel": subscriber["channel"], "since": *position.lock().expect("a position") });
            let answered = move |payload: Payload, _: RawClient| {
                let answer = first(&payload);
                position.lock().expect("a position")["epoch"] = answer["epoch"].clone();
                say("subscribed", json!({ "answer": answer }));
            };
            drop(client.emit_with_ack("subscribe", request, Duration::from_secs(10), answered));
        })
        .on("message", move |payload, client| {
            let message = first(&payload);
            if message["type"] == "server.hello" {
                say("hello", json!({ "data": message["data"] }));
            }
            // A notice about the channel has no number.
            if message["channel"] != publisher["channel"] || message["seq"].is_null() {
                return;
            }
            let n = &message["data"]["n"];
            at_message.lock().expect("a position")["seq"] = message["seq"].clone();
            say("note", json!({ "n": n, "seq": message["seq"] }));
            if *n == publisher["live"] {
                let answered = |payload: Payload, _: RawClient| say("published", json!({ "answer": first(&payload) }));
                drop(client.emit_with_ack(
                    "publish",
                    publisher["publication"].clone(),
                    Duration::from_secs(10),
                    answered,
                ));
            }
            if *n == publisher["last"] {
                finish.send(()).expect("is waited for");
            }
        })
        .connect()
        .expect("connects");
    finished.recv().expect("reaches the last note");
    drop(client.disconnect());
}

fn main() {
    let walk = std::env::var("WALK").expect("WALK is set");
    let walk: Value = serde_json::from_str(&walk).expect("WALK is JSON");
    refused(&walk);
    follow(&walk);
    say("done", json!({}));
}
