//! The routes over the real gate and hub, with a log and an identity in memory.
//!
//! Guarantees: every test has a server of its own and ends what it started.
//! It is not a test of sockets: requests go into the router, not over a wire.

mod account;
mod around;
mod channels;
mod commands;
mod errors;
mod events;
mod identity;
mod limits;
mod operators;
mod tokens;
mod users;

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tidings_core::log::EventLog;
use tidings_core::{
    Channel, Code, Error, Event, Result, UserId,
    contract::EventRow,
    handler::{Handler, Retention, Route},
    principal::Membership,
    runtime::Memberships,
};
use tidings_engine::{
    bus::Bus,
    gate::{Gate, GateParts},
    hub::{Hub, HubConfig},
    registry::Registry,
    seats::SeatsConfig,
    sink::EngineSink,
    states::StateStore,
};
use tidings_testkit::{MemoryLog, TestClock, TestTasks};
use tower::ServiceExt;

use self::identity::MemoryIdentity;
use super::{Documents, HttpConfig, HttpState, Readiness, router};

/// A token of `root`, an administrator.
const ADMIN: &str = "admin-token";
/// A token of a viewer.
const VIEWER: &str = "viewer-token";
/// A token with the grant to publish on `build:*` and nothing else.
const PRODUCER: &str = "producer-token";
/// A token with no grant at all.
const NOBODY: &str = "nobody-token";

/// A domain for the tests: builds, by `buildId`.
struct Builds;

impl Handler for Builds {
    fn domain(&self) -> &'static str {
        "build"
    }
    fn namespaces(&self) -> &'static [&'static str] {
        &["build"]
    }
    fn events(&self) -> Vec<EventRow> {
        vec![EventRow::untyped("build.beat", false)]
    }
    fn route(&self, event: &Event) -> Result<Route> {
        assert_ne!(event.event_type.as_str(), "build.explode", "a handler with a fault");
        let data: Value = serde_json::from_str(event.payload.json()).map_err(|_| Error::internal())?;
        let id = data["buildId"].as_str().ok_or_else(|| Error::invalid_field("buildId", "is missing"))?;
        let home: Channel = format!("build:{id}").parse()?;
        Ok(Route::to(home))
    }
    fn channel(&self, id: &str) -> Option<Channel> {
        format!("build:{id}").parse().ok()
    }
    fn commands(&self) -> Vec<tidings_core::command::Command> {
        commands::rows()
    }
    fn retention(&self) -> Retention {
        Retention { messages: 0, bytes: 0, age_ms: 0 }
    }
}

struct NoProjects;

impl Memberships for NoProjects {
    fn membership(&self, _project: &str, _user: &UserId) -> Option<Membership> {
        None
    }
}

/// A server without sockets.
struct Server {
    router: Router,
    clock: Arc<TestClock>,
    tasks: Arc<TestTasks>,
    log: Arc<MemoryLog>,
    hub: Arc<Hub>,
    identity: Arc<MemoryIdentity>,
    readiness: Arc<Readiness>,
}

impl Server {
    fn start() -> Self {
        Self::with(HttpConfig::default())
    }

    fn with(config: HttpConfig) -> Self {
        let (clock, tasks) = (TestClock::new(), TestTasks::new());
        let registry = Arc::new(Registry::new(vec![Arc::new(Builds)]).expect("one handler"));
        let log = MemoryLog::new(clock.clone());
        let states = StateStore::new(registry.clone(), log.clone(), &*tasks);
        let hub = Hub::new(HubConfig::default(), log.clone(), states.clone(), clock.clone(), tasks.clone());
        let bus = Arc::new(Bus::new(registry.clone(), log.clone(), tasks.clone(), false));
        log.attach(Arc::new(EngineSink { hub: hub.clone(), bus: bus.clone(), states }));
        let gate = Gate::new(GateParts {
            registry,
            bus,
            log: log.clone(),
            memberships: Arc::new(NoProjects),
            tasks: tasks.clone(),
            clock: clock.clone(),
            max_message_bytes: 1024,
            commands: SeatsConfig { user: 4, total: 0 },
        });
        let (identity, readiness) = (MemoryIdentity::new(), Arc::new(Readiness::new()));
        let state = HttpState {
            gate,
            hub: hub.clone(),
            identity: identity.clone(),
            clock: clock.clone(),
            metrics_render: Arc::new(|| "tidings_up 1\n".to_owned()),
            readiness: readiness.clone(),
            documents: Arc::new(Documents {
                openapi: r#"{"openapi":1}"#.to_owned().into(),
                asyncapi: r#"{"asyncapi":1}"#.to_owned().into(),
            }),
            config,
        };
        let router = router(state).expect("a router");
        Self { router, clock, tasks, log, hub, identity, readiness }
    }

    /// Sends a request and reads its answer.
    async fn send(&self, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
        let response = self.router.clone().oneshot(request).await.expect("a router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.into()).expect("UTF-8") }
    }

    /// Sends a request with a token and without a body.
    async fn ask(&self, method: &str, path: &str, token: &str) -> Answer {
        self.send(request(method, path, token).body(Body::empty()).expect("a request")).await
    }

    /// Sends a request with a token and a JSON text.
    async fn tell(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let request = request(method, path, token).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    async fn stop(self) {
        self.tasks.stop().await;
    }
}

/// A request under way; an empty token leaves the header out.
fn request(method: &str, path: &str, token: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    if token.is_empty() { request } else { request.header(header::AUTHORIZATION, format!("Bearer {token}")) }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// The JSON of a success.
    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// The code of a refusal, whose form is held against the standard and the table of codes.
    #[track_caller]
    fn code(&self) -> String {
        assert!(!self.status.is_success(), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_str(&self.text).expect("JSON");
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"].as_str(), self.status.canonical_reason());
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["detail"], problem["message"]);
        assert!(problem["retryable"].is_boolean());
        let code: Code = serde_json::from_value(problem["code"].clone()).expect("a code");
        let of_http = matches!(self.status.as_u16(), 405 | 408 | 415) && code == Code::BadRequest;
        assert!(of_http || code.http_status() == self.status.as_u16(), "{self:?}");
        code.as_str().to_owned()
    }

    /// The names of the refused fields.
    #[track_caller]
    fn fields(&self) -> Vec<String> {
        let problem: Value = serde_json::from_str(&self.text).expect("JSON");
        problem["fields"].as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}
