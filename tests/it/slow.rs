//! Clients that read slowly, or not at all.
//!
//! Guarantees: who reads is never taken for dead, in either direction; who does not is let go in time,
//! with everything of it.
//! They are not the endings that the server wants: see `endings`.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_client::Raw;
use tokio::time::{Instant, timeout};

use crate::{
    server::{PATIENCE, Server, eventually, note},
    watcher::{Said, answer, raw, said},
};

/// A tenth of the default heartbeat, so that the slowest reader is ten times as fast.
const HEARTBEAT: &str = "[log]\ndurability = \"process\"\n[socket]\nping_interval_ms = 1500\nping_timeout_ms = 1000\n";
const LIMIT: Duration = Duration::from_millis(2500);
/// Bytes in a message, and between two of them so long: 160 KB a second.
const FILLING: usize = 16_000;
const PACE: Duration = Duration::from_millis(100);

/// A slow client's pause, which is what is tested here.
async fn pace() {
    tokio::time::sleep(PACE).await;
}

async fn subscribed(server: &Server, bearer: &str, session: &str) -> Raw {
    let mut raw = raw(&server.endpoint(), bearer).await;
    raw.send_text(format!(r#"420["subscribe","session:{session}"]"#)).await.expect("sends");
    assert_eq!(answer(&mut raw, 0).await["ok"], true);
    raw
}

async fn flood(server: &Server, bearer: &str, session: &str, all: u64) {
    for n in (1..=all).step_by(20) {
        let mut events: Vec<Value> = (n..n + 20).map(|n| note(session, n)).collect();
        events.iter_mut().for_each(|event| event["data"]["filling"] = json!("x".repeat(FILLING)));
        server.publish(bearer, json!(events)).await;
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_never_taken_for_dead_and_never_thinks_the_server_is() {
    let server = Server::start(HEARTBEAT);
    let (bearer, all) = (server.admin(), 400);
    let mut slow = subscribed(&server, &bearer, "slow").await;
    flood(&server, &bearer, "slow", all).await;
    let (mut seen, mut pings, mut last_ping) = (Vec::new(), 0, Instant::now());
    while seen.last() != Some(&all) {
        let text = timeout(PATIENCE, slow.next_text()).await.expect("goes on").expect("is not ended");
        if text == "2" {
            assert!(last_ping.elapsed() < LIMIT, "a client would have given up: {:?}", last_ping.elapsed());
            (pings, last_ping) = (pings + 1, Instant::now());
            slow.send_text("3").await.expect("sends");
        }
        if let Said::Message(message) = said(&text)
            && message["type"] == "session.note"
        {
            seen.push(message["data"]["n"].as_u64().expect("a number"));
            // The pace of the slowest reader, until the heartbeat has come round a few times.
            if pings < 4 {
                pace().await;
            }
        }
    }
    assert_eq!(seen, (1..=all).collect::<Vec<_>>());
    assert!(pings >= 4, "it read at that pace over some heartbeats: {pings}");
    assert_eq!(server.metric("tidings_connections_ended_total{code=\"silent\"}").await, 0.0);
}

#[tokio::test]
async fn a_client_that_sends_slowly_is_never_taken_for_dead() {
    let server = Server::start(HEARTBEAT);
    let bearer = server.admin();
    let mut slow = raw(&server.endpoint(), &bearer).await;
    let started = Instant::now();
    // What it sends lies before its answers to pings; here it answers none at all.
    let mut id = 0;
    while started.elapsed() < LIMIT * 2 {
        slow.send_text(format!(r#"42{id}["unsubscribe","session:1"]"#)).await.expect("sends");
        id += 1;
        pace().await;
    }
    assert_eq!(answer(&mut slow, id - 1).await["ok"], true);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_by_its_heartbeat_with_everything_of_it() {
    let server = Server::start(HEARTBEAT);
    let bearer = server.admin();
    let stalled = subscribed(&server, &bearer, "stalled").await;
    flood(&server, &bearer, "stalled", 1000).await;
    assert_eq!(server.metric("tidings_slow_clients").await, 1.0);
    eventually("its end", async || server.metric("tidings_connections").await == 0.0).await;
    assert_eq!(server.metric("tidings_subscriptions").await, 0.0);
    assert_eq!(server.metric("tidings_behind_subscriptions").await, 0.0);
    assert_eq!(server.metric("tidings_connections_ended_total{code=\"silent\"}").await, 1.0);
    drop(stalled);
}

#[tokio::test]
async fn a_stalled_client_that_is_revoked_is_let_go_at_once() {
    let server = Server::start("[log]\ndurability = \"process\"\n");
    let admin = server.admin();
    let body = json!({"username": "ada", "password": "a long enough password", "roles": ["viewer"]});
    let id = server.post("/api/users", &admin, body).await.json()["id"].as_str().expect("an id").to_owned();
    let login = json!({"username": "ada", "password": "a long enough password"});
    let token = server.post("/api/auth/login", "", login).await.json()["token"].as_str().expect("a token").to_owned();
    let stalled = subscribed(&server, &token, "stalled").await;
    flood(&server, &admin, "stalled", 1000).await;
    assert_eq!(server.metric("tidings_slow_clients").await, 1.0);
    assert_eq!(server.post(&format!("/api/users/{id}/revoke"), &admin, json!({})).await.status, 204);
    // Everything of it is released before the answer to the revocation; only the transport may still say its last word.
    assert_eq!(server.metric("tidings_connections").await, 0.0);
    assert_eq!(server.metric("tidings_subscriptions").await, 0.0);
    drop(stalled);
}
