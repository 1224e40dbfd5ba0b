//! A house for one service: a bus that keeps what it is told, the states folded from that, and faults.
//!
//! Guarantees: sends are kept in their order, each as one unit; a receipt resolves after that.
//! It is not the engine: there is no log and nobody listens.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::Value;
use tidings_core::{
    BoxFuture, Channel, Error, Event, Message, Pattern, Result, Timestamp, UserId,
    bus::{EventBus, Listener, Listening, Placed, Receipt, SendSlot, Slot},
    projection::{Fold, Folded, ListStates, States, View},
};
use tidings_testkit::{TestClock, TestTasks};
use tokio::sync::watch;

use crate::{
    programs::{Environment, Programs, ProgramsConfig},
    project::{ProjectReducer, ProjectState},
    redaction::{Redaction, RedactionConfig},
    session::{
        AgentConfig, SessionConfig, SessionId, SessionPorts, SessionReducer, Sessions, Starter,
        contract::{EVENTS, Stream},
        input::{SendMessage, StartSession},
    },
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes wrong with one send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing goes wrong.
    None,
    /// It is not kept, and the receipt says that it failed.
    Lost,
    /// It is kept, and the receipt says that it failed.
    Kept,
    /// The bus panics.
    Panic,
}

struct Thing {
    owner: Option<UserId>,
    messages: Vec<Arc<Message>>,
    state: Box<dyn Folded>,
}

#[derive(Default)]
struct Kept {
    sessions: BTreeMap<String, Thing>,
    ephemeral: Vec<Arc<Message>>,
    faults: VecDeque<Fault>,
    unreadable: u32,
    root: String,
}

/// The bus and the states.
pub(super) struct Memory {
    kept: Mutex<Kept>,
    changed: watch::Sender<u64>,
    open: watch::Sender<bool>,
    clock: Arc<TestClock>,
}

impl Memory {
    /// What goes wrong with the next sends, one by one.
    pub(super) fn fail(&self, faults: &[Fault]) {
        self.kept.lock().faults.extend(faults);
    }

    /// How many reads of states fail from now on.
    pub(super) fn fail_reads(&self, count: u32) {
        self.kept.lock().unreadable = count;
    }

    /// Lets no receipt resolve, or all of them.
    pub(super) fn hold(&self, hold: bool) {
        self.open.send_replace(!hold);
    }

    pub(super) fn messages(&self, id: &SessionId) -> Vec<Arc<Message>> {
        self.kept.lock().sessions.get(id.as_str()).map(|thing| thing.messages.clone()).unwrap_or_default()
    }

    pub(super) fn ephemeral(&self) -> Vec<Arc<Message>> {
        self.kept.lock().ephemeral.clone()
    }

    fn keep(&self, events: Vec<Event>) {
        let mut kept = self.kept.lock();
        for event in events {
            let data: Value = serde_json::from_str(event.payload.json()).expect("JSON");
            let id = data["sessionId"].as_str().expect("an id").to_owned();
            let channel: Channel = Channel::of("session", &id);
            let durable =
                EVENTS.iter().find(|row| row.event_type == event.event_type.as_str()).is_none_or(|row| row.durable);
            let by = event.by.clone();
            let now = tidings_core::runtime::Clock::now(&*self.clock);
            if !durable {
                kept.ephemeral.push(Arc::new(Message::new(channel, None, now, event)));
                continue;
            }
            let thing = kept.sessions.entry(id).or_insert_with(|| Thing {
                owner: by,
                messages: Vec::new(),
                state: Fold::<SessionReducer>::projection().start(),
            });
            let again =
                |message: &&Arc<Message>| message.id.is_some() && message.id == event.id && message.by == event.by;
            if thing.messages.iter().any(|message| again(&message)) {
                continue;
            }
            let seq = thing.messages.len() as u64 + 1;
            let message = Arc::new(Message::new(channel, Some(seq), now, event));
            thing.state.apply(&message);
            thing.messages.push(message);
        }
        drop(kept);
        self.changed.send_modify(|count| *count += 1);
    }

    fn view(id: &str, thing: &Thing) -> View {
        let project = thing.state.as_any().downcast_ref::<crate::session::SessionState>();
        View {
            id: id.into(),
            owner: thing.owner.clone(),
            project: project.and_then(|state| state.project_id.as_ref()).map(|id| id.as_str().into()),
            seq: thing.messages.len() as u64,
            updated_at: thing.messages.last().map_or(Timestamp(0), |message| message.time),
            state: thing.state.boxed_clone().into(),
        }
    }
}

struct Place(Arc<Memory>);

impl SendSlot for Place {
    fn send(self: Box<Self>, events: Vec<Event>) -> Receipt {
        let Self(memory) = *self;
        let fault = memory.kept.lock().faults.pop_front().unwrap_or(Fault::None);
        assert_ne!(fault, Fault::Panic, "a fault that the test asked for");
        if fault != Fault::Lost {
            memory.keep(events);
        }
        let mut open = memory.open.subscribe();
        Receipt::new(async move {
            drop(open.wait_for(|open| *open).await);
            if fault == Fault::None { Ok(Vec::<Placed>::new()) } else { Err(Error::unavailable("as the test asked")) }
        })
    }
}

/// The bus, as the service gets it.
pub(super) struct Bus(pub(super) Arc<Memory>);

impl EventBus for Bus {
    fn reserve(&self) -> BoxFuture<'_, Result<Slot>> {
        Box::pin(std::future::ready(self.try_reserve()))
    }

    fn try_reserve(&self) -> Result<Slot> {
        Ok(Slot::new(Box::new(Place(self.0.clone()))))
    }

    fn on(&self, _pattern: Pattern, _listener: Arc<dyn Listener>) -> Listening {
        Listening::new(|| ())
    }
}

impl States for Memory {
    fn get(&self, domain: &'static str, id: &str) -> BoxFuture<'_, Result<Option<View>>> {
        let mut kept = self.kept.lock();
        if kept.unreadable > 0 {
            kept.unreadable -= 1;
            return Box::pin(std::future::ready(Err(Error::unavailable("as the test asked"))));
        }
        let found = match (domain, id) {
            ("project", "p1" | "p2") => Some(project(id, &kept.root)),
            ("session", id) => kept.sessions.get(id).map(|thing| Self::view(id, thing)),
            _ => None,
        };
        Box::pin(std::future::ready(Ok(found)))
    }

    fn list(&self, _domain: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        let kept = self.kept.lock();
        let below = |id: &str| query.below.as_ref().is_none_or(|below| id < below.as_str());
        let views = kept.sessions.iter().rev().filter(|(id, _)| below(id)).map(|(id, thing)| Self::view(id, thing));
        let of_project = |view: &View| query.project.is_none() || view.project == query.project;
        let views = views.filter(of_project).take(query.limit).collect();
        Box::pin(std::future::ready(Ok(views)))
    }

    fn messages(
        &self,
        _domain: &'static str,
        id: &str,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        let kept = self.kept.lock();
        let all = kept.sessions.get(id).map(|thing| thing.messages.clone()).unwrap_or_default();
        let found: Vec<_> = all.iter().skip(after as usize).take(limit).cloned().collect();
        let more = all.len() > after as usize + found.len();
        Box::pin(std::future::ready(Ok((found, more))))
    }
}

fn project(id: &str, root: &str) -> View {
    let state = ProjectState { project_id: id.parse().ok(), root: root.to_owned(), ..Default::default() };
    let bytes = serde_json::to_vec(&state).expect("serialises");
    let state = Fold::<ProjectReducer>::projection().restore(&bytes).expect("restores");
    View { id: id.into(), owner: None, project: Some(id.into()), seq: 1, updated_at: Timestamp(0), state: state.into() }
}

/// A service in its house. Its project `p1` is an empty directory.
pub(super) struct House {
    pub(super) sessions: Arc<Sessions>,
    pub(super) memory: Arc<Memory>,
    pub(super) clock: Arc<TestClock>,
    pub(super) tasks: Arc<TestTasks>,
    pub(super) dir: tempfile::TempDir,
    config: SessionConfig,
    programs: ProgramsConfig,
}

fn running(config: &ProgramsConfig) -> Arc<Programs> {
    Programs::new(config.clone()).expect("ready to run programs")
}

pub(super) fn user(name: &str) -> UserId {
    name.parse().expect("an id")
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut SessionConfig)) -> Self {
        Self::running(|config, _| change(config))
    }

    pub(super) fn running(change: impl FnOnce(&mut SessionConfig, &mut ProgramsConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["data", "root"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let (mut config, mut programs) = (SessionConfig::new(redaction), ProgramsConfig::new(dir.path().join("data")));
        let server = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("TIDINGS_SECRET", "x")];
        let server = server.map(|(name, value)| (name.to_owned(), value.to_owned()));
        programs.env = Environment::new(&["PATH".to_owned()], server, &BTreeMap::new());
        change(&mut config, &mut programs);
        let clock = TestClock::new();
        let root = dir.path().join("root").to_string_lossy().into_owned();
        let memory = Arc::new(Memory {
            kept: Mutex::new(Kept { root, ..Kept::default() }),
            changed: watch::Sender::new(0),
            open: watch::Sender::new(true),
            clock: clock.clone(),
        });
        let tasks = TestTasks::new();
        let sessions = Sessions::new(ports(&memory, &clock, &tasks), running(&programs), config.clone());
        let sessions = sessions.expect("a service");
        Self { sessions, memory, clock, tasks, dir, config, programs }
    }

    /// The next life of the server over the same log.
    pub(super) fn next_life(&mut self) {
        let ports = ports(&self.memory, &self.clock, &self.tasks);
        self.sessions = Sessions::new(ports, running(&self.programs), self.config.clone()).expect("a service");
    }

    pub(super) async fn try_start(&self, who: &str, request: Value) -> Result<SessionId> {
        let request: StartSession = serde_json::from_value(request).expect("parses");
        let who = Starter { user: user(who), roles: Vec::new(), membership: None };
        self.sessions.clone().start(who, request).await
    }

    pub(super) async fn start(&self, request: Value) -> SessionId {
        self.try_start("u1", request).await.expect("starts")
    }

    /// Runs a script of `sh`.
    pub(super) async fn sh(&self, script: &str) -> SessionId {
        self.start(serde_json::json!({"projectId": "p1", "command": ["sh", "-c", script]})).await
    }

    pub(super) async fn say(&self, id: &SessionId, content: &str, key: Option<&str>) -> Result<String> {
        let client_message_id = key.map(str::to_owned);
        let input = SendMessage { session_id: id.clone(), content: content.to_owned(), client_message_id };
        self.sessions.clone().send_message(user("u1"), input).await.map(|accepted| accepted.message_id)
    }

    pub(super) async fn cancel(&self, id: &SessionId) -> Result<()> {
        self.sessions.clone().cancel(user("u2"), id.clone()).await
    }

    /// Waits until something is there.
    pub(super) async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let mut changed = self.memory.changed.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = found() {
                    return found;
                }
                changed.changed().await.expect("the memory lives");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what} in vain"))
    }

    /// Waits until a program has printed this on its standard output.
    pub(super) async fn until_printed(&self, id: &SessionId, text: &str) {
        self.until(text, || self.printed(id, Stream::Stdout).contains(text).then_some(())).await;
    }

    /// Waits for the end of a session, checks that it has only one, and gives its type and data.
    pub(super) async fn end(&self, id: &SessionId) -> (String, Value) {
        self.until("an end", || (!self.ends(id).is_empty()).then_some(())).await;
        self.until_idle(id).await;
        let ends = self.ends(id);
        assert_eq!(ends.len(), 1, "one end of {ends:?}");
        ends[0].clone()
    }

    /// Waits until the service has nothing more to do with a session.
    async fn until_idle(&self, id: &SessionId) {
        let gone = async {
            while self.sessions.runs(id) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the session leaves");
    }

    pub(super) fn ends(&self, id: &SessionId) -> Vec<(String, Value)> {
        let is_end = |name: &str| matches!(name, "session.completed" | "session.error" | "session.cancelled");
        self.told(id).into_iter().filter(|(name, _)| is_end(name)).collect()
    }

    pub(super) fn told(&self, id: &SessionId) -> Vec<(String, Value)> {
        let told = |message: &Arc<Message>| {
            (message.event_type.to_string(), serde_json::from_str(message.payload.json()).expect("JSON"))
        };
        self.memory.messages(id).iter().map(told).collect()
    }

    pub(super) fn types(&self, id: &SessionId) -> Vec<String> {
        self.told(id).into_iter().map(|(name, _)| name).collect()
    }

    pub(super) fn printed(&self, id: &SessionId, stream: Stream) -> String {
        let stream = serde_json::to_value(stream).expect("serialises");
        let told = self.told(id).into_iter();
        let pieces = told.filter(|(name, data)| name == "session.stream_output" && data["type"] == stream);
        pieces.map(|(_, data)| data["content"].as_str().expect("text").to_owned()).collect()
    }

    pub(super) async fn close(self) {
        self.sessions.stop().await;
        self.tasks.stop().await;
        let left = std::fs::read_dir(self.dir.path().join("data/run")).expect("the folder").count();
        assert_eq!(left, 0, "no process group is remembered");
    }
}

fn ports(memory: &Arc<Memory>, clock: &Arc<TestClock>, tasks: &Arc<TestTasks>) -> SessionPorts {
    SessionPorts {
        bus: Arc::new(Bus(memory.clone())),
        states: memory.clone(),
        roots: Arc::default(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        surroundings: None,
        publishing: None,
    }
}

pub(super) fn agent(command: &[&str]) -> AgentConfig {
    AgentConfig {
        adapter: crate::session::AdapterKind::Lines,
        command: command.iter().map(|&part| part.to_owned()).collect(),
        stdin: crate::session::Stdin::Open,
        resume: None,
        terminal: None,
        projects: None,
        roles: None,
        sandbox: None,
        publish: Vec::new(),
    }
}
