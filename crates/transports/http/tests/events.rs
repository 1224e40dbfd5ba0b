//! Publishing over HTTP, through the real gate.

use serde_json::{Value, json};

use super::{ADMIN, NOBODY, PRODUCER, Server, VIEWER};

#[tokio::test]
async fn one_event_and_an_array_get_their_positions() {
    let server = Server::start();
    let one = r#"{"type":"build.started","data":{"buildId":"7"}}"#;
    let first = server.tell("POST", "/api/events", PRODUCER, one).await.json();
    let epoch = first["results"][0]["epoch"].clone();
    assert_eq!(first, json!({"results":[{"channel":"build:7","epoch":epoch,"seq":1}]}));
    let many = r#"[{"type":"build.done","channel":"build:7","data":{"buildId":"7"}},
                   {"type":"build.started","data":{"buildId":"8"}}]"#;
    let results = server.tell("POST", "/api/events", PRODUCER, many).await.json();
    let expected = json!([{"channel":"build:7","epoch":epoch,"seq":2},{"channel":"build:8","epoch":epoch,"seq":1}]);
    assert_eq!(results["results"], expected);
    server.stop().await;
}

#[tokio::test]
async fn an_ephemeral_event_has_a_channel_and_no_position() {
    let server = Server::start();
    let beat = r#"{"type":"build.beat","data":{"buildId":"7"}}"#;
    assert_eq!(server.tell("POST", "/api/events", PRODUCER, beat).await.code(), "forbidden");
    let placed = server.tell("POST", "/api/events", ADMIN, beat).await.json();
    assert_eq!(placed, json!({"results":[{"channel":"build:7"}]}));
    server.stop().await;
}

#[tokio::test]
async fn an_id_makes_a_retry_harmless_and_another_body_a_conflict() {
    let server = Server::start();
    let event = r#"{"type":"build.done","data":{"buildId":"7"},"id":"once"}"#;
    let first = server.tell("POST", "/api/events", PRODUCER, event).await.json();
    assert_eq!(server.tell("POST", "/api/events", PRODUCER, event).await.json(), first);
    let other = r#"{"type":"build.done","data":{"buildId":"7","x":1},"id":"once"}"#;
    assert_eq!(server.tell("POST", "/api/events", PRODUCER, other).await.code(), "conflict");
    server.stop().await;
}

#[tokio::test]
async fn an_array_with_one_bad_event_publishes_nothing() {
    let server = Server::start();
    let good = json!({"type":"build.done","data":{"buildId":"7"}});
    let bad = [
        (json!({"type":"build.done","data":{"buildId":"7"},"x":1}), "invalid_data"),
        (json!({"type":"build.done","data":{}}), "invalid_data"),
        (json!({"type":"build.done","data":{"buildId":"7","text":"x".repeat(1024)}}), "too_large"),
        (json!({"type":"nobody.done","data":{}}), "invalid_event"),
    ];
    for (bad, code) in bad {
        let body = Value::from(vec![good.clone(), bad]).to_string();
        assert_eq!(server.tell("POST", "/api/events", PRODUCER, &body).await.code(), code);
    }
    let history = server.ask("GET", "/api/channels/build:7/events", VIEWER).await.json();
    assert_eq!((&history["events"], &history["head"]), (&json!([]), &json!(0)));
    server.stop().await;
}

#[tokio::test]
async fn who_has_no_grant_publishes_nothing() {
    let server = Server::start();
    let event = r#"{"type":"build.done","data":{"buildId":"7"}}"#;
    for (token, code) in [(NOBODY, "forbidden"), (VIEWER, "forbidden"), ("", "unauthenticated")] {
        assert_eq!(server.tell("POST", "/api/events", token, event).await.code(), code);
    }
    server.stop().await;
}

#[tokio::test]
async fn data_that_is_no_object_and_an_empty_id_are_refused_by_field() {
    let server = Server::start();
    for (event, field) in [
        (r#"{"type":"build.done","data":[]}"#, "data"),
        (r#"{"type":"build.done","data":null}"#, "data"),
        (r#"{"type":"build.done","data":{"buildId":"7"},"id":""}"#, "id"),
        (r#"{"type":"build.done","data":{"buildId":"7"},"channel":"build:8"}"#, "channel"),
    ] {
        let answer = server.tell("POST", "/api/events", ADMIN, event).await;
        assert_eq!((answer.code().as_str(), answer.fields()), ("invalid_data", vec![field.to_owned()]), "{event}");
    }
    server.stop().await;
}
