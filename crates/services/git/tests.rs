//! Operations while others run and while the log fails: each place, each start and each end is told once, or not at all.
//!
//! Guarantees: git is real, and so is the fold of the project; the bus keeps what it is told, and fails as the test asks.
//! They are not the tests of what git does: those meet the real server.

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings_core::{
    BoxFuture, Channel, Error, Event, Message, Pattern, Result, Timestamp,
    bus::{EventBus, Listener, Listening, Receipt, SendSlot, Slot},
    command::Json,
    projection::{Fold, ListStates, States, View},
};
use tidings_testkit::{TestClock, TestTasks};

use super::{
    GitConfig, GitPorts, Repositories,
    contract::{Begun, EndStatus, Kind, OperationId},
    input::Cancel,
    job::Job,
    registry::Seat,
};
use crate::{
    programs::{Environment, Programs, ProgramsConfig},
    project::{
        ProjectReducer, ProjectState,
        contract::{REGISTERED, Registered},
    },
    redaction::{Redaction, RedactionConfig},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What goes wrong with a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is not kept, and that is said.
    Lost,
    /// It is kept, and the contrary is said.
    Kept,
}

#[derive(Default)]
struct Kept {
    messages: Vec<Message>,
    faults: VecDeque<Fault>,
}

/// The bus and the states, of one project.
#[derive(Default)]
struct Memory(Mutex<Kept>);

impl Memory {
    fn keep(&self, event: Event) {
        let mut kept = self.0.lock();
        // As the log has it: a repeat under the same id is the same message.
        if event.id.is_some() && kept.messages.iter().any(|message| message.id == event.id) {
            return;
        }
        let seq = kept.messages.len() as u64 + 1;
        kept.messages.push(Message::new(Channel::of("project", &"p1"), Some(seq), Timestamp(0), event));
    }

    /// The types of what is kept of operations.
    fn told(&self) -> Vec<String> {
        let kept = self.0.lock();
        let types = kept.messages.iter().map(|message| message.event_type.as_str());
        types.filter(|it| it.starts_with("git.operation.") && !it.ends_with("progress")).map(str::to_owned).collect()
    }

    fn last(&self) -> Value {
        let kept = self.0.lock();
        kept.messages.last().map_or(Value::Null, |it| serde_json::from_str(it.payload.json()).expect("JSON"))
    }

    fn view(&self) -> View {
        let mut state = Fold::<ProjectReducer>::projection().start();
        let kept = self.0.lock();
        kept.messages.iter().for_each(|message| state.apply(message));
        let seq = kept.messages.len() as u64;
        View { id: "p1".into(), owner: None, project: None, seq, updated_at: Timestamp(0), state: state.into() }
    }
}

struct Place(Arc<Memory>);

impl SendSlot for Place {
    fn send(self: Box<Self>, events: Vec<Event>) -> Receipt {
        let of_operation = events.iter().any(|event| event.id.is_some());
        let fault = if of_operation { self.0.0.lock().faults.pop_front() } else { None };
        if fault != Some(Fault::Lost) {
            events.into_iter().for_each(|event| self.0.keep(event));
        }
        let result = if fault.is_some() { Err(Error::unavailable("as the test asked")) } else { Ok(Vec::new()) };
        Receipt::new(std::future::ready(result))
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
    fn on(&self, _: Pattern, _: Arc<dyn Listener>) -> Listening {
        Listening::new(|| ())
    }
}

impl States for Memory {
    fn get(&self, _: &'static str, _: &str) -> BoxFuture<'_, Result<Option<View>>> {
        Box::pin(std::future::ready(Ok(Some(self.view()))))
    }
    fn list(&self, _: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        let first = query.below.is_none();
        Box::pin(std::future::ready(Ok(first.then(|| self.view()).into_iter().collect())))
    }
    fn messages(&self, _: &'static str, _: &str, _: u64, _: usize) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        Box::pin(std::future::ready(Ok((Vec::new(), false))))
    }
}

struct House {
    memory: Arc<Memory>,
    repositories: Arc<Repositories>,
    tasks: Arc<TestTasks>,
    dir: tempfile::TempDir,
}

impl House {
    /// A project around an empty repository, as `git init` makes it.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for folder in ["data", "root/.git/objects", "root/.git/refs"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("makes");
        }
        std::fs::write(dir.path().join("root/.git/HEAD"), "ref: refs/heads/main\n").expect("writes");
        let mut programs = ProgramsConfig::new(dir.path().join("data"));
        let path = [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())];
        programs.env = Environment::new(&["PATH".to_owned()], path, &BTreeMap::new());
        let memory = Arc::<Memory>::default();
        let root = dir.path().join("root").canonicalize().expect("there").to_string_lossy().into_owned();
        let project_id = "p1".parse().expect("an id");
        memory.keep(Event::new(REGISTERED, Registered { project_id, name: "one".to_owned(), root }));
        let (tasks, clock) = (TestTasks::new(), TestClock::new());
        let ports = GitPorts {
            bus: Arc::new(Bus(memory.clone())),
            states: memory.clone(),
            roots: Arc::default(),
            clock,
            tasks: tasks.clone(),
        };
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let programs = Programs::new(programs).expect("ready");
        Self { memory, repositories: Repositories::new(ports, programs, GitConfig::new(redaction)), tasks, dir }
    }

    fn fail(&self, faults: &[Fault]) {
        self.memory.0.lock().faults.extend(faults);
    }

    /// Stages nothing, which succeeds.
    async fn add(&self) -> Result<Json<Begun>> {
        self.add_and_wait(None).await
    }

    async fn add_and_wait(&self, wait: Option<Duration>) -> Result<Json<Begun>> {
        let input = serde_json::from_value(json!({"projectId": "p1", "paths": ["."]})).expect("an input");
        self.repositories.clone().begin("u1".parse().expect("an id"), Ok(Job::add(input)), wait).await
    }

    /// The place of something that runs for as long as the test wants.
    fn busy(&self) -> Seat {
        let (project_id, user) = ("p1".parse().expect("an id"), "u1".parse().expect("an id"));
        self.repositories.registry.enter(&project_id, Kind::Add, &user).expect("free")
    }

    /// The ends that were told, with their operations.
    fn ends(&self) -> Vec<(String, String)> {
        let kept = self.memory.0.lock();
        let ends = kept.messages.iter().filter(|message| {
            let name = message.event_type.as_str();
            ["completed", "failed", "cancelled"].iter().any(|end| name == format!("git.operation.{end}"))
        });
        let end = |message: &Message| {
            let data: Value = serde_json::from_str(message.payload.json()).expect("JSON");
            let what = data["code"].as_str().unwrap_or(message.event_type.as_str());
            (data["operationId"].as_str().expect("an id").to_owned(), what.to_owned())
        };
        ends.map(end).collect()
    }

    /// Waits until so many ends were told.
    async fn settled_by_themselves(&self, ends: usize) {
        let told = async {
            while self.ends().len() < ends {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("every operation ends");
    }

    async fn settled(&self) {
        tokio::time::timeout(PATIENCE, self.repositories.stop()).await.expect("every operation ends");
        self.tasks.stop().await;
        let view = self.memory.view();
        let state = view.state::<ProjectState>().expect("a project");
        assert!(state.git.operations.is_empty(), "nothing is open");
    }
}

#[tokio::test]
async fn a_start_and_an_end_that_are_told_again_and_again_are_told_once() {
    let house = House::new();
    house.fail(&[Fault::Kept, Fault::Lost]);
    house.add().await.expect("begins at the third try");
    house.fail(&[Fault::Lost, Fault::Kept, Fault::Lost]);
    house.settled().await;
    let told = house.memory.told();
    assert_eq!((told.len(), told[0].as_str()), (2, "git.operation.started"), "{told:?}");
}

#[tokio::test]
async fn an_operation_whose_start_is_not_durable_does_not_run_and_whoever_heard_of_it_hears_its_end() {
    for (fault, told) in [(Fault::Lost, vec![]), (Fault::Kept, vec!["git.operation.started", "git.operation.failed"])] {
        let house = House::new();
        house.fail(&[fault; 3]);
        assert!(house.add().await.is_err());
        house.settled().await;
        assert_eq!(house.memory.told(), told, "{fault:?}");
        if fault == Fault::Kept {
            assert_eq!(house.memory.last()["code"], "start_lost");
        }
    }
}

#[tokio::test]
async fn what_a_former_life_left_open_is_ended_once_by_the_next() {
    let house = House::new();
    let open = json!({"projectId": "p1", "operationId": "o1", "kind": "push", "hosted": true});
    house.memory.keep(Event::new(super::contract::STARTED, open));
    house.repositories.recover().await.expect("recovers");
    house.repositories.recover().await.expect("recovers");
    assert_eq!(house.memory.told(), ["git.operation.started", "git.operation.failed"]);
    assert_eq!(house.memory.last()["code"], "server_stopped");
    house.settled().await;
}

/// The operation that an answer names, which waits for its turn.
fn waits(begun: Result<Json<Begun>>) -> OperationId {
    let Json(begun) = begun.expect("has its place");
    assert!(begun.queued && begun.end.is_none());
    begun.operation_id
}

#[tokio::test]
async fn operations_of_a_project_wait_for_their_turn_and_run_in_their_order() {
    let house = House::new();
    let busy = house.busy();
    let waiting = [waits(house.add().await), waits(house.add().await)];
    assert_eq!(house.memory.told(), ["git.operation.queued"; 2]);
    let view = house.memory.view();
    let state = view.state::<ProjectState>().expect("a project");
    assert!(waiting.iter().all(|id| state.git.operations[id].queued));
    drop(busy);
    let Json(last) = house.add_and_wait(Some(PATIENCE)).await.expect("ends");
    assert_eq!(last.end.expect("its end").status, EndStatus::Completed);
    let mut expected: Vec<(String, String)> =
        waiting.map(|id| (id.to_string(), "git.operation.completed".to_owned())).into();
    expected.push((last.operation_id.to_string(), "git.operation.completed".to_owned()));
    assert_eq!(house.ends(), expected);
    house.settled().await;
    assert_eq!(house.add().await.expect_err("refused").code(), tidings_core::Code::Draining);
}

#[tokio::test]
async fn whoever_waits_for_an_end_is_answered_with_it_or_without_it_when_the_time_is_over() {
    let house = House::new();
    let Json(begun) = house.add_and_wait(Some(PATIENCE)).await.expect("ends");
    let end = begun.end.expect("its end");
    assert_eq!((begun.queued, end.status, end.branch.as_deref()), (false, EndStatus::Completed, Some("main")));
    let busy = house.busy();
    waits(house.add_and_wait(Some(Duration::from_millis(1))).await);
    // A stop ends what waits, and whoever waits for it.
    let waiting = house.add_and_wait(Some(PATIENCE));
    let stopped = async {
        let queued = || house.memory.told().iter().filter(|told| *told == "git.operation.queued").count();
        while queued() < 2 {
            tokio::task::yield_now().await;
        }
        house.repositories.registry.close();
        drop(busy);
    };
    let (begun, ()) = tokio::join!(waiting, stopped);
    let Json(begun) = begun.expect("has its place");
    let end = begun.end.expect("its end");
    assert_eq!((begun.queued, end.status, end.code.as_deref()), (true, EndStatus::Failed, Some("server_stopped")));
    house.settled().await;
    let codes: Vec<String> = house.ends().into_iter().map(|(_, what)| what).collect();
    assert_eq!(codes, ["git.operation.completed", "server_stopped", "server_stopped"]);
}

#[tokio::test]
async fn one_that_waits_can_be_cancelled_and_one_that_cannot_begin_at_its_turn_fails() {
    let house = House::new();
    let busy = house.busy();
    let (first, second) = (waits(house.add().await), waits(house.add().await));
    let input = Cancel { project_id: "p1".parse().expect("an id"), operation_id: first.clone() };
    house.repositories.clone().cancel("u2".parse().expect("an id"), input).await.expect("is asked");
    // Its place is free before the others have their turn.
    let Json(third) = house.add_and_wait(Some(Duration::ZERO)).await.expect("has its place");
    std::fs::remove_dir_all(house.dir.path().join("root/.git")).expect("removes");
    drop(busy);
    house.settled_by_themselves(3).await;
    let expected = [(&first, "git.operation.cancelled"), (&second, "refused"), (&third.operation_id, "refused")];
    assert_eq!(house.ends(), expected.map(|(id, what)| (id.to_string(), what.to_owned())));
    house.settled().await;
}

#[tokio::test]
async fn one_whose_place_is_not_durable_has_none_and_whoever_heard_of_it_hears_its_end() {
    for (fault, told) in [(Fault::Lost, vec![]), (Fault::Kept, vec!["git.operation.queued", "git.operation.failed"])] {
        let house = House::new();
        let busy = house.busy();
        house.fail(&[fault; 3]);
        assert!(house.add().await.is_err());
        drop(busy);
        house.settled().await;
        assert_eq!(house.memory.told(), told, "{fault:?}");
    }
}
