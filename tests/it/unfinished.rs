//! WebSocket messages that do not come whole.
//!
//! Guarantees: streams here are driven frame by frame; each test says what has come of the memory, too.
//! They are not bodies of requests: see `deadlines`.

use std::time::Duration;

use serde_json::json;
use tidings_client::Raw;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::{
    server::{PATIENCE, Server, eventually},
    watcher::{answer, frame, raw},
};

const HELD: &str = "tidings_held_bytes";
const MIB: u64 = 1 << 20;
/// The bytes of a message that never ends: two frames.
const LENGTH: usize = 1_000_000;

/// Sends a part of a message.
async fn part(raw: &mut Raw, is_first: bool, bytes: usize) -> bool {
    let opcode = OpCode::Data(if is_first { Data::Text } else { Data::Continue });
    raw.send(Message::Frame(Frame::message(vec![b'4'; bytes], opcode, false))).await.is_ok()
}

fn closed(code: u16) -> String {
    format!("tidings_websockets_failed_total{{code=\"{code}\"}}")
}

#[tokio::test]
async fn unfinished_messages_hold_no_more_than_their_user_may_and_end_in_their_time() {
    let server = Server::start(
        "[http]\nbody_timeout = \"1s\"\nbody_bytes_per_second = \"500KiB\"\n[socket]\nheld_bytes_per_user = \"8MiB\"\n",
    );
    let (ada, before) = (server.token("ada", &[]), server.memory());
    let mut all = Vec::new();
    for n in 0..40_usize {
        let mut one = raw(&server.endpoint(), &ada).await;
        part(&mut one, true, LENGTH / 2).await;
        part(&mut one, false, LENGTH / 2).await;
        // Eight million bytes fit into what the user may hold, and no ninth.
        let (fit, not) = ((n + 1).min(8), (n + 1).saturating_sub(8));
        eventually("it is held or refused", async || {
            server.metric(HELD).await == (fit * LENGTH) as f64 && server.metric(&closed(1013)).await == not as f64
        })
        .await;
        all.push(one);
    }
    assert!(server.metric(r#"tidings_held_refused_total{bound="user",of="messages"}"#).await >= 32.0);
    let more = server.memory().saturating_sub(before);
    assert!(more < 64 * MIB, "{more} bytes for 8 MB that may be held");
    // Others have theirs.
    let mut bob = raw(&server.endpoint(), &server.token("bob", &[])).await;
    bob.send_text(r#"421["unsubscribe","user:bob"]"#).await.expect("sends");
    assert_eq!(answer(&mut bob, 1).await["ok"], true);
    // A byte now and then keeps nobody waiting.
    let trickle = async {
        loop {
            for one in &mut all {
                part(one, false, 1).await;
            }
            if server.metric("tidings_messages_timed_out_total").await == 8.0 {
                return;
            }
            drop(timeout(Duration::from_millis(100), std::future::pending::<()>()).await);
        }
    };
    timeout(PATIENCE, trickle).await.expect("they end");
    assert_eq!(server.metric(&closed(1008)).await, 8.0);
    assert_eq!(server.metric(HELD).await, 0.0);
    for mut one in all {
        while frame(&mut one).await.is_some() {}
    }
    eventually("only one is left", async || server.metric("tidings_connections").await == 1.0).await;
}

#[tokio::test]
async fn a_message_in_slow_parts_arrives_and_what_was_held_for_it_is_given_back() {
    let server = Server::start("[http]\nbody_timeout = \"1s\"\nbody_bytes_per_second = \"1KiB\"\n");
    let mut client = raw(&server.endpoint(), &server.admin()).await;
    let filling = "x".repeat(20_000);
    let text = format!("427{}", json!(["publish", {"type": "user.note", "channel": "user:a", "data": {"x": filling}}]));
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(text.len() / 12).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let opcode = OpCode::Data(if n == 0 { Data::Text } else { Data::Continue });
        let sent = Frame::message(piece.to_vec(), opcode, n + 1 == pieces.len());
        client.send(Message::Frame(sent)).await.expect("sends");
        // Longer in all than a message of no bytes may take.
        drop(timeout(Duration::from_millis(150), std::future::pending::<()>()).await);
        if n + 1 < pieces.len() {
            assert!(server.metric(HELD).await > 0.0, "after piece {n}");
        }
    }
    assert_eq!(answer(&mut client, 7).await["ok"], true);
    assert_eq!(server.metric(HELD).await, 0.0);
}
