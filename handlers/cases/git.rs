//! The tests of the handler of git: tables of what goes in, where it goes, and who may.

use serde_json::{Value, json};
use tidings_core::Code;
use tidings_services::{
    git::{GitConfig, GitPorts},
    programs::{Programs, ProgramsConfig},
    redaction::{Redaction, RedactionConfig},
};
use tidings_testkit::Nowhere;

use super::*;

fn handler() -> GitHandler {
    let dir = tempfile::tempdir().expect("a directory");
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
    let nowhere = Arc::new(Nowhere);
    let (bus, states) = (nowhere.clone(), nowhere.clone());
    let ports = GitPorts { bus, states, roots: Arc::default(), clock: nowhere.clone(), tasks: nowhere };
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_path_buf())).expect("ready");
    GitHandler::new(Repositories::new(ports, programs, GitConfig::new(redaction)))
}

#[test]
fn reading_a_repository_needs_the_right_to_see_the_project_and_changing_it_the_right_to_command_it() {
    let on = |action| Ok(Need::On(action, "project:p1".parse().expect("a channel")));
    let (read, act, bad) = (on(Action::Subscribe), on(Action::Command), Err(Code::InvalidData));
    let table = [
        ("status", json!({}), read.clone()),
        ("status", json!({"more": 1}), bad.clone()),
        ("diff", json!({"paths": ["a"], "from": "HEAD~1", "to": "HEAD"}), read.clone()),
        ("diff", json!({"paths": ["../a"]}), bad.clone()),
        ("diff", json!({"from": "--output=/tmp/x"}), bad.clone()),
        ("log", json!({"limit": 5, "rev": "main"}), read.clone()),
        ("log", json!({"limit": 501}), bad.clone()),
        ("log", json!({"after": "main"}), bad.clone()),
        ("show", json!({"rev": "HEAD"}), read.clone()),
        ("show", json!({"rev": "HEAD:secret"}), bad.clone()),
        ("branches", json!({}), read.clone()),
        ("worktrees", json!({}), read),
        ("clone", json!({"url": "https://host/a", "depth": 1}), act.clone()),
        ("clone", json!({"url": "ext::sh -c id"}), bad.clone()),
        ("checkout", json!({"branch": "a", "create": true, "from": "HEAD"}), act.clone()),
        ("checkout", json!({"branch": "-f"}), bad.clone()),
        ("add", json!({"paths": ["."]}), act.clone()),
        ("add", json!({"paths": ["/etc/passwd"]}), bad.clone()),
        ("add", json!({"paths": ["a\u{0}b"]}), bad.clone()),
        ("add", json!({"paths": []}), bad.clone()),
        ("add", json!({"paths": ["a\tb\nc"], "waitMs": 60_000}), act.clone()),
        ("add", json!({"paths": ["a"], "waitMs": 60_001}), bad.clone()),
        ("add", json!({"paths": ["a"], "waitMs": -1}), bad.clone()),
        ("status", json!({"waitMs": 1}), bad.clone()),
        ("unstage", json!({"paths": ["a"]}), act.clone()),
        ("commit", json!({"message": "-x"}), act.clone()),
        ("commit", json!({"message": " "}), bad.clone()),
        ("stash", json!({"action": "push", "message": "m"}), act.clone()),
        ("stash", json!({"action": "burn"}), bad.clone()),
        ("fetch", json!({"remote": "origin", "prune": true}), act.clone()),
        ("fetch", json!({"remote": "https://host/a"}), bad.clone()),
        ("pull", json!({"mode": "rebase"}), act.clone()),
        ("push", json!({"remote": "--exec=id"}), bad.clone()),
        ("push", json!({"branch": "main", "setUpstream": true}), act.clone()),
        ("merge", json!({"rev": "topic"}), act.clone()),
        ("merge", json!({"rev": "-s ours"}), bad.clone()),
        ("rebase", json!({"resume": "abort"}), act.clone()),
        ("worktree_add", json!({"name": "a"}), act.clone()),
        ("worktree_add", json!({"name": "../a"}), bad.clone()),
        ("worktree_remove", json!({"name": "a", "force": true}), act.clone()),
        ("cancel", json!({"operationId": "o1"}), act.clone()),
        ("cancel", json!({}), bad),
        ("unlock", json!({}), act),
    ];
    let rows = handler().commands();
    for (name, mut input, expected) in table {
        input["projectId"] = json!("p1");
        let row = rows.iter().find(|row| row.name == format!("git.{name}")).expect("a row");
        let need = row.parse_json(&input.to_string()).and_then(|input| row.needs(&input));
        assert_eq!(need.map_err(|error| error.code()), expected, "{name} {input}");
    }
}

fn routed(event_type: &'static str, data: Value, channel: Option<&str>) -> Result<String, Code> {
    let mut event = Event::new(event_type, data);
    event.channel = channel.map(|channel| channel.parse().expect("a channel"));
    handler().route(&event).map(|route| route.home.to_string()).map_err(|error| error.code())
}

#[test]
fn every_event_goes_to_the_channel_of_its_project_which_its_data_names() {
    for row in EVENTS {
        let mut event = row.sample().expect(row.event_type);
        row.data.read(&mut event.payload).expect(row.event_type);
        assert_eq!(handler().route(&event).expect("routes").home.as_str(), "project:p1", "{}", row.event_type);
    }
    assert_eq!(routed("git.noted", json!({"projectId": "p1"}), None), Ok("project:p1".to_owned()));
    assert_eq!(routed("git.noted", json!({"projectId": "p1"}), Some("project:p2")), Err(Code::InvalidData));
    assert_eq!(routed("git.noted", json!({"projectId": "p1:2"}), None), Err(Code::InvalidData));
    assert_eq!(routed("git.noted", json!({}), Some("project:p1")), Err(Code::InvalidData));
}

#[test]
fn every_command_that_begins_an_operation_can_be_waited_for_and_no_other() {
    let rows = handler().commands();
    let begins = |row: &Command| row.status == 202 && row.name != "git.cancel";
    assert_eq!(rows.iter().filter(|row| begins(row)).count(), 13);
    for row in &rows {
        assert_eq!(row.waits, begins(row), "{}", row.name);
    }
}

#[test]
fn only_the_server_says_that_an_operation_of_its_own_runs_or_waits() {
    for event_type in [STARTED, QUEUED] {
        for hosted in [true, false] {
            let data = json!({"projectId": "p1", "operationId": "o1", "kind": "add", "hosted": hosted});
            let row = EVENTS.iter().find(|row| row.event_type == event_type).expect("a row");
            let mut event = Event::new(event_type, data);
            row.data.read(&mut event.payload).expect("fits");
            assert_eq!(handler().admit(&event).is_err(), hosted, "{event_type}");
        }
    }
}
