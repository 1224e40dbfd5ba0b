//! Channels and their history over HTTP, through the real gate and hub.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_core::{Principal, identity::Identity};
use tidings_engine::hub::{Connection, SubscribeRequest};
use tidings_testkit::RecordingOutlet;

use super::{ADMIN, NOBODY, PRODUCER, Server, VIEWER};

async fn subscriber(server: &Server, channels: &[&str]) -> Arc<Connection> {
    let principal: Principal = server.identity.verify(VIEWER).expect("a viewer");
    let connection = server.hub.connect(principal, RecordingOutlet::open());
    let asked = channels.iter().map(|name| Ok(SubscribeRequest::plain(name.parse().expect("a channel")))).collect();
    connection.subscribe(asked, |_| None).await;
    connection
}

async fn publish(server: &Server, id: &str, types: &[&str]) {
    let events: Vec<Value> = types.iter().map(|name| json!({"type": name, "data": {"buildId": id}})).collect();
    server.tell("POST", "/api/events", PRODUCER, &Value::from(events).to_string()).await.json();
}

fn seqs(history: &Value) -> Vec<u64> {
    let events = history["events"].as_array().expect("events");
    events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

#[tokio::test]
async fn a_history_has_the_messages_as_the_live_side_has_them() {
    let server = Server::start();
    let event = r#"{"type":"build.done","data":{ "buildId":"7", "x": 1.0 },"id":"k"}"#;
    server.tell("POST", "/api/events", PRODUCER, event).await.json();
    let answer = server.ask("GET", "/api/channels/build:7/events", VIEWER).await;
    let history = answer.json();
    assert!(answer.text.contains(r#""data":{ "buildId":"7", "x": 1.0 }"#), "{}", answer.text);
    assert_eq!(
        history["events"][0],
        json!({"type":"build.done","channel":"build:7","seq":1,"time":"2026-11-20T20:00:00.000Z",
               "by":{"userId":"u-producer"},"id":"k","data":{"buildId":"7","x":1.0}})
    );
    assert_eq!((&history["first"], &history["head"], &history["more"]), (&json!(1), &json!(1), &json!(false)));
    assert!(history["epoch"].is_string());
    server.stop().await;
}

#[tokio::test]
async fn a_history_is_paged_forwards_backwards_and_by_type() {
    let server = Server::start();
    publish(&server, "7", &["build.started", "build.step", "build.step", "build.step", "build.done"]).await;
    let table: &[(&str, &[u64], bool)] = &[
        ("", &[1, 2, 3, 4, 5], false),
        ("?limit=2", &[1, 2], true),
        ("?after=2&limit=2", &[3, 4], true),
        ("?after=3", &[4, 5], false),
        ("?before=4&limit=2", &[2, 3], true),
        ("?before=3", &[1, 2], false),
        ("?after=1&before=4", &[2, 3], false),
        ("?types=build.started,build.done", &[1, 5], false),
        ("?types=build.*&after=4", &[5], false),
    ];
    for (query, expected, more) in table {
        let history = server.ask("GET", &format!("/api/channels/build:7/events{query}"), VIEWER).await.json();
        assert_eq!((seqs(&history).as_slice(), &history["more"]), (*expected, &json!(more)), "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn bad_queries_of_a_history_are_refused_by_name() {
    let server = Server::start();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("after=-1", "after"),
        ("before=1&before=2", "before"),
        ("types=session:1", "types"),
        ("types=", "types"),
        ("token=x", "token"),
    ] {
        let answer = server.ask("GET", &format!("/api/channels/build:7/events?{query}"), VIEWER).await;
        assert_eq!((answer.code().as_str(), answer.fields()), ("invalid_data", vec![field.to_owned()]), "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn live_channels_are_listed_for_those_who_may_subscribe() {
    let server = Server::start();
    publish(&server, "a", &["build.started"]).await;
    let _connection = subscriber(&server, &["build:a", "build:b", "build:c"]).await;
    let all = server.ask("GET", "/api/channels", ADMIN).await.json();
    assert_eq!((&all["channels"][0]["channel"], &all["channels"][0]["head"]), (&json!("build:a"), &json!(1)));
    assert_eq!(all["channels"][0]["subscribers"], 1);
    assert_eq!(all["channels"].as_array().map(Vec::len), Some(3));
    assert_eq!(server.ask("GET", "/api/channels", NOBODY).await.json(), json!({"channels":[]}));
    let page = server.ask("GET", "/api/channels?limit=2", VIEWER).await.json();
    assert_eq!((page["channels"].as_array().map(Vec::len), &page["cursor"]), (Some(2), &json!("build:b")));
    let page = server.ask("GET", "/api/channels?limit=2&cursor=build:b", VIEWER).await.json();
    assert_eq!((page["channels"].as_array().map(Vec::len), &page["cursor"]), (Some(1), &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn one_channel_is_shown_to_those_who_may_subscribe() {
    let server = Server::start();
    publish(&server, "7", &["build.started"]).await;
    let shown = server.ask("GET", "/api/channels/build:7", VIEWER).await.json();
    assert_eq!((&shown["channel"], &shown["head"], &shown["subscribers"]), (&json!("build:7"), &json!(1), &json!(0)));
    assert_eq!(server.ask("GET", "/api/channels/build:7", NOBODY).await.code(), "forbidden");
    assert_eq!(server.ask("GET", "/api/channels/build:8", NOBODY).await.code(), "forbidden");
    assert_eq!(server.ask("GET", "/api/channels/build:8", VIEWER).await.code(), "not_found");
    assert_eq!(server.ask("GET", "/api/channels/build.7", VIEWER).await.code(), "invalid_channel");
    assert_eq!(server.ask("GET", "/api/channels/nobody:7", VIEWER).await.code(), "invalid_channel");
    assert_eq!(server.ask("GET", "/api/channels/build%3A7", VIEWER).await.json()["channel"], "build:7");
    server.stop().await;
}

#[tokio::test]
async fn only_an_administrator_deletes_a_channel_and_its_numbers_never_come_again() {
    let server = Server::start();
    publish(&server, "7", &["build.started", "build.done"]).await;
    assert_eq!(server.ask("DELETE", "/api/channels/build:7", VIEWER).await.code(), "forbidden");
    assert_eq!(server.ask("DELETE", "/api/channels/build:7", ADMIN).await.status.as_u16(), 204);
    publish(&server, "7", &["build.started"]).await;
    let history = server.ask("GET", "/api/channels/build:7/events", VIEWER).await.json();
    assert_eq!(seqs(&history), [3]);
    assert_eq!(server.ask("DELETE", "/api/channels/build:9", ADMIN).await.code(), "not_found");
    server.stop().await;
}
