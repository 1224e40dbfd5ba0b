//! Logins over HTTP.

use axum::body::Body;
use serde_json::json;

use super::{ADMIN, NOBODY, Server, request};
use crate::http::HttpConfig;

const LOGIN: &str = r#"{"username":"root","password":"correct horse battery"}"#;

#[tokio::test]
async fn a_login_gives_tokens_that_work_and_are_stored_nowhere() {
    let server = Server::start();
    let answer = server.tell("POST", "/api/auth/login", "", LOGIN).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let login = answer.json();
    assert_eq!(login["tokenType"], "Bearer");
    assert_eq!(login["user"], json!({"id":"u-root","username":"root","roles":["admin"]}));
    assert_eq!(login["expiresAt"], "2026-11-20T21:00:00.000Z");
    let me = server.ask("GET", "/api/auth/me", login["token"].as_str().expect("a token")).await.json();
    assert_eq!(me["user"]["username"], "root");
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let server = Server::start();
    let wrong = server.tell("POST", "/api/auth/login", "", r#"{"username":"root","password":"x"}"#).await;
    let unknown = server.tell("POST", "/api/auth/login", "", r#"{"username":"toor","password":"x"}"#).await;
    assert_eq!((wrong.code(), wrong.text), (unknown.code(), unknown.text));
    assert_eq!(wrong.headers["www-authenticate"], "Bearer");
    assert_eq!(wrong.headers["cache-control"], "no-store");
    server.stop().await;
}

#[tokio::test]
async fn too_many_logins_are_told_when_to_come_back() {
    let server = Server::start();
    let answer = server.tell("POST", "/api/auth/login", "", r#"{"username":"flood","password":"x"}"#).await;
    assert_eq!(answer.code(), "rate_limited");
    assert_eq!(answer.header("retry-after"), "2");
    server.stop().await;
}

#[tokio::test]
async fn the_address_of_a_login_comes_from_trusted_proxies_only() {
    let forwarded = || {
        let login = request("POST", "/api/auth/login", "").header("x-forwarded-for", "203.0.113.9, 198.51.100.7");
        login.body(Body::from(LOGIN)).expect("a request")
    };
    let server = Server::start();
    server.send(forwarded()).await.json();
    assert_eq!(server.identity.addresses()[0].to_string(), "192.0.2.1");
    server.stop().await;

    let trusted_proxies = vec!["192.0.2.0/24".parse().expect("a network")];
    let server = Server::with(HttpConfig { trusted_proxies, ..HttpConfig::default() });
    server.send(forwarded()).await.json();
    assert_eq!(server.identity.addresses()[0].to_string(), "198.51.100.7");
    server.stop().await;
}

#[tokio::test]
async fn a_login_says_what_the_client_calls_itself() {
    let server = Server::start();
    let login = request("POST", "/api/auth/login", "").header("user-agent", "A Browser/1.0");
    server.send(login.body(Body::from(LOGIN)).expect("a request")).await.json();
    server.tell("POST", "/api/auth/login", "", LOGIN).await.json();
    assert_eq!(server.identity.agents(), ["A Browser/1.0", ""]);
    server.stop().await;
}

#[tokio::test]
async fn the_own_logins_are_listed_and_ended_one_by_one() {
    let server = Server::start();
    let logins = server.ask("GET", "/api/auth/logins", ADMIN).await.json();
    let expected = json!({"logins": [
        {"id": "u-root", "current": true, "expiresAt": "2026-11-20T21:00:00.000Z", "agent": "a browser"},
    ]});
    assert_eq!(logins, expected);
    assert_eq!(server.ask("DELETE", "/api/auth/logins/u-nobody", ADMIN).await.code(), "not_found");
    let ended = server.ask("DELETE", "/api/auth/logins/u-root", ADMIN).await;
    assert_eq!((ended.status.as_u16(), ended.text.as_str()), (204, ""));
    for (method, path) in [("GET", "/api/auth/logins"), ("DELETE", "/api/auth/logins/u-root")] {
        assert_eq!(server.ask(method, path, ADMIN).await.code(), "token_revoked");
        assert_eq!(server.ask(method, path, "").await.code(), "unauthenticated");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_own_password_is_changed_by_whoever_knows_it() {
    let server = Server::start();
    let body = |current: &str| json!({"current": current, "password": "another long password"}).to_string();
    let wrong = server.tell("POST", "/api/auth/password", ADMIN, &body("wrong")).await;
    assert_eq!(wrong.code(), "invalid_data");
    assert!(wrong.text.contains("current") && !wrong.text.contains("another"), "{}", wrong.text);
    for bad in ["{}", r#"{"current":"x"}"#, r#"{"current":"x","password":"y","more":1}"#] {
        assert_ne!(server.tell("POST", "/api/auth/password", ADMIN, bad).await.status.as_u16(), 204, "{bad}");
    }
    let right = body("correct horse battery");
    assert_eq!(server.tell("POST", "/api/auth/password", "", &right).await.code(), "unauthenticated");
    assert_eq!(server.tell("POST", "/api/auth/password", ADMIN, &right).await.status.as_u16(), 204);
    assert_eq!(server.tell("POST", "/api/auth/login", "", LOGIN).await.code(), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn a_refresh_token_is_passed_on_and_works_once() {
    let server = Server::start();
    let login = server.tell("POST", "/api/auth/login", "", LOGIN).await.json();
    let body = json!({"refreshToken": login["refreshToken"]}).to_string();
    let next = server.tell("POST", "/api/auth/refresh", "", &body).await.json();
    assert_ne!(next["token"], login["token"]);
    assert_eq!(server.tell("POST", "/api/auth/refresh", "", &body).await.code(), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn a_logout_ends_the_login() {
    let server = Server::start();
    let answer = server.ask("POST", "/api/auth/logout", ADMIN).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    let refused = server.ask("GET", "/api/auth/me", ADMIN).await;
    assert_eq!(refused.code(), "token_revoked");
    assert_eq!(refused.header("www-authenticate"), r#"Bearer error="invalid_token""#);
    server.stop().await;
}

#[tokio::test]
async fn me_tells_roles_grants_and_end_also_for_a_token_minted_elsewhere() {
    let server = Server::start();
    let me = server.ask("GET", "/api/auth/me", ADMIN).await.json();
    assert_eq!(me["roles"], json!(["admin"]));
    assert_eq!(me["grants"], json!(["*=subscribe,publish,ingest,command,execute"]));
    assert_eq!(me["expiresAt"], "2026-11-20T21:00:00.000Z");
    let me = server.ask("GET", "/api/auth/me", NOBODY).await.json();
    assert_eq!(me["user"], json!({"id":"u-nobody","roles":[]}));
    assert_eq!(me["grants"], json!([]));
    server.stop().await;
}
