//! The transport without WebSockets, and the way from it to one.
//!
//! Guarantees: sessions here are driven by hand, so that every request stands where the test wants it.
//! They are not real clients: those are tested with their own libraries.

use serde_json::{Value, json};
use tidings_client::{Polling, Raw};
use tokio::time::timeout;

use crate::{
    server::{PATIENCE, Server, eventually, note, notes},
    watcher::{Said, said},
};

/// Upgrades while messages come, so many times.
const TRIES: u64 = 20;

/// A polling session and what it saw.
struct Poller {
    polling: Polling,
    seen: Vec<String>,
}

impl Poller {
    async fn log_in(server: &Server, bearer: &str) -> Self {
        let polling = Polling::open(&server.endpoint()).await.expect("opens");
        let mut poller = Self { polling, seen: Vec::new() };
        poller.send(&format!("40{}", json!({ "token": bearer }))).await;
        poller.until("being let in", |text| text.starts_with("40")).await;
        poller
    }

    async fn send(&self, packet: &str) {
        let sent = self.polling.send(&[packet]).await.expect("an answer");
        assert_eq!(sent.status, 200, "{packet}: {}", sent.text());
    }

    /// One poll; a heartbeat in it is answered.
    async fn poll(&mut self) {
        let packets = self.polling.poll().await.expect("a poll");
        if packets.iter().any(|packet| packet == "2") {
            self.send("3").await;
        }
        self.seen.extend(packets);
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let polling = async {
            while !self.seen.iter().any(|text| wanted(text)) {
                self.poll().await;
            }
        };
        assert!(timeout(PATIENCE, polling).await.is_ok(), "{what} never came");
    }

    /// The numbers of the notes among what was seen.
    fn notes(&self) -> Vec<u64> {
        self.seen.iter().filter_map(|text| note_in(text)).collect()
    }
}

fn note_in(text: &str) -> Option<u64> {
    match said(text) {
        Said::Message(message) if message["type"] == "session.note" => message["data"]["n"].as_u64(),
        _ => None,
    }
}

#[tokio::test]
async fn polling_brings_everything_in_order_also_messages_larger_than_a_poll_is_wont_to_be() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut poller = Poller::log_in(&server, &bearer).await;
    poller.send(r#"420["subscribe","session:big"]"#).await;
    poller.until("the answer", |text| text.starts_with("430")).await;
    for n in 1..=8 {
        let mut event = note("big", n);
        event["data"]["filling"] = json!("x".repeat(200_000));
        server.publish(&bearer, event).await;
    }
    server.publish(&bearer, notes("big", 9..=1000)).await;
    poller.until("the last one", |text| note_in(text) == Some(1000)).await;
    assert_eq!(poller.notes(), (1..=1000).collect::<Vec<_>>());
    let hello = poller.seen.iter().filter(|text| text.contains("server.hello")).count();
    assert_eq!(hello, 1);
}

#[tokio::test]
async fn a_polling_connection_is_refused_answered_and_closed_like_any_other() {
    let server = Server::start("");
    let polling = Polling::open(&server.endpoint()).await.expect("opens");
    let mut refused = Poller { polling, seen: Vec::new() };
    refused.send("40{}").await;
    refused.until("the refusal", |text| text.starts_with("44") && text.contains("Authentication error")).await;
    let short = server.token("ada", &["--role", "viewer", "--ttl", "3s"]);
    let mut poller = Poller::log_in(&server, &short).await;
    poller.send(r#"420["dance"]"#).await;
    poller.until("the answer", |text| text.starts_with("430") && text.contains("unknown_command")).await;
    poller.until("the end", |text| text.contains("connection.closed") && text.contains("token_expired")).await;
    let gone = timeout(PATIENCE, async { while poller.polling.poll().await.is_ok() {} }).await;
    assert!(gone.is_ok(), "its session lives on");
    assert_eq!(server.metric("tidings_connections").await, 0.0);
}

/// Subscribes over polling, changes to a WebSocket while messages come, and reads to the last one there.
/// None where the server ended the session instead, as it does with a poll and an upgrade that meet in
/// the same moment: a client then comes back with another one.
async fn upgrade_under_load(server: &Server, bearer: &str, session: &str, all: u64) -> Option<Vec<u64>> {
    let mut poller = Poller::log_in(server, bearer).await;
    let subscribe = json!(["subscribe", { "channel": format!("session:{session}"), "since": {"seq": 0} }]);
    poller.send(&format!("420{subscribe}")).await;
    poller.until("the answer", |text| text.starts_with("430")).await;
    // As clients do: the poll under way is finished, and only then the change is made.
    let polling = poller.polling.clone();
    let probing = async {
        let mut raw = Raw::upgrade(&server.endpoint(), poller.polling.sid()).await.expect("connects");
        raw.send_text("2probe").await.expect("sends");
        let pong = raw.next_text().await;
        (raw, pong)
    };
    let (packets, (mut raw, pong)) = tokio::join!(polling.poll(), probing);
    poller.seen.extend(packets.ok()?);
    assert_eq!(pong.as_deref(), Some("3probe"));
    raw.send_text("5").await.expect("sends");
    while poller.notes().last() != Some(&all) {
        let text = raw.next_text().await.expect("goes on after the upgrade");
        if text == "2" {
            raw.send_text("3").await.expect("sends");
        }
        poller.seen.push(text);
    }
    Some(poller.notes())
}

#[tokio::test]
async fn an_upgrade_under_load_loses_doubles_and_reorders_nothing() {
    let (server, all) = (Server::start("[log]\ndurability = \"process\"\n"), 200);
    let (bearer, mut upgraded) = (server.admin(), 0);
    for number in 0..TRIES {
        let session = format!("s{number}");
        let publishing = async {
            for n in 1..=all {
                server.publish(&bearer, note(&session, n)).await;
            }
        };
        let upgrading = timeout(PATIENCE, upgrade_under_load(&server, &bearer, &session, all));
        let (numbers, ()) = tokio::join!(upgrading, publishing);
        let numbers = numbers.unwrap_or_else(|_| panic!("try {number} does not come to its end"));
        if let Some(numbers) = numbers {
            assert_eq!(numbers, (1..=all).collect::<Vec<_>>(), "try {number}");
            upgraded += 1;
        }
    }
    assert!(upgraded > TRIES / 2, "{upgraded} of {TRIES}");
}

#[tokio::test]
async fn an_upgrade_that_dies_half_way_does_not_leave_a_connection_that_hears_nothing() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut poller = Poller::log_in(&server, &bearer).await;
    poller.send(r#"420["subscribe","session:1"]"#).await;
    poller.until("the answer", |text| text.starts_with("430")).await;
    let mut raw = Raw::upgrade(&server.endpoint(), poller.polling.sid()).await.expect("connects");
    raw.send_text("2probe").await.expect("sends");
    assert_eq!(timeout(PATIENCE, raw.next_text()).await.expect("an answer").as_deref(), Some("3probe"));
    drop(raw);
    // A client whose poll is refused opens another connection and goes on from where it was.
    let refused = timeout(PATIENCE, async { while poller.polling.poll().await.is_ok() {} }).await;
    assert!(refused.is_ok(), "it would wait for ever");
    eventually("its end", async || server.metric("tidings_connections").await == 0.0).await;
    assert_eq!(server.metric("tidings_subscriptions").await, 0.0);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_and_a_session_belongs_to_nobody_else() {
    let server = Server::start("");
    let get = async |path: &str| server.get(path, "").await.status;
    for path in [
        "/socket.io/?EIO=3&transport=polling",
        "/socket.io/?EIO=4&transport=carrier-pigeon",
        "/socket.io/?transport=polling",
        "/socket.io/?EIO=4&transport=polling&sid=nobody",
    ] {
        assert_eq!(get(path).await, 400, "{path}");
    }
    let bearer = server.admin();
    // A token in the address is no login.
    let path = format!("/socket.io/?EIO=4&transport=polling&token={bearer}");
    let text = server.get(&path, &bearer).await.text();
    let open: Value = serde_json::from_str(text.strip_prefix('0').expect("opens")).expect("JSON");
    let sid = open["sid"].as_str().expect("an id");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    server.call(tidings_client::http::Method::POST, &path, &bearer, None).await;
    assert_eq!(server.metric("tidings_connections").await, 0.0);
    assert!(!server.said().contains(&bearer));
}
