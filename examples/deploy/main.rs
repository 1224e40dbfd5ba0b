//! A domain of its own, in Rust: `cargo run --example deploy` deploys, and prints what became of it.
//!
//! In a server, `handler.rs` stands in `handlers/`, `service.rs` in `crates/services/deploy/`: see
//! docs/ADDING_A_DOMAIN.md. Here they are wired to a log in a temporary directory.
//!
//! Guarantees: it is run as a test, so that what the page says is true.
//! It is not a server: nothing listens.
#![expect(unreachable_pub, reason = "in a server these files stand in crates, and their items are for others")]

mod handler;
mod service;

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_core::{
    Code, Principal, UserId,
    command::Answer,
    contract::Source,
    log::EventLog,
    runtime::{Clock, Memberships, Tasks},
};
use tidings_engine::{
    bus::Bus,
    gate::{Gate, GateParts, NewEvent},
    hub::{Hub, HubConfig},
    log::{LogConfig, SqliteLog},
    registry::Registry,
    seats::SeatsConfig,
    sink::EngineSink,
    states::StateStore,
};
use tidings_testkit::{TestClock, TestTasks};

use self::{handler::DeployHandler, service::Deploys};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for people")]
async fn main() {
    println!("{:#}", deployed().await);
}

/// Nobody is a member of anything here.
struct Nobody;

impl Memberships for Nobody {
    fn membership(&self, _: &str, _: &UserId) -> Option<tidings_core::principal::Membership> {
        None
    }
}

/// Deploys, as an administrator would over the wire: the state of the deployment.
///
/// # Panics
/// If anything is not as docs/ADDING_A_DOMAIN.md says.
pub async fn deployed() -> Value {
    let directory = tempfile::tempdir().expect("a directory");
    let (clock, tasks): (Arc<dyn Clock>, Arc<dyn Tasks>) = (TestClock::new(), TestTasks::new());
    let log = SqliteLog::open(LogConfig::new(directory.path()), clock.clone()).expect("a log");
    let registry = Arc::new(Registry::default());
    let states = StateStore::new(registry.clone(), log.clone(), &*tasks);
    let bus = Arc::new(Bus::new(registry.clone(), log.clone(), tasks.clone(), false));
    let hub = Hub::new(HubConfig::default(), log.clone(), states.clone(), clock.clone(), tasks.clone());
    log.attach(Arc::new(EngineSink { hub, bus: bus.clone(), states: states.clone() }));

    // The lines that a service costs: it is made of its ports, and its handler gets it.
    let deploys = Arc::new(Deploys { bus: bus.clone(), states });
    handler::routes_by_the_id_in_the_data(&DeployHandler(deploys.clone()));
    registry.bind(vec![Arc::new(DeployHandler(deploys))]).expect("one owner of each");
    log.keep(registry.rules());

    let gate = Gate::new(GateParts {
        registry: registry.clone(),
        bus,
        log: log.clone() as Arc<dyn EventLog>,
        memberships: Arc::new(Nobody),
        tasks,
        clock,
        max_message_bytes: 256 * 1024,
        commands: SeatsConfig::default(),
    });
    let admin = Principal::server();
    let started = run(&gate, &admin, "deploy.start", json!({"target": "production"})).await;
    let id = &started["deployId"];
    refuses_what_is_not_of_its_type(&gate, &admin).await;
    assert_eq!(registry.source(&"deploy.started".parse().expect("a type")), Some(Source::Service));
    run(&gate, &admin, "deploy.get", json!({"deployId": id})).await
}

/// An answer, as JSON.
async fn run(gate: &Arc<Gate>, who: &Principal, name: &str, input: Value) -> Value {
    let command = gate.command(name).expect("a row").clone();
    match gate.run_json(who, &command, &input.to_string(), None).await.expect("an answer") {
        Answer::Json(json) => serde_json::from_str(json.get()).expect("JSON"),
        Answer::Text(text) => text.into(),
        Answer::Repeated => panic!("it has no commandId"),
    }
}

/// What comes from outside is held against its type.
async fn refuses_what_is_not_of_its_type(gate: &Gate, who: &Principal) {
    for (event_type, data, field) in [
        ("deploy.started", r#"{"deployId":"d1","target":""}"#, "data.target"),
        ("deploy.progressed", r#"{"deployId":"d1","done":2}"#, "data.done"),
        ("deploy.noted", "{}", "data.deployId"),
    ] {
        let data = tidings_core::Payload::raw(serde_json::from_str(data).expect("JSON"));
        let event = NewEvent { event_type: event_type.parse().expect("a type"), channel: None, id: None, data };
        let error = gate.publish(who, vec![event]).await.expect_err("refused");
        assert_eq!(error.code(), Code::InvalidData, "{event_type}");
        assert!(error.fields().contains_key(field), "{event_type}: {error}");
    }
}
