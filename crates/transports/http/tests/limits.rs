//! How often and how much at once somebody may ask, and that others do not pay for it.
//!
//! Guarantees: the clock stands still unless a test moves it.

use std::{
    convert::Infallible,
    sync::{Arc, Barrier, mpsc},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header;
use tidings_core::{
    BoxFuture, Principal,
    outlet::{Ending, Offered, Outlet, Said},
    parcel::Parcel,
    rate::Rate,
};
use tidings_engine::seats::SeatsConfig;
use tidings_testkit::PATIENCE;

use super::{ADMIN, PRODUCER, Server, VIEWER, request};
use crate::http::HttpConfig;

const EVENT: &str = r#"{"type":"build.done","data":{"buildId":"7"}}"#;

fn limited(per_second: u32, burst: u32) -> Server {
    Server::with(HttpConfig { rate: Rate::per_second(per_second, burst), ..HttpConfig::default() })
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back_and_others_are_not() {
    let server = limited(10, 3);
    for _ in 0..3 {
        assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.status, 200);
    }
    for path in ["/api/auth/me", "/api/channels", "/api/nowhere", "/openapi.json"] {
        let refused = server.ask("GET", path, ADMIN).await;
        assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("rate_limited", "1"), "{path}");
        assert!(refused.text.contains(r#""retryAfterMs":100"#), "{refused:?}");
    }
    assert_eq!(server.ask("GET", "/api/auth/me", VIEWER).await.status, 200);
    assert_eq!(server.ask("GET", "/openapi.json", "").await.status, 200, "an address has a bucket of its own");
    server.clock.advance(Duration::from_millis(100));
    assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.status, 200);
    assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.code(), "rate_limited");
    server.stop().await;
}

#[tokio::test]
async fn without_a_good_token_it_is_the_address_that_counts_as_far_as_proxies_are_trusted() {
    let trusted = vec!["192.0.2.1".parse().expect("a network")];
    let config = HttpConfig { trusted_proxies: trusted, rate: Rate::per_second(1, 2), ..HttpConfig::default() };
    let server = Server::with(config);
    let from = async |address: &str, token: &str| {
        let asked = request("GET", "/api/auth/me", token).header("x-forwarded-for", address);
        server.send(asked.body(Body::empty()).expect("a request")).await.code()
    };
    assert_eq!(from("2001:db8::1", "").await, "unauthenticated");
    assert_eq!(from("2001:db8::2", "no-token").await, "unauthenticated");
    assert_eq!(from("2001:db8::3", "expired-token").await, "rate_limited", "one household");
    assert_eq!(from("2001:db8:0:1::1", "").await, "unauthenticated");
    assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn health_and_metrics_are_always_answered_and_what_is_published_does_not_count() {
    let server = limited(1, 1);
    assert_eq!(server.tell("POST", "/api/events", VIEWER, EVENT).await.code(), "forbidden");
    for _ in 0..50 {
        for path in ["/health/live", "/health/ready", "/metrics"] {
            assert_eq!(server.ask("GET", path, PRODUCER).await.status, 200, "{path}");
        }
        assert_eq!(server.tell("POST", "/api/events", PRODUCER, EVENT).await.status, 200);
    }
    // An unknown producer is one who asks without a token.
    assert_eq!(server.tell("POST", "/api/events", "no-token", EVENT).await.code(), "unauthenticated");
    assert_eq!(server.tell("POST", "/api/events", "no-token", EVENT).await.code(), "rate_limited");
    server.stop().await;
}

#[tokio::test]
async fn by_default_a_producer_posts_as_fast_as_it_can_and_zero_is_no_limit() {
    let server = Server::start();
    for _ in 0..6000 {
        assert_eq!(server.tell("POST", "/api/events", PRODUCER, EVENT).await.status, 200);
    }
    server.stop().await;
    let server = limited(0, 1);
    for _ in 0..100 {
        assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.status, 200);
    }
    server.stop().await;
}

/// A request whose body does not come.
async fn endless(server: &Server, token: &str, length: &str) {
    let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let asked = request("POST", "/api/events", token).header(header::CONTENT_LENGTH, length);
    let answer = server.send(asked.body(body).expect("a request")).await;
    panic!("it was answered: {answer:?}");
}

#[tokio::test]
async fn so_many_requests_of_one_user_are_under_way_and_so_many_in_all() {
    let config = HttpConfig { requests: SeatsConfig { user: 2, total: 3 }, ..HttpConfig::default() };
    let server = Server::with(config);
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(endless(&server, PRODUCER, "10"))).collect();
    assert!(waiting.iter_mut().all(|request| request.now_or_never().is_none()));
    let refused = server.tell("POST", "/api/events", PRODUCER, EVENT).await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("rate_limited", "1"));
    assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.status, 200, "others are served");
    let mut last = Box::pin(endless(&server, VIEWER, "10"));
    assert!((&mut last).now_or_never().is_none());
    assert_eq!(server.ask("GET", "/api/auth/me", ADMIN).await.code(), "overloaded");
    assert_eq!(server.ask("GET", "/health/live", "").await.status, 200);
    waiting.pop();
    assert_eq!(server.tell("POST", "/api/events", PRODUCER, EVENT).await.status, 200);
    drop((waiting, last));
    server.stop().await;
}

#[tokio::test]
async fn the_bytes_of_a_body_are_held_from_before_it_comes_until_the_answer() {
    let server = Server::start();
    let budget = server.hub.budget().clone();
    let mut slow = Box::pin(endless(&server, PRODUCER, "5000"));
    assert!((&mut slow).now_or_never().is_none());
    assert_eq!(budget.held(), 5000);
    drop(slow);
    assert_eq!(budget.held(), 0);
    assert_eq!(server.tell("POST", "/api/events", PRODUCER, EVENT).await.status, 200);
    assert_eq!((budget.held(), budget.users()), (0, 0));
    server.stop().await;
}

/// An outlet that stands still in the middle of a write.
#[derive(Debug)]
struct Stuck(Arc<Barrier>, parking_lot::Mutex<mpsc::Receiver<()>>);

impl Outlet for Stuck {
    fn say(&self, _: &[Said]) -> Offered {
        self.0.wait();
        self.1.lock().recv().expect("it goes on");
        Offered::All
    }
    fn deliver(&self, _: &Parcel) -> Offered {
        Offered::All
    }
    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    fn close(&self, _: &Ending) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_and_metrics_are_told_while_a_connection_is_written_to() {
    let server = Server::start();
    let (written, (go_on, wait)) = (Arc::new(Barrier::new(2)), mpsc::sync_channel(1));
    let outlet = Arc::new(Stuck(written.clone(), parking_lot::Mutex::new(wait)));
    let connection = server.hub.connect(Principal::server(), outlet);
    let request = tidings_engine::hub::SubscribeRequest::plain("build:7".parse().expect("a channel"));
    connection.subscribe(vec![Ok(request)], |_| None).await;
    let saying = tokio::task::spawn_blocking({
        let connection = connection.clone();
        move || connection.say(Said::notice("{}"))
    });
    tokio::task::spawn_blocking(move || written.wait()).await.expect("it writes");
    for path in ["/api/channels", "/api/channels/build:7", "/metrics"] {
        let answer = tokio::time::timeout(PATIENCE, server.ask("GET", path, ADMIN)).await;
        assert_eq!(answer.expect("it waits for nobody").status, 200, "{path}");
    }
    assert_eq!(server.hub.slow_connection_count(), 0);
    go_on.send(()).expect("it waits");
    saying.await.expect("it ends");
    connection.release();
    server.stop().await;
}

#[tokio::test]
async fn a_document_is_made_once_and_not_sent_to_whoever_has_it() {
    let server = Server::start();
    let first = server.ask("GET", "/openapi.json", "").await;
    let tag = first.header("etag").to_owned();
    assert!(first.json()["openapi"] == 1 && tag.len() == 18, "{first:?}");
    assert_ne!(server.ask("GET", "/asyncapi.json", "").await.header("etag"), tag);
    for (tags, status) in [(tag.as_str(), 304), (&format!("\"x\", W/{tag}"), 304), ("*", 304), ("\"x\"", 200)] {
        let asked = request("GET", "/openapi.json", "").header(header::IF_NONE_MATCH, tags);
        let answer = server.send(asked.body(Body::empty()).expect("a request")).await;
        assert_eq!((answer.status.as_u16(), answer.text.is_empty()), (status, status == 304), "{tags}");
    }
    server.stop().await;
}
