//! Connections in their number and in their haste: everybody gets an answer, and nobody another's trouble.
//!
//! Guarantees: the clients here are bare where they must be wrong or quick on purpose.
//! They are not the endings of connections: see `endings`.

use serde_json::{Value, json};
use tidings_client::{ConnectError, Endpoint, Raw};
use tokio::{task::JoinSet, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    server::{PATIENCE, Server, eventually, note, notes},
    watcher::{Said, Watcher, answer, frame, raw, said},
};

/// So many at once.
const CROWD: usize = 1000;
/// A subscription raced against a publication, so many times.
const TRIES: u64 = 400;

/// Connects, subscribes in the same moment in which the connection is accepted, and waits for the answer.
async fn hasty(endpoint: Endpoint, login: String, number: usize) -> Raw {
    let mut raw = Raw::connect(&endpoint).await.expect("connects");
    assert!(frame(&mut raw).await.expect("opens").starts_with('0'));
    raw.send_text(login).await.expect("sends");
    let accepted = frame(&mut raw).await.expect("an answer");
    assert!(accepted.starts_with("40"), "{accepted}");
    raw.send_text(format!(r#"420["subscribe","session:c{}"]"#, number % 10)).await.expect("sends");
    assert_eq!(answer(&mut raw, 0).await["ok"], true, "client {number}");
    raw
}

#[tokio::test]
async fn a_crowd_that_subscribes_in_its_connect_callback_is_answered_to_the_last_one() {
    let server = Server::start("[socket]\nping_interval_ms = 60000\nping_timeout_ms = 60000\n");
    let bearer = server.admin();
    let login = format!("40{}", json!({ "token": bearer }));
    let mut connecting = JoinSet::new();
    for number in 0..CROWD {
        connecting.spawn(hasty(server.endpoint(), login.clone(), number));
    }
    let crowd = timeout(PATIENCE, connecting.join_all()).await.expect("all are answered");
    assert_eq!(crowd.len(), CROWD);
    assert_eq!(server.metric("tidings_connections").await, CROWD as f64);
    assert_eq!(server.metric("tidings_subscriptions").await, CROWD as f64);
    server.publish(&bearer, (0..10).map(|session| note(&format!("c{session}"), 1)).collect()).await;
    for mut raw in crowd {
        while !matches!(said(&frame(&mut raw).await.expect("its message")), Said::Message(it) if it["data"]["n"] == 1) {
        }
    }
    eventually("that nothing is left", async || server.metric("tidings_connections").await == 0.0).await;
    assert_eq!(server.metric("tidings_subscriptions").await, 0.0);
}

#[tokio::test]
async fn the_answer_to_a_subscribe_comes_before_its_messages_and_says_where_they_begin() {
    let server = Server::start("[log]\ndurability = \"process\"\n");
    let bearer = server.admin();
    let mut client = raw(&server.endpoint(), &bearer).await;
    let publisher = Watcher::connect(&server, &bearer).await;
    for id in 0..TRIES {
        let subscribe = format!(r#"42{id}["subscribe","session:race"]"#);
        let publish =
            json!({"channel": "session:race", "type": "session.note", "data": {"sessionId": "race", "n": id}});
        let (sent, placed) = tokio::join!(client.send_text(subscribe), publisher.done("publish", publish));
        sent.expect("sends");
        // Of the subscription before, a message may still come until the answer; none after it.
        let attached = answer(&mut client, id).await;
        let head = attached["seq"].as_u64().expect("a head");
        let seq = placed["seq"].as_u64().expect("a number");
        assert!(head == seq || head + 1 == seq, "try {id}: {attached} {placed}");
        if head + 1 == seq {
            let message = loop {
                if let Said::Message(message) = said(&frame(&mut client).await.expect("the message"))
                    && message["type"] == "session.note"
                {
                    break message;
                }
            };
            assert_eq!(message["seq"], seq, "try {id}");
        }
        let over = 1_000_000 + id;
        client.send_text(format!(r#"42{over}["unsubscribe","session:race"]"#)).await.expect("sends");
        assert_eq!(answer(&mut client, over).await["ok"], true);
    }
}

#[tokio::test]
async fn whoever_does_not_log_in_leaves_nothing_behind_and_is_let_go() {
    let server = Server::start("");
    let mut silent = Raw::connect(&server.endpoint()).await.expect("connects");
    assert!(frame(&mut silent).await.is_some());
    let mut refused_ones = Vec::new();
    for login in ["40", "40{}", r#"40{"token":"nonsense"}"#, r#"40{"token":5}"#, "40[]"] {
        let mut raw = Raw::connect(&server.endpoint()).await.expect("connects");
        frame(&mut raw).await.expect("opens");
        raw.send_text(login).await.expect("sends");
        let refused = frame(&mut raw).await.expect("an answer");
        assert!(refused.starts_with("44") && refused.contains(r#""message":"Authentication error""#), "{refused}");
        refused_ones.push(raw);
    }
    assert_eq!(server.metric("tidings_connections").await, 0.0);
    // Nobody hears what it says before it is let in.
    silent.send_text(r#"420["subscribe","session:1"]"#).await.expect("sends");
    for mut raw in refused_ones.into_iter().chain([silent]) {
        while frame(&mut raw).await.is_some() {}
    }
    assert_eq!(server.metric("tidings_subscriptions").await, 0.0);
}

#[tokio::test]
async fn whoever_sends_too_fast_is_slowed_down_and_every_event_is_answered_in_order() {
    let server = Server::start("[socket]\nrate_burst = 500\nrate_per_second = 500\n");
    let (bearer, many) = (server.admin(), 2500);
    let mut client = raw(&server.endpoint(), &bearer).await;
    for id in 0..many {
        client.feed_text(format!(r#"42{id}["unsubscribe","session:{id}"]"#)).await.expect("sends");
    }
    client.flush().await.expect("sends");
    let mut answered = Vec::new();
    while answered.len() < many {
        if let Said::Answer(id, value) = said(&frame(&mut client).await.expect("an answer")) {
            assert_eq!(value["ok"], true);
            answered.push(id);
        }
    }
    assert_eq!(answered, (0..many as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_sends_too_fast_for_too_long_is_told_and_closed_and_nobody_else_notices() {
    // While it is not read, its answer to a ping is not read either: that must not end it first.
    let config = "[socket]\nrate_burst = 10\nrate_per_second = 1\nmailbox = 64\nping_timeout_ms = 60000\n";
    let server = Server::start(config);
    let bearer = server.admin();
    let mut client = raw(&server.endpoint(), &bearer).await;
    let bystander = Watcher::connect(&server, &bearer).await;
    for id in 0..60 {
        client.feed_text(format!(r#"42{id}["unsubscribe","session:1"]"#)).await.expect("sends");
    }
    client.flush().await.expect("sends");
    let mut last = Value::Null;
    while let Some(text) = frame(&mut client).await {
        if let Said::Message(message) = said(&text) {
            last = message;
        }
    }
    assert_eq!(last["type"], "connection.closed", "{last}");
    assert_eq!((&last["data"]["code"], &last["data"]["retry"]), (&json!("rate_limited"), &json!(true)));
    bystander.done("subscribe", json!("session:1")).await;
}

#[tokio::test]
async fn a_message_of_the_largest_size_passes_and_a_larger_one_is_refused() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut watcher = Watcher::connect(&server, &bearer).await;
    watcher.done("subscribe", json!("session:big")).await;
    let of_size = |bytes: usize| {
        let data = json!({"sessionId": "big", "n": bytes, "filling": "x".repeat(bytes)});
        json!({"channel": "session:big", "type": "session.note", "data": data})
    };
    watcher.done("publish", of_size(255 * 1024)).await;
    assert_eq!(watcher.notes_to(255 * 1024).await.len(), 1);
    assert_eq!(watcher.refused("publish", of_size(257 * 1024)).await, "too_large");
    let over_http = json!({"type": "session.note", "data": of_size(300 * 1024)["data"]});
    let refused = server.post("/api/events", &bearer, over_http).await;
    assert_eq!((refused.status, &refused.json()["code"]), (413, &json!("too_large")));
    let mut flooding = raw(&server.endpoint(), &bearer).await;
    // A frame that nobody may send at all ends its connection and no other.
    drop(flooding.send_text(format!("420{}", json!(["publish", of_size(1 << 20)]))).await);
    while frame(&mut flooding).await.is_some() {}
    watcher.done("publish", of_size(1)).await;
    assert_eq!(watcher.notes_to(1).await, [1]);
}

#[tokio::test]
async fn what_is_malformed_is_refused_or_ends_its_own_connection_only() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut bystander = Watcher::connect(&server, &bearer).await;
    bystander.done("subscribe", json!("session:1")).await;
    let nested = format!("420{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let broken = [
        "",
        "x",
        "4",
        "9",
        "42",
        "42[",
        "42{}",
        "42[]",
        "420[]",
        "42[5]",
        "420[5,{}]",
        r#"420["subscribe""#,
        "40",
        r#"42/other,0["subscribe","session:1"]"#,
        "43",
        "431[]",
        "45",
        "451-",
        r#"451-0["publish"]"#,
        "3",
        "2probe",
        "5",
        "\u{0}",
        "42999999999999999999999[\"subscribe\"]",
        nested.as_str(),
    ];
    let mut clients = Vec::new();
    for text in broken {
        let mut client = raw(&server.endpoint(), &bearer).await;
        client.send_text(text).await.expect("sends");
        // Ended, or answered and of use: both are in order, silence is not.
        drop(client.send_text(r#"427["subscribe","session:1"]"#).await);
        clients.push((text, client));
    }
    for (text, mut client) in clients {
        while let Some(came) = frame(&mut client).await {
            match said(&came) {
                Said::Answer(7, value) => {
                    assert_eq!(value["ok"], true, "{text}");
                    break;
                }
                Said::Answer(_, value) => assert_eq!(value["ok"], false, "{text}: {value}"),
                Said::Message(_) | Said::Other => {}
            }
        }
    }
    server.publish(&bearer, notes("1", 1..=1)).await;
    assert_eq!(bystander.notes_to(1).await, [1]);
}

#[tokio::test]
async fn every_event_is_answered_also_unknown_and_binary_ones() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut watcher = Watcher::connect(&server, &bearer).await;
    assert_eq!(watcher.next().await["type"], "server.hello");
    let refusals = [
        ("dance", json!({}), "unknown_command"),
        ("session.start", json!("x"), "bad_request"),
        ("subscribe", json!("session.1"), "invalid_channel"),
        ("subscribe", json!(5), "bad_request"),
        ("subscribe", json!({"channel": "session:1", "sinse": 1}), "invalid_data"),
        ("unsubscribe", json!({"all": true, "foo": 1}), "invalid_data"),
        ("auth.refresh", json!({"token": "x", "foo": 1}), "invalid_data"),
        ("publish", json!({"channel": "session:1", "type": "session.note", "data": {}, "foo": 1}), "invalid_data"),
        ("publish", json!({"channel": "session:1", "type": "session:note", "data": {}}), "invalid_event"),
        ("publish", json!({"channel": "nobody:1", "type": "nobody.note", "data": {}}), "invalid_event"),
        ("auth.refresh", json!({"token": "x"}), "unauthenticated"),
    ];
    for (event, argument, code) in refusals {
        assert_eq!(watcher.refused(event, argument.clone()).await, code, "{event} {argument}");
    }
    let mut client = raw(&server.endpoint(), &bearer).await;
    let fields = [
        (r#"["subscribe",{"channel":"session:1","last":3,"foo":1}]"#, "foo"),
        (r#"["subscribe",{"channel":"session:1","since":{"seq":5}}]"#, "since.epoch"),
        (r#"["unsubscribe",["session:1",5]]"#, "[1]"),
        (r#"["publish",{"channel":"session:1","type":"session.note","data":{},"id":5}]"#, "id"),
        (r#"["publish",{"channel":5,"type":"session.note","data":{}}]"#, "channel"),
        (r#"["publish",{"channel":"session:1","type":"session.note"}]"#, "data"),
        (r#"["auth.refresh",{"token":5}]"#, "token"),
    ];
    for (number, (asked, field)) in (10..).zip(fields) {
        client.send_text(format!("42{number}{asked}")).await.expect("sends");
        let refused = answer(&mut client, number).await;
        assert_eq!(refused["error"]["code"], "invalid_data", "{asked}: {refused}");
        assert!(refused["error"]["fields"][field].is_string(), "{asked}: {refused}");
    }
    client.send_text(r#"451-3["publish",{"_placeholder":true,"num":0}]"#).await.expect("sends");
    client.send(Message::binary(vec![1, 2, 3])).await.expect("sends");
    let refused = answer(&mut client, 3).await;
    assert_eq!(refused["error"]["code"], "bad_request", "{refused}");
}

#[tokio::test]
async fn more_connections_than_configured_are_asked_to_come_back() {
    let server = Server::start("[socket]\nmax_connections = 2\n");
    let bearer = server.admin();
    let first = Watcher::connect(&server, &bearer).await;
    let second = Watcher::connect(&server, &bearer).await;
    let third = Raw::connect(&server.endpoint()).await.map(drop);
    assert_eq!(third, Err(ConnectError::Status(503)));
    first.client.close().await;
    eventually("room", async || server.metric("tidings_connections").await == 1.0).await;
    Watcher::connect(&server, &bearer).await.done("subscribe", json!("session:1")).await;
    second.done("subscribe", json!("session:1")).await;
}
