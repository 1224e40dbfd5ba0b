//! The start after a stop, where something that a run needs cannot be read.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::value::RawValue;
use tidings_core::{
    Action, BoxFuture, Code, Error, Message, Principal, Result, Timestamp, UserId,
    command::{Answer, Calls},
    projection::{Fold, ListStates, States, View},
};
use tidings_testkit::{Nowhere, TestTasks};

use crate::{
    programs::{Programs, ProgramsConfig},
    project::ProjectId,
    redaction::{Redaction, RedactionConfig},
    workflow::{Limits, RunPorts, RunReducer, Runs, Users, WorkflowConfig, contract},
};

/// One open run, whose user or whose project cannot be read.
struct Unread {
    user: AtomicBool,
    project: AtomicBool,
}

fn broken<T>() -> Result<T> {
    Err(Error::unavailable("the disk gives nothing"))
}

fn open_run() -> View {
    let started = contract::EVENTS.iter().find(|row| row.event_type == contract::STARTED).expect("a row");
    let event = started.sample().expect("an example").by(Some("u1".parse().expect("an id")));
    let mut state = Fold::<RunReducer>::projection().start();
    state.apply(&Message::new("workflow:w1".parse().expect("a channel"), Some(1), Timestamp(0), event));
    View { id: "w1".into(), owner: None, project: None, seq: 1, updated_at: Timestamp(0), state: state.into() }
}

impl States for Unread {
    fn get(&self, domain: &'static str, _id: &str) -> BoxFuture<'_, Result<Option<View>>> {
        assert_eq!(domain, "project");
        let found = if self.project.load(Ordering::SeqCst) { broken() } else { Ok(None) };
        Box::pin(async { found })
    }
    fn list(&self, _domain: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        let first = query.below.is_none();
        Box::pin(async move { Ok(first.then(open_run).into_iter().collect()) })
    }
    fn messages(&self, _: &'static str, _: &str, _: u64, _: usize) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        Box::pin(async { broken() })
    }
}

impl Users for Unread {
    fn principal(&self, user: &UserId) -> BoxFuture<'_, Result<Principal>> {
        let found = if self.user.load(Ordering::SeqCst) {
            broken()
        } else {
            Ok(Principal::new(user.clone(), Vec::new(), Vec::new()))
        };
        Box::pin(async { found })
    }
    fn stands(&self, _: &Principal) -> bool {
        true
    }
    fn may(&self, _: &Principal, _: Action, _: &ProjectId) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { broken() })
    }
}

impl Calls for Unread {
    fn call(&self, _: Principal, _: &str, _: Box<RawValue>) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(async { broken() })
    }
}

#[tokio::test]
async fn a_run_is_not_ended_because_its_user_or_its_project_cannot_be_read_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_owned())).expect("programs");
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
    for (user, project) in [(true, false), (false, true)] {
        let unread = Arc::new(Unread { user: user.into(), project: project.into() });
        let tasks = TestTasks::new();
        let ports = RunPorts {
            bus: Arc::new(Nowhere),
            states: unread.clone(),
            roots: Arc::default(),
            calls: unread.clone(),
            users: unread.clone(),
            clock: Arc::new(Nowhere),
            tasks: tasks.clone(),
        };
        let config =
            WorkflowConfig { limits: Limits::default(), agents: BTreeSet::new(), redaction: redaction.clone() };
        let runs = Runs::new(ports, programs.clone(), config);
        assert_eq!(runs.recover().await.expect_err("the start waits for the disk").code(), Code::Unavailable);
        assert!(tasks.running().is_empty(), "and nothing of the run was begun");
        tasks.stop().await;
    }
}
