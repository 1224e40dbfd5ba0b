//! How connections end: expiry, refresh, revocation, deletion, and the stop of the server.
//!
//! Guarantees: what is temporary closes the transport, what is final says DISCONNECT, and both are told before.
//! They are not the loads on connections: see `connections`.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_client::{
    Client, ConnectError, Lost, Polling, Raw,
    http::{self, Method},
};

use crate::{
    server::{Server, eventually, notes},
    watcher::{Said, Watcher, frame, raw, said},
};

/// The data of the last thing that was said.
async fn last_words(watcher: &mut Watcher) -> Value {
    watcher.of_type("connection.closed").await["data"].clone()
}

/// A user of the server's own, logged in: the id, and the answer to the login.
async fn user(server: &Server, admin: &str, name: &str) -> (String, Value) {
    let body = json!({"username": name, "password": "a long enough password", "roles": ["operator"]});
    let made = server.post("/api/users", admin, body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    (id, log_in(server, name, "a long enough password").await)
}

async fn log_in(server: &Server, name: &str, password: &str) -> Value {
    let body = json!({"username": name, "password": password});
    let answer = http::post_json(&server.url(), "/api/auth/login", None, &body).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn token_of(login: &Value) -> &str {
    login["token"].as_str().expect("a token")
}

#[tokio::test]
async fn a_connection_is_warned_before_its_token_ends_and_closed_when_it_does() {
    let server = Server::start("");
    let short = server.token("ada", &["--role", "viewer", "--ttl", "3s"]);
    let mut connection = raw(&server.endpoint(), &short).await;
    let (mut types, mut last) = (Vec::new(), String::new());
    while let Some(text) = frame(&mut connection).await {
        if let Said::Message(message) = said(&text) {
            types.push(message["type"].as_str().expect("a type").to_owned());
            if message["type"] == "connection.closed" {
                assert_eq!(
                    (&message["data"]["code"], &message["data"]["retry"]),
                    (&json!("token_expired"), &json!(true))
                );
            }
        }
        last = text;
    }
    assert_eq!(types, ["server.hello", "auth.expiring", "connection.closed"]);
    assert_ne!(last, "41", "a client that was disconnected would not come back by itself");
    assert_eq!(server.get("/api/auth/me", &short).await.json()["code"], "token_expired");
    assert_eq!(server.metric("tidings_connections").await, 0.0);
}

#[tokio::test]
async fn a_refresh_in_place_outlives_the_first_token_and_takes_what_the_new_one_does_not_allow() {
    let server = Server::start("");
    let short = server.token("ada", &["--grant", "session:*=subscribe,publish", "--ttl", "3s"]);
    let mut watcher = Watcher::connect(&server, &short).await;
    watcher.done("subscribe", json!(["session:1", "session:2"])).await;
    let other = server.token("bob", &["--role", "admin"]);
    assert_eq!(watcher.refused("auth.refresh", json!({"token": other})).await, "forbidden");
    let longer = server.token("ada", &["--grant", "session:1=subscribe,publish"]);
    let refreshed = watcher.done("auth.refresh", json!({"token": longer})).await;
    assert!(refreshed["expiresAt"].is_string(), "{refreshed}");
    let closed = watcher.of_type("channel.closed").await;
    assert_eq!((&closed["data"]["channel"], &closed["data"]["code"]), (&json!("session:2"), &json!("forbidden")));
    eventually("the end of the first token", async || server.get("/api/auth/me", &short).await.status == 401).await;
    server.publish(&server.admin(), notes("2", 1..=1)).await;
    server.publish(&server.admin(), notes("1", 7..=7)).await;
    assert_eq!(watcher.notes_to(7).await, [7]);
    assert_eq!(watcher.refused("subscribe", json!("session:2")).await, "forbidden");
}

/// Ends a user's login in one of the ways there are.
async fn end_login(server: &Server, way: &str, id: &str, own: &str) {
    let admin = server.admin();
    let answer = match way {
        "revoked" => server.post(&format!("/api/users/{id}/revoke"), &admin, json!({})).await,
        "disabled" => {
            server.call(Method::PATCH, &format!("/api/users/{id}"), &admin, Some(json!({"disabled": true}))).await
        }
        "deleted" => server.call(Method::DELETE, &format!("/api/users/{id}"), &admin, None).await,
        "logged out" => server.post("/api/auth/logout", own, json!({})).await,
        other => panic!("{other}"),
    };
    assert!((200..300).contains(&answer.status), "{way}: {}", answer.text());
}

#[tokio::test]
async fn whoever_is_revoked_disabled_deleted_or_logged_out_is_disconnected_for_good() {
    let server = Server::start("");
    let admin = server.admin();
    let mut bystander = Watcher::connect(&server, &admin).await;
    for (number, way) in ["revoked", "disabled", "deleted", "logged out"].into_iter().enumerate() {
        let (id, login) = user(&server, &admin, &format!("user{number}")).await;
        let token = token_of(&login);
        let mut connection = raw(&server.endpoint(), token).await;
        end_login(&server, way, &id, token).await;
        let mut texts = Vec::new();
        while let Some(text) = frame(&mut connection).await {
            texts.push(text);
        }
        let [.., told, last] = texts.as_slice() else { panic!("{way}: {texts:?}") };
        assert_eq!(last, "41", "{way}: {texts:?}");
        let Said::Message(told) = said(told) else { panic!("{way}: {told}") };
        assert_eq!((&told["type"], &told["data"]["retry"]), (&json!("connection.closed"), &json!(false)), "{way}");
        assert_eq!(server.get("/api/auth/me", token).await.status, 401, "{way}");
        assert!(matches!(
            tidings_client::Client::connect(&server.url(), tidings_client::token(token)).await.map(drop),
            Err(ConnectError::Refused { message, .. }) if message == "Authentication error"
        ));
        let body = json!({"refreshToken": login["refreshToken"]});
        let again = http::post_json(&server.url(), "/api/auth/refresh", None, &body).await.expect("an answer");
        assert_eq!(again.status, 401, "{way}: {}", again.text());
    }
    bystander.done("subscribe", json!("session:1")).await;
    server.publish(&admin, notes("1", 1..=1)).await;
    assert_eq!(bystander.notes_to(1).await, [1]);
}

#[tokio::test]
async fn logging_out_with_a_token_of_the_command_line_ends_it_and_its_connection() {
    let server = Server::start("");
    let token = server.token("script", &["--role", "viewer"]);
    let mut connection = raw(&server.endpoint(), &token).await;
    let answer = server.post("/api/auth/logout", &token, json!({})).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let mut last = String::new();
    while let Some(text) = frame(&mut connection).await {
        last = text;
    }
    assert_eq!(last, "41");
    let told = server.get("/api/auth/me", &token).await;
    assert_eq!((told.status, &told.json()["code"]), (401, &json!("token_revoked")));
}

#[tokio::test]
async fn a_disabled_user_loses_the_connection_also_when_the_command_line_says_so() {
    let server = Server::start("");
    let mut connections = Vec::new();
    for (name, command) in [("ada", ["user", "disable", "ada"]), ("bob", ["user", "passwd", "bob"])] {
        server.cli(&["user", "add", name, "--role", "viewer"], "a long enough password\n");
        let login = log_in(&server, name, "a long enough password").await;
        connections.push((Watcher::connect(&server, token_of(&login)).await, command));
    }
    for (mut watcher, command) in connections {
        server.cli(&command, "another long password\n");
        let closed = last_words(&mut watcher).await;
        assert_eq!((&closed["code"], &closed["retry"]), (&json!("token_revoked"), &json!(false)), "{command:?}");
        assert_eq!(watcher.ended().await, Lost::Disconnected, "{command:?}");
    }
    let list = server.cli(&["user", "list"], "");
    assert!(list.contains(" ada viewer disabled ") && list.contains(" bob viewer active "), "{list}");
    log_in(&server, "bob", "another long password").await;
}

#[tokio::test]
async fn a_deleted_channel_ends_its_subscriptions_and_its_numbers_go_on() {
    let server = Server::start("");
    let admin = server.admin();
    let mut watcher = Watcher::connect(&server, &admin).await;
    server.publish(&admin, notes("gone", 1..=3)).await;
    watcher.done("subscribe", json!(["session:gone", "session:stays"])).await;
    let deleted = server.call(Method::DELETE, "/api/channels/session:gone", &admin, None).await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(watcher.of_type("channel.closed").await["data"]["channel"], "session:gone");
    assert_eq!(server.publish(&admin, notes("gone", 4..=4)).await[0]["seq"], 4);
    server.publish(&admin, notes("stays", 5..=5)).await;
    assert_eq!(watcher.notes_to(5).await, [5]);
    let kept = server.get("/api/channels/session:gone/events", &admin).await.json();
    assert_eq!((kept["events"].as_array().map(Vec::len), &kept["head"]), (Some(1), &json!(4)), "{kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_takes_nothing_new_says_so_and_ends_in_time() {
    let mut server = Server::start("drain_ms = 3000\n");
    let admin = server.admin();
    let mut watchers = Vec::new();
    for _ in 0..6 {
        watchers.push(Watcher::connect(&server, &admin).await);
    }
    server.terminate();
    let mut last = watchers.pop().expect("six");
    last.of_type("server.draining").await;
    // The connections are closed one after the other: so long there is a server to be asked.
    assert_eq!(Raw::connect(&server.endpoint()).await.map(drop), Err(ConnectError::Status(503)));
    assert_eq!(Polling::open(&server.endpoint()).await.map(drop), Err(ConnectError::Status(503)));
    let ready = server.get("/health/ready", "").await;
    assert_eq!((ready.status, ready.json()["code"].as_str()), (503, Some("draining")));
    assert_eq!(server.get("/health/live", "").await.status, 200);
    let refused = server.post("/api/events", &admin, notes("1", 1..=1)).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("draining")));
    let answer = last.client.emit_with_ack("session.list", json!({})).await;
    assert!(
        answer.is_err() || answer.is_ok_and(|answer| answer["ok"] == true || answer["error"]["code"] == "draining")
    );
    for watcher in watchers.iter_mut().chain([&mut last]) {
        assert_eq!(last_words(watcher).await["code"], "draining");
        assert_eq!(watcher.ended().await, Lost::Gone);
    }
    tokio::task::block_in_place(|| server.has_stopped());
    assert!(!server.said().contains("did not end"), "{}", server.said());
}

#[tokio::test]
async fn each_refusal_and_each_end_of_a_connection_is_counted_once_under_its_code() {
    let server = Server::start("socket.max_connections = 2\n");
    let admin = server.admin();
    let refused = async |auth: Value| {
        let connected = Client::connect(&server.url(), Arc::new(move || Ok(auth.clone()))).await;
        connected.map(drop).expect_err("refused")
    };
    let wrong = [json!({"token": "nobody's"}), json!({"something": "else"}), json!({"token": admin, "protocol": 99})];
    for (count, auth) in (1u8..).zip(wrong) {
        assert!(matches!(refused(auth).await, ConnectError::Refused { .. }));
        // Until its stream has ended it has one of the two places.
        let ended = async || server.metric("tidings_handshakes_unfinished_total").await == f64::from(count);
        eventually("its end", ended).await;
    }
    let first = Watcher::connect(&server, &admin).await;
    first.refused("subscribe", json!("no channel")).await;
    let short = server.token("ada", &["--role", "viewer", "--ttl", "4s"]);
    let mut second = Watcher::connect(&server, &short).await;
    assert!(matches!(refused(json!({"token": admin})).await, ConnectError::Status(503)));
    assert_eq!(last_words(&mut second).await["code"], "token_expired");
    drop(first);
    eventually("nobody left", async || server.metric("tidings_connections").await == 0.0).await;
    let expected = [
        ("tidings_connections_refused_total{code=\"unauthenticated\"}", 2.0),
        ("tidings_connections_refused_total{code=\"bad_request\"}", 1.0),
        ("tidings_handshakes_refused_total{reason=\"connections\"}", 1.0),
        ("tidings_refusals_total{code=\"invalid_channel\"}", 1.0),
        ("tidings_connections_ended_total{code=\"token_expired\"}", 1.0),
        ("tidings_connections_ended_total{code=\"left\"}", 1.0),
    ];
    for (metric, count) in expected {
        assert_eq!(server.metric(metric).await, count, "{metric}");
    }
    assert!(server.said().contains("a connection was ended"), "{}", server.said());
}
