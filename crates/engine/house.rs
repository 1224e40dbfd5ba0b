//! What tests of the engine share: a domain of things, members of projects, and an engine over a log in memory.
//!
//! Guarantees: the engine's parts are the real ones, wired as the server wires them.
//! It is not the server: it has no transport, and its log does not outlive the test.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tidings_core::{
    Action, Channel, Event, Grant, Message, Pattern, Payload, Principal, Result, UserId,
    command::Command,
    contract::EventRow,
    handler::{Handler, Retention, Route, Standing},
    log::EventLog,
    principal::{Membership, Role},
    projection::Projection,
    runtime::Memberships,
};
use tidings_testkit::{MemoryConfig, MemoryLog, PATIENCE, TestClock, TestTasks};

use crate::{
    bus::Bus,
    gate::{Gate, GateParts},
    hub::{Hub, HubConfig},
    registry::Registry,
    seats::SeatsConfig,
    sink::EngineSink,
    states::StateStore,
};

/// The most bytes of one event's data in these tests.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// The data of every event of [`Things`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: SmolStr,
    #[serde(default)]
    pub(crate) n: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<SmolStr>,
}

/// A domain whose parts a test chooses. `thing.made` opens `thing:{id}`, `thing.said` is a durable
/// message of it, `thing.ticked` an ephemeral one, `thing.shown` has a copy in `board:all`, and
/// `thing.lost` goes where nobody is.
pub(crate) struct Things {
    pub(crate) domain: &'static str,
    pub(crate) namespaces: &'static [&'static str],
    pub(crate) events: &'static [EventRow],
    pub(crate) commands: Vec<Command>,
    pub(crate) projection: Option<Arc<dyn Projection>>,
}

const ROWS: &[EventRow] = &[
    EventRow::untyped("thing.made", true),
    EventRow::untyped("thing.said", true),
    EventRow::untyped("thing.shown", true),
    EventRow::untyped("thing.ticked", false),
];

impl Default for Things {
    fn default() -> Self {
        Self {
            domain: "thing",
            namespaces: &["thing", "board", "own", "room"],
            events: ROWS,
            commands: Vec::new(),
            projection: None,
        }
    }
}

impl Handler for Things {
    fn domain(&self) -> &'static str {
        self.domain
    }
    fn namespaces(&self) -> &'static [&'static str] {
        self.namespaces
    }
    fn events(&self) -> Vec<EventRow> {
        self.events.to_vec()
    }
    fn route(&self, event: &Event) -> Result<Route> {
        let said: Arc<Said> = event.payload.typed()?;
        let home = |namespace: &str| format!("{namespace}:{}", said.id).parse();
        match event.event_type.as_str() {
            "thing.made" => Ok(Route::to(home("thing")?).opening(said.owner.clone(), said.project.clone())),
            "thing.shown" => {
                let copy = Payload::of(Said { n: said.n, ..Said::clone(&said) });
                Ok(Route::to(home("thing")?).copy("board:all".parse()?, "thing.said", copy))
            }
            "thing.lost" => Ok(Route::to(home("nowhere")?)),
            _ => Ok(Route::to(home("thing")?)),
        }
    }
    fn channel(&self, id: &str) -> Option<Channel> {
        format!("thing:{id}").parse().ok()
    }
    fn standing(&self, channel: &Channel) -> Standing {
        // Whose it is stands in the name of some channels, in the log's facts for others.
        match channel.namespace() {
            "own" => Standing { owner: channel.id().parse().ok(), project: None },
            "room" => Standing { owner: None, project: Some(channel.id().into()) },
            _ => Standing::default(),
        }
    }
    fn commands(&self) -> Vec<Command> {
        self.commands.clone()
    }
    fn projection(&self) -> Option<Arc<dyn Projection>> {
        self.projection.clone()
    }
    fn retention(&self) -> Retention {
        Retention { messages: 0, bytes: 0, age_ms: 0 }
    }
}

/// Members by project and user.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<(String, UserId), Membership>>);

impl Members {
    pub(crate) fn remove(&self, project: &str, user: &str) {
        self.0.lock().remove(&(project.to_owned(), id(user)));
    }

    pub(crate) fn set(&self, project: &str, user: &str, membership: Membership) {
        self.0.lock().insert((project.to_owned(), id(user)), membership);
    }
}

impl Memberships for Members {
    fn membership(&self, project: &str, user: &UserId) -> Option<Membership> {
        self.0.lock().get(&(project.to_owned(), user.clone())).copied()
    }
}

/// An engine of these handlers over a log in memory.
pub(crate) struct House {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) tasks: Arc<TestTasks>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) states: Arc<StateStore>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) members: Arc<Members>,
}

impl House {
    pub(crate) fn new(things: Things) -> Self {
        Self::with(things, MemoryConfig::default())
    }

    pub(crate) fn with(things: Things, config: MemoryConfig) -> Self {
        let clock = TestClock::new();
        Self::over(things, MemoryLog::with(config, clock.clone()), clock, false)
    }

    pub(crate) fn debugging(things: Things) -> Self {
        let clock = TestClock::new();
        Self::over(things, MemoryLog::new(clock.clone()), clock, true)
    }

    fn over(things: Things, log: Arc<MemoryLog>, clock: Arc<TestClock>, debug: bool) -> Self {
        let (tasks, members) = (TestTasks::new(), Arc::<Members>::default());
        let registry = Arc::new(Registry::new(vec![Arc::new(things)]).expect("one owner each"));
        let states = StateStore::new(registry.clone(), log.clone(), &*tasks);
        let bus = Arc::new(Bus::new(registry.clone(), log.clone(), tasks.clone(), debug));
        let config = HubConfig { workers: 1, ..HubConfig::default() };
        let hub = Hub::new(config, log.clone(), states.clone(), clock.clone(), tasks.clone());
        log.attach(Arc::new(EngineSink { hub: hub.clone(), bus: bus.clone(), states: states.clone() }));
        let gate = Gate::new(GateParts {
            registry,
            bus: bus.clone(),
            log: log.clone(),
            memberships: members.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            max_message_bytes: MAX_MESSAGE_BYTES,
            commands: SeatsConfig { user: 8, total: 0 },
        });
        Self { clock, tasks, log, bus, states, hub, gate, members }
    }

    /// An engine over a log that is there already.
    pub(crate) fn on(things: Things, log: Arc<MemoryLog>) -> Self {
        Self::over(things, log, TestClock::new(), false)
    }

    /// The same log in a new engine, as after a restart.
    pub(crate) async fn restart(self, things: Things) -> Self {
        self.tasks.stop().await;
        self.log.close().await;
        Self::over(things, self.log.reopen(), self.clock, false)
    }

    /// Waits until no task of this name runs, or fails.
    pub(crate) async fn tasks_end(&self, name: &str) {
        let ended = async {
            while self.tasks.running().contains(&name) {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok(), "{name} does not end");
    }

    /// Ends every task, or fails.
    pub(crate) async fn stop(self) {
        self.tasks.stop().await;
    }

    /// The messages of a channel, oldest first.
    pub(crate) async fn messages(&self, name: &str) -> Vec<Arc<Message>> {
        let read =
            tidings_core::log::Read { after: 0, before: None, limit: 10_000, max_bytes: usize::MAX, newest: false };
        self.log.read(&channel(name), read).await.expect("the log reads").messages
    }
}

/// An event of [`Things`].
pub(crate) fn event(event_type: &'static str, id: &str, n: u64) -> Event {
    Event::new(event_type, Said { id: id.into(), n, ..Said::default() })
}

/// The number that a message of [`Things`] carries.
pub(crate) fn number(message: &Message) -> u64 {
    message.payload.typed::<Said>().expect("data of things").n
}

pub(crate) fn id(text: &str) -> UserId {
    text.parse().expect("an id")
}

pub(crate) fn channel(name: &str) -> Channel {
    name.parse().expect("a channel")
}

pub(crate) fn pattern(text: &str) -> Pattern {
    text.parse().expect("a pattern")
}

/// Somebody with these grants, as in `thing:*=subscribe,publish`, and no role.
pub(crate) fn somebody(user: &str, grants: &[&str]) -> Principal {
    let grants = grants.iter().map(|grant| grant.parse::<Grant>().expect("a grant")).collect();
    Principal::new(id(user), vec![], grants)
}

/// Somebody of this role.
pub(crate) fn of_role(user: &str, role: Role) -> Principal {
    Principal::new(id(user), vec![role], vec![])
}

/// Every action, for tables.
pub(crate) const ACTIONS: [Action; 5] = Action::ALL;
