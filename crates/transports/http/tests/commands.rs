//! The rows of a domain over HTTP, through the real gate.

use axum::body::Body;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_core::{
    Action, Channel,
    command::{Command, Json, Method, Need},
};
use validator::Validate;

use super::{ADMIN, NOBODY, Server, VIEWER, request};

#[derive(Debug, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    build_id: String,
    #[validate(length(min = 1, message = "is empty"))]
    name: String,
}

#[derive(Debug, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Of {
    build_id: String,
    limit: Option<u32>,
}

fn on(action: Action, id: &str) -> Need {
    Need::On(action, Channel::of("build", &id))
}

/// The rows of [`super::Builds`].
pub(super) fn rows() -> Vec<Command> {
    let post = (Method::Post, "/api/builds/{buildId}/steps");
    let get = (Method::Get, "/api/builds/{buildId}");
    let delete = (Method::Delete, "/api/builds/{buildId}");
    let text = (Method::Get, "/api/builds/{buildId}/text");
    vec![
        Command::new(
            "build.step",
            post,
            "Echoes.",
            |step: &Step| on(Action::Command, &step.build_id),
            |_, step| {
                let echo = json!({"input": step, "once": tidings_core::id::random()});
                async move { Ok(Json(echo)) }
            },
        )
        .with_status(202),
        Command::new(
            "build.get",
            get,
            "Echoes.",
            |of: &Of| on(Action::Subscribe, &of.build_id),
            |_, of: Of| async move { Ok(Json(of)) },
        ),
        Command::new(
            "build.text",
            text,
            "Writes.",
            |of: &Of| on(Action::Subscribe, &of.build_id),
            |_, of: Of| async { Ok(of.build_id) },
        ),
        Command::new(
            "build.end",
            delete,
            "Ends.",
            |of: &Of| on(Action::Command, &of.build_id),
            |_, _: Of| async { Ok(Json(())) },
        )
        .with_status(204),
    ]
}

#[tokio::test]
async fn rows_are_routes_with_their_methods_statuses_and_forms() {
    let server = Server::start();
    let step = server.tell("POST", "/api/builds/7/steps", ADMIN, r#"{"name":"test"}"#).await;
    assert_eq!((step.status.as_u16(), &step.json()["input"]), (202, &json!({"buildId":"7","name":"test"})));
    let got = server.ask("GET", "/api/builds/7?limit=3", VIEWER).await.json();
    assert_eq!(got, json!({"buildId":"7","limit":3}));
    let text = server.ask("GET", "/api/builds/7/text", VIEWER).await;
    assert_eq!((text.header("content-type"), text.text.as_str()), ("text/plain; charset=utf-8", "7"));
    let ended = server.ask("DELETE", "/api/builds/7", ADMIN).await;
    assert_eq!((ended.status.as_u16(), ended.text.as_str()), (204, ""));
    assert_eq!(server.ask("HEAD", "/api/builds/7", VIEWER).await.status.as_u16(), 200);
    server.stop().await;
}

#[tokio::test]
async fn bad_inputs_and_missing_grants_of_rows_have_their_codes() {
    let server = Server::start();
    let table = [
        ("POST", "/api/builds/7/steps", ADMIN, r#"{"name":""}"#, "invalid_data"),
        ("POST", "/api/builds/7/steps", ADMIN, "", "invalid_data"),
        ("POST", "/api/builds/7/steps", ADMIN, r#"{"name":"a","x":1}"#, "invalid_data"),
        ("POST", "/api/builds/7/steps", ADMIN, r#"{"name":"a","buildId":"8"}"#, "invalid_data"),
        ("POST", "/api/builds/7/steps", ADMIN, "[]", "bad_request"),
        ("POST", "/api/builds/7/steps", ADMIN, r#"{"name":"a","commandId":""}"#, "invalid_data"),
        ("POST", "/api/builds/7/steps", VIEWER, r#"{"name":"a"}"#, "forbidden"),
        ("POST", "/api/builds/7/steps", "", "nonsense", "unauthenticated"),
        ("GET", "/api/builds/7?limit=x", VIEWER, "", "invalid_data"),
        ("GET", "/api/builds/7?buildId=8", VIEWER, "", "invalid_data"),
        ("GET", "/api/builds/7?x=8", VIEWER, "", "invalid_data"),
        ("GET", "/api/builds/7", NOBODY, "", "forbidden"),
        ("PATCH", "/api/builds/7", ADMIN, "{}", "bad_request"),
    ];
    for (method, path, token, body, code) in table {
        assert_eq!(server.tell(method, path, token, body).await.code(), code, "{method} {path} {body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_command_id_in_body_or_header_gives_the_first_answer_again() {
    let server = Server::start();
    let by_header = |key: &str| {
        let asked = request("POST", "/api/builds/7/steps", ADMIN).header("idempotency-key", key);
        asked.body(Body::from(r#"{"name":"test"}"#)).expect("a request")
    };
    let first = server.send(by_header("k1")).await.json();
    assert_eq!(server.send(by_header("k1")).await.json(), first);
    let in_body = r#"{"name":"test","commandId":"k1"}"#;
    assert_eq!(server.tell("POST", "/api/builds/7/steps", ADMIN, in_body).await.json(), first);
    assert_ne!(server.send(by_header("k2")).await.json(), first);
    let other = r#"{"name":"other","commandId":"k1"}"#;
    assert_eq!(server.tell("POST", "/api/builds/7/steps", ADMIN, other).await.code(), "conflict");
    server.stop().await;
}
