//! A house for the service of terminals: a bus that keeps what it is told, and the states folded from that.
//!
//! Guarantees: sends are kept in their order, each as one unit; a receipt resolves after that.
//! It is not the engine: there is no log and nobody listens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings_core::{
    BoxFuture, Channel, Error, Event, Message, Pattern, Result, Timestamp, UserId,
    bus::{EventBus, Listener, Listening, Receipt, SendSlot, Slot},
    projection::{Fold, Folded, ListStates, States, View},
    runtime::{Audience, Clock},
};
use tidings_testkit::{TestClock, TestTasks};
use tokio::sync::watch;

use crate::{
    programs::{Environment, Programs, ProgramsConfig},
    project::{ProjectReducer, ProjectState},
    redaction::{Redaction, RedactionConfig},
    shell::{ShellConfig, ShellPorts, ShellReducer, ShellState, Shells, TerminalId, answer::Typed},
};

/// How long a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

struct Thing {
    owner: Option<UserId>,
    messages: Vec<Arc<Message>>,
    state: Box<dyn Folded>,
}

/// The bus, the states and the audience.
pub(super) struct Memory {
    things: Mutex<BTreeMap<String, Thing>>,
    lost: AtomicUsize,
    doubted: AtomicUsize,
    open: watch::Sender<bool>,
    changed: watch::Sender<u64>,
    pub(super) watching: AtomicUsize,
    asked: AtomicUsize,
    root: String,
    clock: Arc<TestClock>,
}

impl Memory {
    /// So many of the next sends are not kept, and say that they failed.
    pub(super) fn lose(&self, count: usize) {
        self.lost.store(count, Ordering::Relaxed);
    }

    /// So many of the next sends are kept, and say that they failed.
    pub(super) fn doubt(&self, count: usize) {
        self.doubted.store(count, Ordering::Relaxed);
    }

    /// Lets no receipt resolve, or all of them.
    pub(super) fn hold(&self, hold: bool) {
        self.open.send_replace(!hold);
    }

    /// Lets go of what a terminal told.
    pub(super) fn forget(&self, id: &TerminalId) {
        self.things.lock().remove(id.as_str());
    }

    pub(super) fn messages(&self, id: &TerminalId) -> Vec<Arc<Message>> {
        self.things.lock().get(id.as_str()).map(|thing| thing.messages.clone()).unwrap_or_default()
    }

    fn keep(&self, events: Vec<Event>) {
        let mut things = self.things.lock();
        for event in events {
            let data: Value = serde_json::from_str(event.payload.json()).expect("JSON");
            let id = data["terminalId"].as_str().expect("an id").to_owned();
            let (by, state) = (event.by.clone(), || Fold::<ShellReducer>::projection().start());
            let channel: Channel = format!("shell:terminal:{id}").parse().expect("a channel");
            let thing = things.entry(id).or_insert_with(|| Thing { owner: by, messages: Vec::new(), state: state() });
            let seq = thing.messages.len() as u64 + 1;
            let message = Arc::new(Message::new(channel, Some(seq), self.clock.now(), event));
            thing.state.apply(&message);
            thing.messages.push(message);
        }
        drop(things);
        self.changed.send_modify(|count| *count += 1);
    }

    fn view(id: &str, thing: &Thing) -> View {
        let project = thing.state.as_any().downcast_ref::<ShellState>().and_then(|state| state.project_id.as_ref());
        View {
            id: id.into(),
            owner: thing.owner.clone(),
            project: project.map(|id| id.as_str().into()),
            seq: thing.messages.len() as u64,
            updated_at: Timestamp(0),
            state: thing.state.boxed_clone().into(),
        }
    }
}

struct Place(Arc<Memory>);

impl SendSlot for Place {
    fn send(self: Box<Self>, events: Vec<Event>) -> Receipt {
        let Self(memory) = *self;
        let one_less = |lost: usize| lost.checked_sub(1);
        let lost = memory.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        let doubted = !lost && memory.doubted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if !lost {
            memory.keep(events);
        }
        let mut open = memory.open.subscribe();
        Receipt::new(async move {
            drop(open.wait_for(|open| *open).await);
            if lost || doubted { Err(Error::unavailable("as the test asked")) } else { Ok(Vec::new()) }
        })
    }
}

struct Bus(Arc<Memory>);

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

impl Audience for Memory {
    fn watching(&self, domain: &'static str, _id: &str) -> usize {
        assert_eq!(domain, "shell");
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.changed.send_modify(|count| *count += 1);
        self.watching.load(Ordering::Relaxed)
    }
}

impl States for Memory {
    fn get(&self, domain: &'static str, id: &str) -> BoxFuture<'_, Result<Option<View>>> {
        let found = match (domain, id) {
            ("project", "p1") => Some(project(id, &self.root)),
            ("shell", id) => self.things.lock().get(id).map(|thing| Self::view(id, thing)),
            _ => None,
        };
        Box::pin(std::future::ready(Ok(found)))
    }

    fn list(&self, _domain: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        let things = self.things.lock();
        let below = |id: &str| query.below.as_ref().is_none_or(|below| id < below.as_str());
        let views = things.iter().rev().filter(|(id, _)| below(id)).map(|(id, thing)| Self::view(id, thing));
        let of_project = |view: &View| query.project.is_none() || view.project == query.project;
        let views = views.filter(of_project).take(query.limit).collect();
        Box::pin(std::future::ready(Ok(views)))
    }

    fn messages(
        &self,
        _domain: &'static str,
        _id: &str,
        _after: u64,
        _limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        Box::pin(std::future::ready(Err(Error::unavailable("the service reads no messages"))))
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
    pub(super) shells: Arc<Shells>,
    pub(super) memory: Arc<Memory>,
    pub(super) tasks: Arc<TestTasks>,
    pub(super) dir: tempfile::TempDir,
    config: ShellConfig,
    programs: ProgramsConfig,
}

pub(super) fn user(name: &str) -> UserId {
    name.parse().expect("an id")
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut ShellConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["data", "root"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let (mut config, mut programs) = (ShellConfig::new(redaction), ProgramsConfig::new(dir.path().join("data")));
        let server = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("TIDINGS_SECRET", "x")];
        let server = server.map(|(name, value)| (name.to_owned(), value.to_owned()));
        programs.env = Environment::new(&["PATH".to_owned()], server, &BTreeMap::new());
        programs.grace_ms = 500;
        change(&mut config);
        let root = dir.path().join("root").canonicalize().expect("a path").to_string_lossy().into_owned();
        let memory = Arc::new(Memory {
            things: Mutex::default(),
            lost: AtomicUsize::new(0),
            doubted: AtomicUsize::new(0),
            open: watch::Sender::new(true),
            changed: watch::Sender::new(0),
            watching: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            root,
            clock: TestClock::new(),
        });
        let tasks = TestTasks::new();
        let shells = Self::service(&memory, &tasks, &programs, &config);
        Self { shells, memory, tasks, dir, config, programs }
    }

    fn service(
        memory: &Arc<Memory>,
        tasks: &Arc<TestTasks>,
        programs: &ProgramsConfig,
        config: &ShellConfig,
    ) -> Arc<Shells> {
        let ports = ShellPorts {
            bus: Arc::new(Bus(memory.clone())),
            states: memory.clone(),
            roots: Arc::default(),
            audience: memory.clone(),
            clock: memory.clock.clone(),
            tasks: tasks.clone(),
        };
        Shells::new(ports, Programs::new(programs.clone()).expect("ready to run programs"), config.clone())
    }

    /// The next life of the server over the same log.
    pub(super) fn next_life(&mut self) {
        self.shells = Self::service(&self.memory, &self.tasks, &self.programs, &self.config);
    }

    pub(super) async fn try_open(&self, who: &str, more: Value) -> Result<TerminalId> {
        let mut request = json!({"projectId": "p1"});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.shells.clone().open(user(who), serde_json::from_value(request).expect("parses")).await
    }

    /// Opens a terminal in which `sh` runs a script.
    pub(super) async fn sh(&self, script: &str) -> TerminalId {
        self.try_open("u1", json!({"command": ["sh", "-c", script]})).await.expect("opens")
    }

    pub(super) async fn input(&self, id: &TerminalId, more: Value) -> Result<Typed> {
        let mut input = json!({"terminalId": id});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.shells.clone().input(user("u1"), serde_json::from_value(input).expect("parses")).await
    }

    /// Types, without numbers.
    pub(super) async fn keys(&self, id: &TerminalId, data: &str) {
        self.input(id, json!({"data": data})).await.expect("is taken");
    }

    pub(super) async fn resize(&self, id: &TerminalId, cols: u16, rows: u16) -> Result<()> {
        let input = json!({"terminalId": id, "cols": cols, "rows": rows});
        self.shells.clone().resize(user("u1"), serde_json::from_value(input).expect("parses")).await
    }

    pub(super) async fn close_shell(&self, id: &TerminalId) -> Result<()> {
        self.shells.clone().close(user("u2"), id.clone()).await
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

    /// Waits until a program has written this.
    pub(super) async fn until_written(&self, id: &TerminalId, text: &str) {
        self.until(text, || self.written(id).contains(text).then_some(())).await;
    }

    /// Waits until the service has looked so many times more who watches.
    pub(super) async fn until_looked(&self, times: usize) {
        let asked = || self.memory.asked.load(Ordering::Relaxed);
        let enough = asked() + times;
        self.until("looks", || (asked() >= enough).then_some(())).await;
    }

    /// Waits for the end of a terminal, checks that it is the only one and the last, and gives its type and data.
    pub(super) async fn end(&self, id: &TerminalId) -> (String, Value) {
        let ends = |told: &[(String, Value)]| {
            told.iter().filter(|(name, _)| matches!(name.as_str(), "shell.exit" | "shell.error")).count()
        };
        self.until("an end", || (ends(&self.told(id)) > 0).then_some(())).await;
        let gone = async {
            while self.shells.runs(id) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the terminal leaves");
        let told = self.told(id);
        assert_eq!(ends(&told), 1, "one end of {id}");
        told.last().filter(|(name, _)| name == "shell.exit" || name == "shell.error").expect("the end is last").clone()
    }

    pub(super) fn told(&self, id: &TerminalId) -> Vec<(String, Value)> {
        let told = |message: &Arc<Message>| {
            (message.event_type.to_string(), serde_json::from_str(message.payload.json()).expect("JSON"))
        };
        self.memory.messages(id).iter().map(told).collect()
    }

    /// All output, whose offsets fit.
    pub(super) fn written(&self, id: &TerminalId) -> String {
        let mut text = String::new();
        for (_, data) in self.told(id).into_iter().filter(|(name, _)| name == "shell.output") {
            assert_eq!(data["offset"], text.len(), "offsets follow each other");
            text.push_str(data["data"].as_str().expect("text"));
        }
        text
    }

    pub(super) async fn close(self) {
        self.shells.stop().await;
        self.tasks.stop().await;
        let left = std::fs::read_dir(self.dir.path().join("data/run")).expect("the folder").count();
        assert_eq!(left, 0, "no process group is remembered");
    }
}
