//! A hub over a log in memory, with a domain of its own.
//!
//! Guarantees: everything that a test starts ends with [`World::stop`].
//! It is not a mock: hub, states, bus and registry are the real ones.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};
use tidings_core::{
    Channel, Event, Message, Principal, Result,
    contract::EventRow,
    handler::{Handler, Retention, Route},
    log::{EventLog, Publication},
    outlet::Said,
    projection::{Draft, Fold, Projection, Reducer},
};
use tidings_testkit::{MemoryConfig, MemoryLog, RecordingOutlet, Taken, TestClock, TestTasks};

use super::super::*;
use crate::{bus::Bus, registry::Registry, sink::EngineSink};

/// The sum of all `n` seen: a state that shows any hole or double.
struct Sum;

impl Reducer for Sum {
    type State = (u64, u64);
    const VERSION: u32 = 1;
    fn apply(state: &mut (u64, u64), message: &Message) {
        assert_ne!(message.event_type.as_str(), "count.rotten", "of the test");
        let data: Value = serde_json::from_str(message.payload.json()).expect("JSON");
        *state = (state.0 + 1, state.1 + data["n"].as_u64().unwrap_or_default());
    }
    fn draft() -> Option<Box<dyn Draft>> {
        Some(Box::<Words>::default())
    }
    fn show(state: &mut (u64, u64), draft: &dyn Draft) {
        let words = draft.as_any().downcast_ref::<Words>().expect("its own");
        state.1 = words.0.iter().sum();
    }
}

/// The numbers of ephemeral `count.word` that no durable message has replaced yet.
#[derive(Default)]
struct Words(Vec<u64>);

impl Draft for Words {
    fn apply(&mut self, message: &Message) {
        let data: Value = serde_json::from_str(message.payload.json()).expect("JSON");
        match message.event_type.as_str() {
            "count.word" => self.0.push(data["n"].as_u64().unwrap_or_default()),
            "count.up" => self.0.clear(),
            "count.spoilt" => panic!("of the test"),
            _ => {}
        }
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn events(&self) -> Vec<Event> {
        vec![Event::new("count.word", json!({"all": self.0}))]
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

pub(super) struct Counts;

impl Handler for Counts {
    fn domain(&self) -> &'static str {
        "count"
    }
    fn namespaces(&self) -> &'static [&'static str] {
        &["count", "plain"]
    }
    fn events(&self) -> Vec<EventRow> {
        let row = EventRow::untyped;
        let ephemeral = ["count.beat", "count.word", "count.spoilt"].map(|name| row(name, false));
        [row("count.up", true), row("count.rotten", true)].into_iter().chain(ephemeral).collect()
    }
    fn route(&self, event: &Event) -> Result<Route> {
        Ok(Route::to(event.channel.clone().expect("named")))
    }
    fn channel(&self, id: &str) -> Option<Channel> {
        format!("count:{id}").parse().ok()
    }
    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<Sum>::projection())
    }
    fn retention(&self) -> Retention {
        Retention { messages: 0, bytes: 0, age_ms: 0 }
    }
}

pub(super) struct World {
    pub(super) hub: Arc<Hub>,
    pub(super) log: Arc<MemoryLog>,
    pub(super) clock: Arc<TestClock>,
    pub(super) tasks: Arc<TestTasks>,
    pub(super) channel: Channel,
}

impl World {
    /// A hub whose channels keep so many messages in the log and so many in memory.
    pub(super) fn new(kept: u64, ring: usize) -> Self {
        Self::made(kept, HubConfig { ring_messages: ring, workers: 2, ..HubConfig::default() })
    }

    /// A hub of this configuration whose channels keep everything.
    pub(super) fn with(config: HubConfig) -> Self {
        Self::made(0, config)
    }

    fn made(kept: u64, hub_config: HubConfig) -> Self {
        let (clock, tasks) = (TestClock::new(), TestTasks::new());
        let retention = Retention { messages: kept, bytes: 0, age_ms: 0 };
        let config = MemoryConfig {
            retention: Arc::new(move |_| retention),
            projected: HashSet::from(["count".to_owned()]),
            ..MemoryConfig::default()
        };
        let log = MemoryLog::with(config, clock.clone());
        let registry = Arc::new(Registry::new(vec![Arc::new(Counts)]).expect("one owner each"));
        let states = StateStore::new(registry.clone(), log.clone(), &*tasks);
        let bus = Arc::new(Bus::new(registry, log.clone(), tasks.clone(), false));
        let hub = Hub::new(hub_config, log.clone(), states.clone(), clock.clone(), tasks.clone());
        log.attach(Arc::new(EngineSink { hub: hub.clone(), bus, states }));
        Self { hub, log, clock, tasks, channel: "count:1".parse().expect("a channel") }
    }

    pub(super) async fn publish(&self, event_type: &'static str, count: u64) {
        let mut last = None;
        for n in 0..count {
            let event = Event::new(event_type, json!({"n": n, "half": n % 2}));
            let durable = ["count.up", "count.rotten"].contains(&event_type);
            let publication = Publication { channel: self.channel.clone(), event, durable, opens: None };
            last = Some(self.log.reserve(64).await.expect("room").send(vec![publication]));
        }
        if let Some(last) = last {
            last.await.expect("durable");
        }
    }

    pub(super) fn connect(&self, outlet: &Arc<RecordingOutlet>) -> Arc<Connection> {
        self.hub.connect(Principal::server(), outlet.clone())
    }

    pub(super) async fn subscribe(&self, connection: &Arc<Connection>, more: Value) -> Value {
        let mut asked = json!({"channel": self.channel});
        asked.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (send, receive) = tokio::sync::oneshot::channel();
        let request = SubscribeRequest::parse(&asked);
        connection
            .subscribe(vec![request], |outcomes| {
                let first = outcomes.into_iter().next().expect("one").expect("attached");
                let body = serde_json::to_vec(&first).expect("serialises");
                send.send(serde_json::from_slice(&body).expect("JSON")).expect("heard");
                Some(Said::answer(1, body))
            })
            .await;
        receive.await.expect("an answer")
    }

    pub(super) async fn stop(self) {
        for connection in self.hub.connections() {
            connection.release();
        }
        self.tasks.stop().await;
    }
}

pub(super) fn seqs(taken: &[Taken]) -> Vec<u64> {
    taken.iter().filter_map(Taken::seq).collect()
}

pub(super) fn of_kind<'a>(taken: &'a [Taken], kind: &str) -> Option<&'a Value> {
    taken.iter().find(|taken| taken.kind() == kind).map(|taken| &taken.json["data"])
}

pub(super) fn until_seq(last: u64) -> impl FnMut(&[Taken]) -> Option<Vec<Taken>> {
    move |taken| (taken.iter().filter_map(Taken::seq).next_back() >= Some(last)).then(|| taken.to_vec())
}

impl World {
    /// A send whose announcement is lost may be answered with an error; it is in the log all the same.
    pub(super) async fn publish_unacknowledged(&self) {
        let event = Event::new("count.up", json!({"n": 0}));
        let publication = Publication { channel: self.channel.clone(), event, durable: true, opens: None };
        let sent = self.log.reserve(64).await.expect("room").send(vec![publication]).await;
        assert!(sent.is_ok() || sent.is_err_and(|error| error.code() == tidings_core::Code::Unavailable));
    }
}
