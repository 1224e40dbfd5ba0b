//! Health, metrics and draining.

use std::time::Duration;

use super::{ADMIN, NOBODY, PRODUCER, Server, VIEWER};
use crate::http::HttpConfig;

#[tokio::test]
async fn ready_means_that_a_probe_was_delivered_and_holds_two_seconds() {
    let server = Server::start();
    server.log.fail_next(1);
    assert_eq!(server.ask("GET", "/health/ready", "").await.code(), "unavailable");
    assert_eq!(server.ask("GET", "/health/ready", "").await.code(), "unavailable");
    assert_eq!(server.ask("GET", "/health/live", "").await.json()["status"], "live");
    server.clock.advance(Duration::from_secs(2));
    assert_eq!(server.ask("GET", "/health/ready", "").await.json()["status"], "ready");
    server.log.fail_next(1);
    assert_eq!(server.ask("GET", "/health/ready", "").await.json()["status"], "ready");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_stopping_takes_no_new_work_and_still_answers_reads() {
    let server = Server::start();
    server.readiness.set_draining();
    let event = r#"{"type":"build.done","data":{"buildId":"7"}}"#;
    let refused = server.tell("POST", "/api/events", PRODUCER, event).await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("draining", "1"));
    assert_eq!(server.ask("GET", "/health/ready", "").await.code(), "draining");
    assert_eq!(server.ask("GET", "/health/live", "").await.status.as_u16(), 200);
    server.ask("GET", "/api/auth/me", ADMIN).await.json();
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_public_unless_the_configuration_says_otherwise() {
    let server = Server::start();
    let answer = server.ask("GET", "/metrics", "").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "tidings_up 1\n"));
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    server.stop().await;

    let server = Server::with(HttpConfig { metrics_public: false, ..HttpConfig::default() });
    assert_eq!(server.ask("GET", "/metrics", "").await.code(), "unauthenticated");
    assert_eq!(server.ask("GET", "/metrics", NOBODY).await.code(), "forbidden");
    assert_eq!(server.ask("GET", "/metrics", VIEWER).await.status.as_u16(), 200);
    server.stop().await;
}
