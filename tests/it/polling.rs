//! The transport without WebSockets, and the way from it to one.
//!
//! Guarantees: sessions here are driven by hand, so that every request stands where the test wants it.
//! They are not real clients: those are tested with their own libraries.

use serde_json::{Value, json};
use tidings_client::{Polling, Raw};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

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

#[tokio::test]
async fn a_post_that_is_too_large_is_answered_so_and_ends_its_session_as_a_packet_of_a_websocket_does() {
    let server = Server::start("");
    let bearer = server.admin();
    let polling = Polling::open(&server.endpoint()).await.expect("opens");
    let early = polling.send_body(vec![b'4'; 64 * 1024 + 1].into()).await.expect("an answer");
    assert_eq!(early.status, 413, "{}", early.text());
    assert!(polling.poll().await.is_err(), "whoever was not let in yet goes on");
    let poller = Poller::log_in(&server, &bearer).await;
    let event = note("big", 1);
    let packets = [format!(r#"421["publish",{event}]"#), format!(r#"422["dance","{}"]"#, "a".repeat(1_000_000))];
    let refused = poller.polling.send(&[packets[0].as_str(), packets[1].as_str()]).await.expect("an answer");
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(poller.polling.send(&["3"]).await.expect("an answer").status, 400, "its session goes on");
    assert!(poller.polling.poll().await.is_err());
    eventually("that it is over", async || server.metric("tidings_connections").await == 0.0).await;
    let channel = server.get("/api/channels/session:big", &bearer).await;
    assert_eq!(channel.status, 404, "nothing of such a post has an effect: {}", channel.text());
    // A poll that waits is told the end.
    let poller = Poller::log_in(&server, &bearer).await;
    let ends = async { while poller.polling.poll().await.is_ok_and(|packets| packets != ["1"]) {} };
    let (ended, refused) =
        tokio::join!(timeout(PATIENCE, ends), poller.polling.send_body(vec![b'4'; 1_000_001].into()));
    assert_eq!(refused.expect("an answer").status, 413);
    ended.expect("a poll waits for ever");
}

/// Probes with another connection while a poll is under way, as clients do, and changes to it when
/// that poll has ended.
async fn change(server: &Server, poller: &mut Poller) -> Raw {
    let polling = poller.polling.clone();
    let probing = async {
        let mut raw = Raw::upgrade(&server.endpoint(), polling.sid()).await.expect("connects");
        raw.send_text("2probe").await.expect("sends");
        (raw.next_text().await, raw)
    };
    let (packets, (answered, mut raw)) = tokio::join!(polling.poll(), probing);
    poller.seen.extend(packets.expect("a poll that meets a probe is answered"));
    assert_eq!(answered.as_deref(), Some("3probe"));
    raw.send_text("5").await.expect("sends");
    raw
}

impl Poller {
    /// Goes on over the WebSocket, up to the note with this number.
    async fn read_on(&mut self, raw: &mut Raw, last: u64) {
        while self.notes().last() != Some(&last) {
            let text = raw.next_text().await.expect("goes on after the change");
            if text == "2" {
                raw.send_text("3").await.expect("sends");
            }
            self.seen.push(text);
        }
    }

    async fn subscribe(&mut self, session: &str) {
        let subscribe = json!(["subscribe", { "channel": format!("session:{session}"), "since": {"seq": 0} }]);
        self.send(&format!("420{subscribe}")).await;
        self.until("the answer", |text| text.starts_with("430")).await;
    }
}

#[tokio::test]
async fn a_change_to_a_websocket_under_load_loses_doubles_and_reorders_nothing() {
    let (server, all) = (Server::start("[log]\ndurability = \"process\"\n"), 200);
    let bearer = server.admin();
    for number in 0..TRIES {
        let session = format!("s{number}");
        let publishing = async {
            for n in 1..=all {
                server.publish(&bearer, note(&session, n)).await;
            }
        };
        let changing = async {
            let mut poller = Poller::log_in(&server, &bearer).await;
            poller.subscribe(&session).await;
            let mut raw = change(&server, &mut poller).await;
            poller.read_on(&mut raw, all).await;
            poller.notes()
        };
        let (numbers, ()) = tokio::join!(timeout(PATIENCE, changing), publishing);
        let numbers = numbers.unwrap_or_else(|_| panic!("try {number} does not come to its end"));
        assert_eq!(numbers, (1..=all).collect::<Vec<_>>(), "try {number}");
    }
}

#[tokio::test]
async fn a_change_right_after_a_poll_that_brought_much_loses_nothing() {
    let server = Server::start("[log]\ndurability = \"process\"\n");
    let bearer = server.admin();
    for try_number in 0..5 {
        let session = format!("big{try_number}");
        let mut poller = Poller::log_in(&server, &bearer).await;
        poller.subscribe(&session).await;
        for n in 1..=8 {
            let mut event = note(&session, n);
            event["data"]["filling"] = json!("x".repeat(120_000));
            server.publish(&bearer, event).await;
        }
        poller.until("the first", |text| note_in(text) == Some(1)).await;
        server.publish(&bearer, notes(&session, 9..=500)).await;
        let mut raw = change(&server, &mut poller).await;
        timeout(PATIENCE, poller.read_on(&mut raw, 500)).await.expect("comes to its end");
        assert_eq!(poller.notes(), (1..=500).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_client_that_changes_in_the_moment_of_its_login_is_let_in_and_hears_everything() {
    let server = Server::start("[log]\ndurability = \"process\"\n");
    let bearer = server.admin();
    server.publish(&bearer, notes("early", 1..=3)).await;
    for number in 0..TRIES {
        let polling = Polling::open(&server.endpoint()).await.expect("opens");
        let (login, sid) = (format!("40{}", json!({ "token": bearer })), polling.sid().to_owned());
        let probing = async {
            let mut raw = Raw::upgrade(&server.endpoint(), &sid).await.expect("connects");
            raw.send_text("2probe").await.expect("sends");
            assert_eq!(raw.next_text().await.as_deref(), Some("3probe"));
            raw
        };
        // Its acceptance is under way while it changes: the word of it may come either way.
        let packets = [login.as_str()];
        let (sent, mut raw) = tokio::join!(polling.send(&packets), probing);
        assert_eq!(sent.expect("an answer").status, 200);
        raw.send_text("5").await.expect("sends");
        let mut seen = Vec::new();
        let reading = async {
            while !seen.iter().any(|text: &String| text.contains("server.hello")) {
                seen.push(raw.next_text().await.expect("goes on"));
            }
            raw.send_text(r#"427["subscribe",{"channel":"session:early","since":{"seq":0}}]"#).await.expect("sends");
            while seen.last().and_then(|text| note_in(text)) != Some(3) {
                seen.push(raw.next_text().await.expect("goes on"));
            }
        };
        assert!(timeout(PATIENCE, reading).await.is_ok(), "try {number}: {seen:?}");
        let connected = seen.iter().position(|text| text.starts_with("40")).expect("is told");
        let hello = seen.iter().position(|text| text.contains("server.hello")).expect("is greeted");
        assert!(connected < hello, "try {number}: {seen:?}");
    }
}

#[tokio::test]
async fn a_probe_that_dies_half_way_leaves_polling_as_it_was() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut poller = Poller::log_in(&server, &bearer).await;
    poller.subscribe("1").await;
    for number in 1..=3 {
        let mut raw = Raw::upgrade(&server.endpoint(), poller.polling.sid()).await.expect("connects");
        raw.send_text(if number == 3 { "5" } else { "2probe" }).await.expect("sends");
        let answer = timeout(PATIENCE, raw.next_text()).await.expect("an answer, or the end");
        assert_eq!(answer.as_deref(), (number < 3).then_some("3probe"));
        drop(raw);
        server.publish(&bearer, note("1", number)).await;
        poller.until("the next one", |text| note_in(text) == Some(number)).await;
    }
    assert_eq!(poller.notes(), [1, 2, 3]);
    assert_eq!(server.metric("tidings_connections").await, 1.0);
    assert_eq!(server.metric("tidings_upgrades_failed_total").await, 3.0);
}

#[tokio::test]
async fn a_probe_that_breaks_the_protocol_ends_with_a_close_frame_that_says_why_and_polling_goes_on() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut poller = Poller::log_in(&server, &bearer).await;
    poller.subscribe("1").await;
    let event = r#"42["subscribe","session:1"]"#;
    let table: [&[&str]; 5] = [&[event], &["5"], &["2probe", "2probe"], &["2probe", event, event], &["2probe", "4"]];
    for words in table {
        let mut raw = Raw::upgrade(&server.endpoint(), poller.polling.sid()).await.expect("connects");
        for word in words {
            raw.feed_text(*word).await.expect("sends");
        }
        raw.flush().await.expect("sends");
        let (code, why) = timeout(PATIENCE, raw.closed()).await.expect("ends").expect("a close frame");
        assert_eq!(code, 1008, "{words:?}");
        assert!(why.contains("2probe, and then 5"), "{words:?}: {why}");
    }
    let mut raw = Raw::upgrade(&server.endpoint(), poller.polling.sid()).await.expect("connects");
    raw.send(Message::binary(b"2probe".to_vec())).await.expect("sends");
    let (code, _) = timeout(PATIENCE, raw.closed()).await.expect("ends").expect("a close frame");
    assert_eq!(code, 1003);
    assert_eq!(server.metric("tidings_websockets_failed_total{code=\"1008\"}").await, 5.0);
    server.publish(&bearer, note("1", 1)).await;
    poller.until("the next one", |text| note_in(text) == Some(1)).await;
    assert_eq!(server.metric("tidings_connections").await, 1.0);
}

#[tokio::test]
async fn a_polling_client_that_falls_silent_is_let_go() {
    let server = Server::start("[socket]\nping_interval_ms = 1000\nping_timeout_ms = 1000\n");
    let bearer = server.admin();
    let mut poller = Poller::log_in(&server, &bearer).await;
    poller.subscribe("1").await;
    assert_eq!(server.metric("tidings_connections").await, 1.0);
    eventually("its end", async || server.metric("tidings_connections").await == 0.0).await;
    assert_eq!(server.metric("tidings_subscriptions").await, 0.0);
    assert!(poller.polling.poll().await.is_err(), "its session is gone, too");
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
