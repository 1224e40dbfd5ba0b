//! What is around every route: request ids, methods, CORS, counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use axum::body::Body;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use super::{ADMIN, Answer, Server, request};
use crate::http::HttpConfig;

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let server = Server::start();
    for (given, kept) in [("abc-1_Z", true), ("a b", false), ("a\"b", false), (&"x".repeat(65), false)] {
        let asked = request("GET", "/health/live", "").header("x-request-id", given);
        let answer = server.send(asked.body(Body::empty()).expect("a request")).await;
        let told = answer.header("x-request-id");
        assert_eq!(told == given, kept, "{given}");
        assert!(!told.is_empty());
    }
    let (one, other) = (server.ask("GET", "/", "").await, server.ask("GET", "/", "").await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    server.stop().await;
}

#[tokio::test]
async fn head_has_no_body_and_options_names_the_methods() {
    let server = Server::start();
    let head = server.ask("HEAD", "/health/live", "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    let options = server.ask("OPTIONS", "/api/users", "").await;
    assert_eq!(options.status.as_u16(), 204);
    for method in ["GET", "HEAD", "POST"] {
        assert!(options.header("allow").contains(method), "{options:?}");
    }
    let wrong = server.ask("DELETE", "/api/users", ADMIN).await;
    assert_eq!((wrong.code().as_str(), wrong.header("allow")), ("bad_request", options.header("allow")));
    server.stop().await;
}

async fn from_origin(server: &Server, method: &str, path: &str, origin: &str) -> Answer {
    let mut asked = request(method, path, "").header("origin", origin);
    if method == "OPTIONS" {
        asked = asked.header("access-control-request-method", "POST");
        asked = asked.header("access-control-request-headers", "authorization,content-type");
    }
    server.send(asked.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn only_configured_origins_are_allowed_and_only_named_ones_with_credentials() {
    const OWN: &str = "https://app.example.com";
    let allowed = "access-control-allow-origin";
    let server = Server::start();
    assert_eq!(from_origin(&server, "GET", "/health/live", OWN).await.header(allowed), "");
    server.stop().await;

    let server = Server::with(HttpConfig { cors_origins: vec![OWN.to_owned()], ..HttpConfig::default() });
    assert_eq!(from_origin(&server, "GET", "/health/live", OWN).await.header(allowed), OWN);
    assert_eq!(from_origin(&server, "GET", "/health/live", "https://evil.example").await.header(allowed), "");
    let refused = from_origin(&server, "POST", "/api/events", OWN).await;
    assert_eq!((refused.code().as_str(), refused.header(allowed)), ("unauthenticated", OWN));
    let preflight = from_origin(&server, "OPTIONS", "/api/events", OWN).await;
    assert!(preflight.status.is_success());
    assert!(preflight.header("access-control-allow-methods").contains("PATCH"));
    assert!(preflight.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(preflight.header("access-control-allow-credentials"), "true");
    server.stop().await;

    let server = Server::with(HttpConfig { cors_origins: vec!["*".to_owned()], ..HttpConfig::default() });
    let answer = from_origin(&server, "GET", "/health/live", OWN).await;
    assert_eq!((answer.header(allowed), answer.header("access-control-allow-credentials")), ("*", ""));
    server.stop().await;
}

/// A recorder that keeps counters only.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn read(&self) -> BTreeMap<String, u64> {
        self.0.lock().iter().map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst))).collect()
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Counter::from_arc(self.0.lock().entry(name).or_default().clone())
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_refusals_by_code() {
    let counters = Counters::default();
    let _recording = metrics::set_default_local_recorder(&counters);
    let server = Server::start();
    for path in ["/api/users/u-root", "/api/users/u-nobody", "/api/users/u-nobody", "/nowhere/at/all"] {
        server.ask("GET", path, ADMIN).await;
    }
    let counted = counters.read();
    let count = |name: &str| counted.get(name).copied().unwrap_or_default();
    assert_eq!(count("tidings_http_requests_total{route=/api/users/{id},status=200}"), 1);
    assert_eq!(count("tidings_http_requests_total{route=/api/users/{id},status=404}"), 2);
    assert_eq!(count("tidings_http_requests_total{route=none,status=404}"), 1);
    assert_eq!(count("tidings_refusals_total{code=not_found}"), 3);
    server.stop().await;
}
