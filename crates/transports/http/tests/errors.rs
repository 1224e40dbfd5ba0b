//! Every bad request has its code, in the one form.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::header;

use super::{ADMIN, Server, request};
use crate::{body::TooSlow, http::HttpConfig};

#[tokio::test]
async fn each_bad_request_has_its_code() {
    let server = Server::start();
    let table = [
        ("GET", "/nowhere", "", 404, "not_found"),
        ("GET", "/api/nothing", "", 404, "not_found"),
        ("GET", "/api/events/", "", 404, "not_found"),
        ("PUT", "/api/events", "", 405, "bad_request"),
        ("GET", "/api/events", "", 405, "bad_request"),
        ("POST", "/health/live", "", 405, "bad_request"),
        ("POST", "/api/events", "", 400, "bad_request"),
        ("POST", "/api/events", "{", 400, "bad_request"),
        ("POST", "/api/events", "\"text\"", 400, "bad_request"),
        ("POST", "/api/events", r#"{"type":"build:done","data":{}}"#, 400, "invalid_event"),
        ("POST", "/api/events", r#"{"type":"build.done","data":{},"channel":"build.7"}"#, 400, "invalid_channel"),
        ("POST", "/api/events", r#"{"type":"server.hello","data":{}}"#, 400, "invalid_event"),
        ("POST", "/api/auth/login", "[]", 400, "bad_request"),
        ("POST", "/api/auth/login", r#"{"username":"root"}"#, 422, "invalid_data"),
        ("POST", "/api/auth/login", r#"{"username":"root","password":7}"#, 422, "invalid_data"),
        ("POST", "/api/auth/login", r#"{"username":"root","password":"x","otp":"1"}"#, 422, "invalid_data"),
        ("POST", "/api/auth/refresh", r#"{"refresh_token":"x"}"#, 422, "invalid_data"),
        ("POST", "/api/users", r#"{"username":"a","password":"short"}"#, 422, "invalid_data"),
        (
            "POST",
            "/api/users",
            r#"{"username":"a","password":"a long enough one","roles":["king"]}"#,
            422,
            "invalid_data",
        ),
        ("POST", "/api/users", r#"{"username":"root","password":"a long enough one"}"#, 409, "conflict"),
        ("GET", "/api/users?limit=0", "", 422, "invalid_data"),
        ("GET", "/api/users/a:b", "", 404, "not_found"),
        ("GET", "/api/users/%ff", "", 400, "bad_request"),
        ("GET", "/api/channels?cursor=x", "", 400, "invalid_channel"),
    ];
    for (method, path, body, status, code) in table {
        let answer = server.tell(method, path, ADMIN, body).await;
        assert_eq!((answer.code().as_str(), answer.status.as_u16()), (code, status), "{method} {path} {body}");
        assert!(!answer.header("x-request-id").is_empty());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_token_counts_in_the_header_only_and_alone() {
    let server = Server::start();
    let get = |path: &str| request("GET", path, "");
    let empty = |request: http::request::Builder| request.body(Body::empty()).expect("a request");
    let cases = [
        (get("/api/auth/me"), "unauthenticated"),
        (get(&format!("/api/auth/me?token={ADMIN}")), "unauthenticated"),
        (get(&format!("/api/auth/me?access_token={ADMIN}")), "unauthenticated"),
        (get("/api/auth/me").header("cookie", format!("token={ADMIN}")), "unauthenticated"),
        (get("/api/auth/me").header("authorization", ADMIN), "unauthenticated"),
        (get("/api/auth/me").header("authorization", format!("Basic {ADMIN}")), "unauthenticated"),
        (get("/api/auth/me").header("authorization", "Bearer "), "unauthenticated"),
        (
            get("/api/auth/me").header("authorization", "Bearer x").header("authorization", "Bearer y"),
            "unauthenticated",
        ),
        (get("/api/auth/me").header("authorization", "Bearer expired-token"), "token_expired"),
        (get("/api/auth/me").header("authorization", "Bearer revoked-token"), "token_revoked"),
    ];
    for (asked, code) in cases {
        let answer = server.send(empty(asked)).await;
        assert_eq!(answer.code(), code);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        assert!(!answer.text.contains(ADMIN));
    }
    let lower = get("/api/auth/me").header("authorization", format!("bearer {ADMIN}"));
    server.send(empty(lower)).await.json();
    server.stop().await;
}

#[tokio::test]
async fn a_body_has_a_limit_whether_its_length_is_told_or_not() {
    let server = Server::with(HttpConfig { body_limit: 64, ..HttpConfig::default() });
    let long = "x".repeat(65);
    let told = server.tell("POST", "/api/auth/login", "", &long).await;
    assert_eq!((told.code().as_str(), told.header("connection")), ("too_large", "close"));
    let parts = [Ok::<_, Infallible>(Bytes::from(long)), Ok(Bytes::from("y"))];
    let streamed = Body::from_stream(futures_util::stream::iter(parts));
    let request = request("POST", "/api/auth/login", "").body(streamed).expect("a request");
    assert_eq!(server.send(request).await.code(), "too_large");
    let fits = format!("{:<64}", r#"{"username":"root","password":"x"}"#);
    assert_eq!(server.tell("POST", "/api/auth/login", "", &fits).await.code(), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_took_too_long_and_one_that_broke_off_have_answers_of_their_own() {
    let server = Server::start();
    let broken: Box<dyn std::error::Error + Send + Sync> = "gone".into();
    for (failure, status) in [(TooSlow.into(), 408), (broken, 400)] {
        let parts = [Ok(Bytes::from_static(b"{")), Err(failure)];
        let body = Body::from_stream(futures_util::stream::iter(parts));
        let answer = server.send(request("POST", "/api/auth/login", "").body(body).expect("a request")).await;
        assert_eq!((answer.code().as_str(), answer.status.as_u16()), ("bad_request", status));
        assert_eq!(answer.header("connection"), "close");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_is_json_in_utf_8() {
    let server = Server::start();
    let login = |content_type: &str, body: &'static [u8]| {
        let request = request("POST", "/api/auth/login", "").header(header::CONTENT_TYPE, content_type);
        request.body(Body::from(body)).expect("a request")
    };
    let good = br#"{"username":"root","password":"correct horse battery"}"#;
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        server.send(login(content_type, good)).await.json();
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let answer = server.send(login(content_type, good)).await;
        assert_eq!((answer.code().as_str(), answer.status.as_u16()), ("bad_request", 415), "{content_type}");
    }
    assert_eq!(server.send(login("application/json", b"{\"username\":\"\xff\"}")).await.code(), "bad_request");
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_an_internal_error_with_an_id_and_the_server_goes_on() {
    let server = Server::start();
    let answer = server.tell("POST", "/api/events", ADMIN, r#"{"type":"build.explode","data":{}}"#).await;
    assert_eq!(answer.code(), "internal");
    assert!(!answer.text.contains("fault\"") && !answer.text.contains("handler"), "{}", answer.text);
    server.ask("GET", "/api/auth/me", ADMIN).await.json();
    server.stop().await;
}
