//! Somebody who watches: a logged-in client that asks and collects.
//!
//! Guarantees: every wait ends, at the latest with a failure that says what was waited for.
//! It is not reconnecting: tests of that use a follower.

use serde_json::{Value, json};
use tidings_client::{Client, Endpoint, Lost, Packet, Raw, decode, token};
use tokio::time::timeout;

use crate::server::{PATIENCE, Server};

/// A client and what it saw.
pub(crate) struct Watcher {
    pub(crate) client: Client,
}

impl Watcher {
    pub(crate) async fn connect(server: &Server, bearer: &str) -> Self {
        Self { client: Client::connect(&server.url(), token(bearer)).await.expect("connects") }
    }

    /// The answer to an event, whatever it is.
    pub(crate) async fn ask(&self, event: &str, argument: Value) -> Value {
        self.client.emit_with_ack(event, argument).await.expect("an answer")
    }

    /// The answer to an event that must succeed.
    pub(crate) async fn done(&self, event: &str, argument: Value) -> Value {
        let answer = self.ask(event, argument).await;
        assert_eq!(answer["ok"], true, "{event}: {answer}");
        answer
    }

    /// The code of the refusal of an event that must fail.
    pub(crate) async fn refused(&self, event: &str, argument: Value) -> String {
        let answer = self.ask(event, argument).await;
        assert_eq!(answer["ok"], false, "{event}: {answer}");
        answer["error"]["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) async fn next(&mut self) -> Value {
        let message = timeout(PATIENCE, self.client.message()).await.expect("a message in time");
        message.expect("a message before the end of the connection")
    }

    /// All messages up to the first for which this holds.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        let waiting = async {
            while let Some(message) = self.client.message().await {
                let found = wanted(&message);
                seen.push(message);
                if found {
                    return true;
                }
            }
            false
        };
        let found = timeout(PATIENCE, waiting).await.unwrap_or(false);
        assert!(found, "{what} never came; what came: {}", shown(&seen));
        seen
    }

    /// The next message of a type; others are passed over.
    pub(crate) async fn of_type(&mut self, wanted: &str) -> Value {
        let mut seen = self.until(wanted, |message| message["type"] == wanted).await;
        seen.pop().expect("the last one is the wanted one")
    }

    /// All messages up to the `n`th note of a session, its notes only, as numbers.
    pub(crate) async fn notes_to(&mut self, n: u64) -> Vec<u64> {
        let seen = self.until("a note", |message| message["data"]["n"] == n).await;
        seen.iter().filter_map(|message| message["data"]["n"].as_u64()).collect()
    }

    /// Waits for the end: how it came.
    pub(crate) async fn ended(&mut self) -> Lost {
        timeout(PATIENCE, self.client.ended()).await.expect("the connection ends")
    }
}

/// The last few messages, for a failure.
fn shown(seen: &[Value]) -> String {
    let last = seen.iter().rev().take(5).map(ToString::to_string).collect::<Vec<_>>();
    format!("{} messages, the last: {}", seen.len(), last.join("\n"))
}

/// A bare WebSocket that is logged in: what it sends from now on is up to the test.
pub(crate) async fn raw(endpoint: &Endpoint, bearer: &str) -> Raw {
    let mut raw = Raw::connect(endpoint).await.expect("connects");
    assert!(frame(&mut raw).await.expect("opens").starts_with('0'));
    raw.send_text(format!("40{}", json!({ "token": bearer }))).await.expect("sends");
    let answer = frame(&mut raw).await.expect("an answer");
    assert!(answer.starts_with("40"), "{answer}");
    raw
}

/// The next frame; none when the connection is over. Heartbeats are answered on the way.
pub(crate) async fn frame(raw: &mut Raw) -> Option<String> {
    let waiting = async {
        loop {
            let text = raw.next_text().await?;
            if text != "2" {
                return Some(text);
            }
            // Whoever ends the connection meanwhile is heard of at the next turn.
            drop(raw.send_text("3").await);
        }
    };
    timeout(PATIENCE, waiting).await.expect("a frame, or the end, in time")
}

/// What is in an Engine.IO text: an answer or a message, with the id of the answer.
pub(crate) enum Said {
    Answer(u64, Value),
    Message(Value),
    Other,
}

pub(crate) fn said(text: &str) -> Said {
    let parse = |args: &[Box<serde_json::value::RawValue>]| {
        args.first().map_or(Value::Null, |arg| serde_json::from_str(arg.get()).expect("JSON"))
    };
    match text.strip_prefix('4').map(decode) {
        Some(Ok(Packet::Ack { id, args })) => Said::Answer(id, parse(&args)),
        Some(Ok(Packet::Event { args, .. })) => Said::Message(parse(&args)),
        _ => Said::Other,
    }
}

/// The answer with this id, from a bare connection; what comes before it is passed over.
pub(crate) async fn answer(raw: &mut Raw, wanted: u64) -> Value {
    loop {
        let text = frame(raw).await.expect("an answer before the end");
        if let Said::Answer(id, value) = said(&text)
            && id == wanted
        {
            return value;
        }
    }
}
