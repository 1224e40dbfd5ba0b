//! The tests of the handler of workflows: tables of what goes in, where it goes, and who may.

use serde_json::{Value, json};
use tidings_core::{
    BoxFuture, Code, Principal, Timestamp,
    command::{Answer, Calls},
};
use tidings_services::{
    programs::{Programs, ProgramsConfig},
    redaction::{Redaction, RedactionConfig},
    workflow::{Limits, RunPorts, RunStatus, Users, WorkflowConfig},
};
use tidings_testkit::Nowhere;

use super::*;

/// Nobody who is asked, and nobody who is known.
struct Nobody;

impl Calls for Nobody {
    fn call(&self, _: Principal, _: &str, _: Box<serde_json::value::RawValue>) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(std::future::ready(Err(Error::not_found())))
    }
}

impl Users for Nobody {
    fn principal(&self, _: &UserId) -> BoxFuture<'_, Result<Principal>> {
        Box::pin(std::future::ready(Err(Error::not_found())))
    }

    fn stands(&self, _: &Principal) -> bool {
        false
    }

    fn may(&self, _: &Principal, _: Action, _: &ProjectId) -> BoxFuture<'_, Result<bool>> {
        Box::pin(std::future::ready(Ok(false)))
    }
}

fn rows() -> Vec<Command> {
    let dir = tempfile::tempdir().expect("a directory");
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
    let nowhere = Arc::new(Nowhere);
    let (bus, states) = (nowhere.clone(), nowhere.clone());
    let (calls, users) = (Arc::new(Nobody), Arc::new(Nobody));
    let (roots, clock) = (Arc::default(), nowhere.clone());
    let ports = RunPorts { bus, states, roots, calls, users, clock, tasks: nowhere };
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_path_buf())).expect("ready");
    let config = WorkflowConfig { limits: Limits::default(), agents: Default::default(), redaction };
    WorkflowHandler::new(Runs::new(ports, programs, config)).commands()
}

#[test]
fn each_command_asks_for_what_it_needs_and_refuses_what_is_not_valid() {
    let on = |action, channel: &str| Need::On(action, channel.parse().expect("a channel"));
    let project = on(Action::Command, "project:p1");
    let (read, act) = (on(Action::Subscribe, "workflow:run:r1"), on(Action::Command, "workflow:run:r1"));
    let table = [
        ("workflow.run.start", json!({"projectId": "p1", "definition": "steps: 1"}), Ok(project.clone())),
        ("workflow.run.start", json!({"projectId": "p1", "definition": {"steps": 1}}), Ok(project.clone())),
        ("workflow.run.start", json!({"projectId": "p1", "file": "a.yml", "inputs": {"a": 1}}), Ok(project.clone())),
        ("workflow.run.start", json!({"projectId": "p1", "definition": 5}), Err(Code::InvalidData)),
        ("workflow.run.start", json!({"projectId": "p1", "inputs": {"a": [1]}}), Err(Code::InvalidData)),
        ("workflow.run.start", json!({"projectId": "p1:2"}), Err(Code::InvalidData)),
        ("workflow.validate", json!({"projectId": "p1", "file": "a.yml"}), Ok(project)),
        ("workflow.run.list", json!({"status": "waiting", "limit": 5}), Ok(Need::Login)),
        ("workflow.run.list", json!({"status": "odd"}), Err(Code::InvalidData)),
        ("workflow.run.get", json!({"runId": "r1"}), Ok(read.clone())),
        ("workflow.run.output", json!({"runId": "r1", "stepId": "a", "attempt": 1}), Ok(read)),
        ("workflow.run.cancel", json!({"runId": "r1"}), Ok(act.clone())),
        ("workflow.run.cancel", json!({}), Err(Code::InvalidData)),
        ("workflow.run.rerun", json!({"runId": "r1", "from": "a"}), Ok(act.clone())),
        ("workflow.run.approve", json!({"runId": "r1", "stepId": "a", "decision": "approved"}), Ok(act)),
        ("workflow.run.approve", json!({"runId": "r1", "stepId": "a", "decision": "maybe"}), Err(Code::InvalidData)),
    ];
    let rows = rows();
    for (name, input, expected) in table {
        let row = rows.iter().find(|row| row.name == name).expect("a row");
        let need = row.parse_json(&input.to_string()).and_then(|input| row.needs(&input));
        assert_eq!(need.map_err(|error| error.code()), expected, "{name} {input}");
    }
}

#[test]
fn every_event_goes_to_the_channel_of_its_run_and_the_start_opens_it() {
    for row in EVENTS {
        let mut event = row.sample().expect("an example");
        row.data.read(&mut event.payload).expect("the example is of its type");
        event.by = "u1".parse().ok();
        let routed = route(&event).expect("routes");
        assert_eq!(routed.home.as_str(), "workflow:run:r1", "{}", row.event_type);
        let opens = routed.opens.map(|opens| (opens.owner, opens.project));
        let expected = (row.event_type == STARTED).then(|| ("u1".parse().ok(), Some("p1".into())));
        assert_eq!(opens, expected, "{}", row.event_type);
        assert!(routed.copies.is_empty(), "nobody outside writes to a board or asks for attention");
    }
}

#[test]
fn an_event_that_names_no_run_or_two_is_refused() {
    let table = [
        (json!({"runId": "r1"}), Some("workflow:run:r1"), Ok("workflow:run:r1")),
        (json!({}), Some("workflow:run:r1"), Ok("workflow:run:r1")),
        (json!({"runId": "r1"}), Some("workflow:run:r2"), Err(Code::InvalidData)),
        (json!({"runId": "r1:2"}), None, Err(Code::InvalidData)),
        (json!({}), None, Err(Code::InvalidData)),
        (json!({}), Some("workflow:r1"), Err(Code::InvalidData)),
        (json!({}), Some("session:1"), Err(Code::InvalidData)),
    ];
    for (data, channel, expected) in table {
        let mut event = Event::new("workflow.run.noted", data.clone());
        event.channel = channel.map(|channel| channel.parse().expect("a channel"));
        let routed = route(&event).map(|route| route.home.to_string()).map_err(|error| error.code());
        assert_eq!(routed, expected.map(str::to_owned), "{data} {channel:?}");
    }
    assert_eq!(channel(&"r1".parse().expect("an id")).id(), "r1");
}

#[test]
fn the_service_writes_to_the_board_and_asks_for_attention() {
    let (run_id, step_id): (RunId, _) = ("r1".parse().expect("an id"), "ask".to_owned());
    let board = Some(Board {
        project_id: "p1".parse().expect("an id"),
        status: RunStatus::Waiting.as_str(),
        title: "one".into(),
        at: Timestamp(5),
    });
    let updated =
        RunUpdated { run_id: run_id.clone(), status: RunStatus::Waiting, progress: Default::default(), board };
    let waiting = StepWaiting { run_id, step_id, message: "go on?".into(), attention: "u7".parse().ok() };
    let summary = json!({"id": "r1", "channel": "workflow:run:r1", "status": "waiting", "title": "one", "updatedAt": "1970-01-01T00:00:00.005Z"});
    let attention = json!({"userId": "u7", "channel": "workflow:run:r1", "kind": "approval", "id": "ask"});
    for (event, channel, event_type, data) in [
        (Event::new(UPDATED, updated), "project:p1", WORKFLOW_RUN_SUMMARY, summary),
        (Event::new(STEP_WAITING, waiting), "user:u7", ATTENTION_REQUESTED, attention),
    ] {
        let json = event.payload.json();
        assert!(!json.contains("board") && !json.contains("attention"), "{json}");
        let routed = route(&event).expect("routes");
        let [copy] = &routed.copies[..] else { panic!("one copy") };
        assert_eq!((copy.channel.as_str(), copy.event_type), (channel, event_type));
        assert_eq!(serde_json::from_str::<Value>(copy.payload.json()).expect("JSON"), data);
    }
}
