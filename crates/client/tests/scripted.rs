//! The client against a scripted server: a real WebSocket whose other end says exactly what a test wants.
//!
//! Guarantees: every test waits for what it expects and ends what it starts.
//! It is not a test of the server: that one's own tests use this client.

use std::{future::Future, time::Duration};

use serde_json::{Value, json};
use tidings_client::{Client, ConnectError, Ended, Follow, Follower, Item, Lost, Position, Start, token};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use futures_util::{SinkExt, StreamExt};

const OPEN: &str = r#"0{"sid":"engine","upgrades":[],"pingInterval":15000,"pingTimeout":10000,"maxPayload":1000}"#;

/// The server's end of one connection.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("accepts");
        Self(accept_async(stream).await.expect("a WebSocket"))
    }

    /// Accepts and logs in; a ping comes before the answer, as real servers send one.
    async fn log_in(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener).await;
        peer.say(OPEN).await;
        peer.say("2").await;
        assert_eq!(peer.hear().await, r#"40{"token":"t"}"#);
        assert_eq!(peer.hear().await, "3");
        peer.say(r#"40{"sid":"socket"}"#).await;
        peer
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text.to_owned())).await.expect("sends");
    }

    async fn message(&mut self, message: Value) {
        self.say(&format!("42{}", json!(["message", message]))).await;
    }

    async fn publish(&mut self, channel: &str, seq: u64) {
        let time = "2026-11-20T20:31:29.123Z";
        self.message(json!({"type": "session.raw", "channel": channel, "seq": seq, "time": time, "data": {"n": seq}}))
            .await;
    }

    async fn notice(&mut self, event_type: &str, data: Value) {
        self.message(json!({"type": event_type, "time": "2026-11-20T20:31:29.123Z", "data": data})).await;
    }

    async fn hear(&mut self) -> String {
        loop {
            match self.0.next().await.expect("goes on").expect("a frame") {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Close(_) => panic!("the client left"),
                _ => {}
            }
        }
    }

    /// Hears an event: its acknowledgement id and its argument.
    async fn hear_event(&mut self, name: &str) -> (String, Value) {
        let text = self.hear().await;
        let rest = text.strip_prefix("42").expect("an event");
        let (id, array) = rest.split_at(rest.find('[').expect("an array"));
        let mut array: Vec<Value> = serde_json::from_str(array).expect("JSON");
        assert_eq!(array.remove(0), name);
        (id.to_owned(), array.remove(0))
    }

    /// Hears a subscribe, attaches each channel at `head`, and returns what was asked.
    async fn attach(&mut self, epoch: &str, head: u64) -> Value {
        let (id, asked) = self.hear_event("subscribe").await;
        let results: Vec<Value> = asked
            .as_array()
            .expect("an array")
            .iter()
            .map(|one| json!({"ok": true, "channel": one["channel"], "epoch": epoch, "seq": head}))
            .collect();
        self.say(&format!("43{id}{}", json!([{"ok": true, "results": results}]))).await;
        asked
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("has an address"));
    (listener, url)
}

/// Runs both ends to their end, within a time that only a fault exceeds.
async fn both(server: impl Future<Output = ()>, client: impl Future<Output = ()>) {
    let both = async { tokio::join!(server, client) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("both ends finish");
}

fn follower(url: &str, start: Start) -> Follower {
    Follower::new(url, token("t"), vec![Follow::new("session:1", start)]).expect("a good address")
}

async fn next(follower: &mut Follower) -> Item {
    follower.next().await.expect("goes on").expect("an item")
}

/// The next message's number; connections that come and go are passed over.
async fn seq(follower: &mut Follower) -> u64 {
    loop {
        match next(follower).await {
            Item::Message(message) => return message.seq.expect("durable"),
            Item::Connected | Item::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_ping_before_the_login_is_answered_and_requests_get_their_own_answers() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        let (first, _) = peer.hear_event("a").await;
        let (second, _) = peer.hear_event("b").await;
        peer.say(r#"42["message",{"n":1}]"#).await;
        peer.say(&format!(r#"43{second}[{{"ok":"b"}}]"#)).await;
        peer.say("2").await;
        peer.say(&format!(r#"43{first}[{{"ok":"a"}}]"#)).await;
        assert_eq!(peer.hear().await, "3");
        assert_eq!(peer.hear().await, "41");
    };
    let client = async {
        let mut client = Client::connect(&url, token("t")).await.expect("connects");
        let (a, b) = tokio::join!(client.emit_with_ack("a", json!({})), client.emit_with_ack("b", json!({})));
        assert_eq!((a.expect("answered"), b.expect("answered")), (json!({"ok": "a"}), json!({"ok": "b"})));
        assert_eq!(client.message().await, Some(json!({"n": 1})));
        client.close().await;
    };
    both(server, client).await;
}

#[tokio::test]
async fn a_refused_login_has_the_servers_text() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.say(OPEN).await;
        peer.hear().await;
        peer.say(r#"44{"message":"Authentication error"}"#).await;
        let mut peer = Peer::accept(&listener).await;
        peer.say(OPEN).await;
        peer.hear().await;
        let data = json!({"code": "token_expired", "message": "the token has ended", "retryable": true});
        peer.say(&format!("44{}", json!({"message": "Authentication error", "data": data}))).await;
    };
    let client = async {
        let error = Client::connect(&url, token("t")).await.expect_err("refused");
        assert_eq!(error, ConnectError::Refused { message: "Authentication error".to_owned(), why: None });
        let error = Client::connect(&url, token("t")).await.expect_err("refused");
        assert_eq!(error.to_string(), "Authentication error: the token has ended (token_expired)");
    };
    both(server, client).await;
}

#[tokio::test]
async fn what_waits_to_be_read_is_bounded_and_nothing_of_it_is_lost() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        for n in 0..5000 {
            peer.say(&format!(r#"42["message",{n}]"#)).await;
        }
        peer.say("41").await;
        peer.0.next().await;
    };
    let client = async {
        let mut client = Client::connect(&url, token("t")).await.expect("connects");
        for n in 0..5000 {
            assert_eq!(client.message().await, Some(json!(n)));
        }
        assert_eq!(client.message().await, None);
        assert_eq!(client.ended().await, Lost::Disconnected);
    };
    both(server, client).await;
}

#[tokio::test]
async fn a_follower_goes_on_after_the_last_message_when_the_connection_breaks() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        assert_eq!(peer.attach("e", 4).await, json!([{"channel": "session:1"}]));
        peer.publish("session:1", 5).await;
        peer.publish("session:1", 6).await;
        drop(peer);
        let mut peer = Peer::log_in(&listener).await;
        let since = json!([{"channel": "session:1", "since": {"epoch": "e", "seq": 6}}]);
        assert_eq!(peer.attach("e", 7).await, since);
        peer.publish("session:1", 6).await;
        peer.publish("session:1", 7).await;
        peer.0.next().await;
    };
    let client = async {
        let mut follower = follower(&url, Start::Now);
        for expected in 5..=7 {
            assert_eq!(seq(&mut follower).await, expected);
        }
        assert_eq!(follower.repeats(), 1);
        assert_eq!(follower.position("session:1"), Some(Position { epoch: "e".to_owned(), seq: 7 }));
    };
    both(server, client).await;
}

#[tokio::test]
async fn gaps_resets_and_snapshots_are_told_in_their_place() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        peer.attach("e", 9).await;
        peer.notice(
            "channel.gap",
            json!({"channel": "session:1", "epoch": "e", "from": 1, "to": 7, "reason": "trimmed"}),
        )
        .await;
        peer.publish("session:1", 8).await;
        peer.notice("channel.reset", json!({"channel": "session:1", "epoch": "f", "seq": 2, "reason": "epoch"})).await;
        peer.publish("session:1", 3).await;
        let state =
            json!({"channel": "session:1", "epoch": "f", "seq": 9, "reason": "lag", "snapshot": {"b": 1, "a": 2}});
        peer.notice("channel.snapshot", state).await;
        peer.publish("session:1", 12).await;
        peer.notice("channel.closed", json!({"channel": "session:1", "code": "forbidden", "message": "no"})).await;
        peer.0.next().await;
    };
    let client = async {
        let mut follower = follower(&url, Start::Oldest);
        assert!(matches!(next(&mut follower).await, Item::Connected));
        assert!(matches!(next(&mut follower).await, Item::Gap { from: 1, to: 7, .. }));
        assert_eq!(seq(&mut follower).await, 8);
        assert!(matches!(next(&mut follower).await, Item::Reset { .. }));
        let Item::Message(message) = next(&mut follower).await else { panic!("a message") };
        assert_eq!((message.seq, message.epoch.as_deref(), message.data()), (Some(3), Some("f"), r#"{"n":3}"#));
        assert!(matches!(next(&mut follower).await, Item::Snapshot { .. }));
        assert!(matches!(next(&mut follower).await, Item::Gap { from: 10, to: 11, .. }));
        assert_eq!(seq(&mut follower).await, 12);
        assert!(matches!(next(&mut follower).await, Item::Closed { .. }));
        assert!(follower.next().await.expect("no error").is_none());
    };
    both(server, client).await;
}

#[tokio::test]
async fn a_refused_channel_ends_alone_and_a_temporary_refusal_is_tried_again() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        let (id, asked) = peer.hear_event("subscribe").await;
        assert_eq!(asked.as_array().expect("an array").len(), 2);
        let results = json!([{"ok": true, "results": [
            {"ok": false, "error": {"code": "forbidden", "message": "not allowed", "retryable": false}},
            {"ok": false, "error": {"code": "overloaded", "message": "later", "retryable": true}}]}]);
        peer.say(&format!("43{id}{results}")).await;
        drop(peer);
        let mut peer = Peer::log_in(&listener).await;
        assert_eq!(peer.attach("e", 0).await, json!([{"channel": "session:2", "last": 5}]));
        peer.publish("session:2", 1).await;
        peer.0.next().await;
    };
    let client = async {
        let follows = vec![Follow::new("session:1", Start::Now), Follow::new("session:2", Start::Last(5))];
        let mut follower = Follower::new(&url, token("t"), follows).expect("a good address");
        assert!(matches!(next(&mut follower).await, Item::Connected));
        let Item::Closed { channel, code, .. } = next(&mut follower).await else { panic!("closed") };
        assert_eq!((channel.as_str(), code.as_str()), ("session:1", "forbidden"));
        assert_eq!(seq(&mut follower).await, 1);
    };
    both(server, client).await;
}

#[tokio::test]
async fn a_final_closing_is_final_and_a_temporary_one_is_not() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        peer.attach("e", 0).await;
        peer.notice("connection.closed", json!({"code": "draining", "message": "stopping", "retry": true})).await;
        drop(peer);
        let mut peer = Peer::log_in(&listener).await;
        peer.attach("e", 0).await;
        peer.notice("connection.closed", json!({"code": "token_revoked", "message": "revoked", "retry": false})).await;
        peer.say("41").await;
    };
    let client = async {
        let mut follower = follower(&url, Start::Now);
        let ended = loop {
            match follower.next().await {
                Ok(Some(Item::Connected | Item::Disconnected { .. })) => {}
                Ok(other) => panic!("{other:?}"),
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended, Ended::Closed { code: "token_revoked".to_owned(), message: "revoked".to_owned() });
    };
    both(server, client).await;
}

#[tokio::test]
async fn an_expiring_token_is_refreshed_in_place() {
    let (listener, url) = listen().await;
    let server = async {
        let mut peer = Peer::log_in(&listener).await;
        peer.attach("e", 0).await;
        peer.notice("auth.expiring", json!({"expiresAt": "2026-11-20T20:32:00.000Z"})).await;
        let (id, argument) = peer.hear_event("auth.refresh").await;
        assert_eq!(argument, json!({"token": "t"}));
        peer.say(&format!(r#"43{id}[{{"ok":true}}]"#)).await;
        peer.publish("session:1", 1).await;
        peer.0.next().await;
    };
    let client = async {
        let mut follower = follower(&url, Start::Now);
        assert_eq!(seq(&mut follower).await, 1);
    };
    both(server, client).await;
}
