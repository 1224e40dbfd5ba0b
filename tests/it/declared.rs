//! Domains of the configuration against the real binary: which channel an event goes to.
//!
//! Guarantees: nothing that is refused here is in a channel afterwards.
//! They are not the tests of declarations that are wrong: see `vocabulary`.

use serde_json::{Value, json};
use tidings_client::http::{self, Method};

use crate::server::Server;

const DOMAINS: &str = r#"
[[domains]]
name = "deep"
channel = "deep:{a}:{b}"

[[domains]]
name = "build"
channel = "build:{buildId}"

[[domains.events]]
type = "build.finished"
[domains.events.schema]
required = ["buildId"]
properties.buildId = { type = "string" }
"#;

/// Publishes a text as it is: the status, and the fields that are refused.
async fn publish(server: &Server, token: &str, event: &str) -> (u16, Value) {
    let content = Some(("application/json", event.to_owned().into()));
    let answer = http::request(Method::POST, &server.url(), "/api/events", Some(token), content).await;
    let answer = answer.expect("an answer");
    (answer.status, answer.json()["fields"].clone())
}

async fn channels(server: &Server, token: &str, namespace: &str) -> Vec<Value> {
    let listed = server.get(&format!("/api/channels?namespace={namespace}"), token).await.json();
    let channels = listed["channels"].as_array().expect("channels");
    channels.iter().map(|channel| channel["channel"].clone()).collect()
}

#[tokio::test]
async fn a_channel_that_a_producer_names_agrees_with_each_id_that_the_data_has() {
    let server = Server::start(DOMAINS);
    let token = server.admin();
    for data in [json!({"a": "b"}), json!({"b": "r"}), json!({"a": "b", "b": "q"}), json!({"a": "a", "b": "r"})] {
        let event = json!({"type": "deep.x", "channel": "deep:a:q", "data": data}).to_string();
        let (status, fields) = publish(&server, &token, &event).await;
        assert!(status == 422 && fields["channel"].is_string(), "{event}: {status} {fields}");
    }
    assert_eq!(channels(&server, &token, "deep").await, Vec::<Value>::new());
    for data in [json!({}), json!({"a": "a"}), json!({"b": "q"}), json!({"a": "a", "b": "q"})] {
        let event = json!({"type": "deep.x", "channel": "deep:a:q", "data": data}).to_string();
        assert_eq!(publish(&server, &token, &event).await.0, 200, "{event}");
    }
    assert_eq!(channels(&server, &token, "deep").await, ["deep:a:q"]);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused_in_a_declared_domain_as_in_the_servers_own() {
    let server = Server::start(DOMAINS);
    let token = server.admin();
    for (event, field) in [
        (r#"{"type":"build.finished","data":{"buildId":"b2","buildId":"b1"}}"#, "data.buildId"),
        (r#"{"type":"build.note","data":{"buildId":"b2","buildId":"b1"}}"#, "data.buildId"),
        (r#"{"type":"build.note","channel":"build:b1","data":{"buildId":"b2","buildId":"b1"}}"#, "data.buildId"),
        (r#"{"type":"session.note","data":{"sessionId":"s2","sessionId":"s1"}}"#, "data.sessionId"),
    ] {
        let (status, fields) = publish(&server, &token, event).await;
        assert_eq!((status, &fields[field]), (422, &json!("is there twice")), "{event}: {fields}");
    }
    assert_eq!(channels(&server, &token, "build").await, Vec::<Value>::new());
}
