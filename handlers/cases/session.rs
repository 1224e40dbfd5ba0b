//! The tests of the handler of sessions: tables of what goes in, where it goes, and who may.

use serde_json::{Value, json};
use tidings_core::{Code, Payload, Timestamp};
use tidings_services::{
    programs::{Programs, ProgramsConfig},
    redaction::{Redaction, RedactionConfig},
    session::{SessionConfig, SessionPorts, Status, contract::USER_MESSAGE},
};
use tidings_testkit::Nowhere;

use super::*;

fn handler() -> SessionHandler {
    let dir = tempfile::tempdir().expect("a directory");
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
    let nowhere = Arc::new(Nowhere);
    let (bus, states) = (nowhere.clone(), nowhere.clone());
    let (roots, clock) = (Arc::default(), nowhere.clone());
    let ports = SessionPorts { bus, states, roots, clock, tasks: nowhere, surroundings: None, publishing: None };
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_path_buf())).expect("ready");
    SessionHandler::new(Sessions::new(ports, programs, SessionConfig::new(redaction)).expect("a service"))
}

#[test]
fn each_command_asks_for_what_it_needs_and_refuses_what_is_not_valid() {
    let on = |action, channel: &str| Need::On(action, channel.parse().expect("a channel"));
    let project = on(Action::Command, "project:p1");
    let execute = Need::Both(Box::new(project.clone()), Box::new(on(Action::Execute, "project:p1")));
    let (read, act) = (on(Action::Subscribe, "session:s1"), on(Action::Command, "session:s1"));
    let table = [
        ("session.start", json!({"projectId": "p1", "agent": "a", "prompt": "x"}), Ok(project.clone())),
        (
            "session.start",
            json!({"projectId": "p1", "agent": "a", "resume": "s1"}),
            Ok(Need::Both(Box::new(project.clone()), Box::new(act.clone()))),
        ),
        ("session.start", json!({"projectId": "p1", "command": ["a"]}), Ok(execute.clone())),
        ("session.start", json!({"projectId": "p1", "command": ["a"], "agent": "a"}), Ok(execute)),
        ("session.start", json!({"projectId": "p1:2", "agent": "a"}), Err(Code::InvalidData)),
        ("session.start", json!({"projectId": "p1", "command": []}), Err(Code::InvalidData)),
        ("session.start", json!({"projectId": "p1", "agent": "a", "promt": "x"}), Err(Code::InvalidData)),
        ("session.list", json!({"status": "running", "limit": 5}), Ok(Need::Login)),
        ("session.list", json!({"status": "odd"}), Err(Code::InvalidData)),
        ("session.list", json!({"limit": 201}), Err(Code::InvalidData)),
        ("session.get", json!({"sessionId": "s1"}), Ok(read.clone())),
        ("session.output", json!({"sessionId": "s1", "type": "stderr"}), Ok(read)),
        ("session.output", json!({"sessionId": "s1", "type": "stdin"}), Err(Code::InvalidData)),
        ("session.send_message", json!({"sessionId": "s1", "content": "x"}), Ok(act.clone())),
        ("session.send_message", json!({"sessionId": "s1", "content": ""}), Err(Code::InvalidData)),
        ("session.cancel_message", json!({"sessionId": "s1", "messageId": "m"}), Ok(act.clone())),
        ("session.resolve_permission", json!({"sessionId": "s1", "requestId": "r", "optionId": "a"}), Ok(act.clone())),
        ("session.resolve_permission", json!({"sessionId": "s1", "requestId": "r"}), Err(Code::InvalidData)),
        (
            "session.answer_question",
            json!({"sessionId": "s1", "requestId": "r", "answers": {"Which?": "A", "What?": ["B", "C"]}}),
            Ok(act.clone()),
        ),
        (
            "session.answer_question",
            json!({"sessionId": "s1", "requestId": "r", "decline": "no time"}),
            Ok(act.clone()),
        ),
        ("session.answer_question", json!({"sessionId": "s1", "requestId": "r"}), Err(Code::InvalidData)),
        (
            "session.answer_question",
            json!({"sessionId": "s1", "requestId": "r", "answers": {"Which?": ""}}),
            Err(Code::InvalidData),
        ),
        ("session.interrupt", json!({"sessionId": "s1"}), Ok(act.clone())),
        ("session.pause", json!({"sessionId": "s1"}), Ok(act.clone())),
        ("session.resume", json!({"sessionId": "s1"}), Ok(act.clone())),
        ("session.cancel", json!({"sessionId": "s1"}), Ok(act)),
        ("session.cancel", json!({}), Err(Code::InvalidData)),
    ];
    let rows = handler().commands();
    for (name, input, expected) in table {
        let row = rows.iter().find(|row| row.name == name).expect("a row");
        let need = row.parse_json(&input.to_string()).and_then(|input| row.needs(&input));
        assert_eq!(need.map_err(|error| error.code()), expected, "{name} {input}");
    }
}

#[test]
fn the_input_of_a_list_comes_from_a_query_as_well() {
    let rows = handler().commands();
    let row = rows.iter().find(|row| row.name == "session.list").expect("a row");
    let pairs = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        row.parse_pairs(&pairs).map(drop).map_err(|error| error.code())
    };
    assert_eq!(pairs(&[("projectId", "p1"), ("status", "completed"), ("limit", "5"), ("cursor", "s9")]), Ok(()));
    assert_eq!(pairs(&[]), Ok(()));
    assert_eq!(pairs(&[("limit", "many")]), Err(Code::InvalidData));
}

fn from_outside(event_type: &str, data: &Value, channel: Option<&str>) -> Event {
    Event {
        event_type: event_type.parse().expect("an event type"),
        payload: Payload::raw(&serde_json::value::to_raw_value(data).expect("serialises")),
        channel: channel.map(|channel| channel.parse().expect("a channel")),
        by: Some("u1".parse().expect("an id")),
        id: None,
    }
}

fn board(status: Status) -> Option<Board> {
    let project_id = "p1".parse().expect("an id");
    Some(Board { project_id, status: status.as_str(), title: "one".to_owned(), at: Timestamp(5) })
}

/// An end or a start of the service, with what its board is to show.
fn with<T: serde::de::DeserializeOwned>(put: impl FnOnce(&mut T)) -> T {
    let mut data = serde_json::from_value(json!({"sessionId": "s1", "projectId": "p1"})).expect("parses");
    put(&mut data);
    data
}

#[test]
fn every_type_goes_to_the_channel_of_its_session() {
    let table = [
        (STARTED, json!({"sessionId": "s1"})),
        (STREAM_OUTPUT, json!({"sessionId": "s1", "content": "x"})),
        (STREAM_OUTPUT, json!({"sessionId": "s1", "content": "x", "type": "stderr", "more": 1})),
        (USER_MESSAGE, json!({"sessionId": "s1", "messageId": "m"})),
        (HEARTBEAT, json!({"sessionId": "s1", "phase": "running", "elapsedMs": 1, "silentMs": 0})),
        (COMPLETED, json!({"sessionId": "s1"})),
        (COMPLETED, json!({"sessionId": "s1", "exitCode": 3})),
        (ERROR, json!({"sessionId": "s1", "message": "no"})),
        (CANCELLED, json!({"sessionId": "s1"})),
        ("session.note", json!({"sessionId": "s1", "name": "grep"})),
    ];
    for (event_type, data) in table {
        for named in [None, Some("session:s1")] {
            let route = route(&from_outside(event_type, &data, named)).expect(event_type);
            assert_eq!(route.home.as_str(), "session:s1", "{event_type}");
            assert!(route.copies.is_empty(), "{event_type}");
            assert_eq!(route.opens.is_some(), event_type == STARTED);
        }
        let elsewhere = route(&from_outside(event_type, &data, Some("session:s2"))).expect_err(event_type);
        assert_eq!(elsewhere.code(), Code::InvalidData, "{event_type}");
    }
}

#[test]
fn the_example_of_every_row_goes_to_the_channel_of_its_session() {
    for row in handler().events().iter().filter(|row| row.event_type != SESSION_SUMMARY) {
        let mut event = row.sample().expect(row.event_type);
        row.data.read(&mut event.payload).expect(row.event_type);
        assert_eq!(route(&event).expect(row.event_type).home.as_str(), "session:s1");
    }
}

#[test]
fn data_without_a_session_is_refused() {
    for data in [json!({"sessionId": "a b"}), json!({"name": "grep"}), json!(5)] {
        let error = route(&from_outside("session.note", &data, None)).expect_err("refused");
        assert_eq!(error.code(), Code::InvalidData, "{data}");
    }
}

#[test]
fn a_type_of_the_producers_own_without_an_id_goes_where_its_channel_says() {
    let at = |channel| route(&from_outside("session.note", &json!({"x": 1}), Some(channel)));
    assert_eq!(at("session:s1").expect("routes").home.as_str(), "session:s1");
    assert_eq!(at("project:p1").expect_err("refused").code(), Code::InvalidData);
    assert_eq!(at("session:s1:more").expect_err("refused").code(), Code::InvalidData);
    let number = from_outside("session.note", &json!(5), Some("session:s1"));
    assert_eq!(route(&number).expect("routes").home.as_str(), "session:s1");
}

#[test]
fn a_start_opens_the_channel_for_its_user_and_project() {
    let event = from_outside(STARTED, &json!({"sessionId": "s1", "projectId": "p1"}), None);
    let opens = route(&event).expect("routes").opens.map(|opens| (opens.owner, opens.project));
    assert_eq!(opens, Some((event.by, Some("p1".into()))));
}

#[test]
fn the_services_starts_and_ends_make_a_summary_on_the_board() {
    let started = |status| with::<Started>(|data| data.board = status);
    let completed = with::<Completed>(|data| data.board = board(Status::Completed));
    let failed = with::<Failed>(|data| data.board = board(Status::Error));
    let cancelled = with::<Cancelled>(|data| data.board = board(Status::Cancelled));
    let table = [
        (Event::new(STARTED, started(board(Status::Running))), "running"),
        (Event::new(COMPLETED, completed), "completed"),
        (Event::new(ERROR, failed), "error"),
        (Event::new(CANCELLED, cancelled), "cancelled"),
    ];
    for (event, status) in table {
        assert!(!event.payload.json().contains("board"));
        let route = route(&event).expect("routes");
        let [copy] = &route.copies[..] else { panic!("one copy for {status}") };
        assert_eq!((copy.channel.as_str(), copy.event_type), ("project:p1", SESSION_SUMMARY));
        let expected = json!({"id": "s1", "channel": "session:s1", "status": status, "title": "one", "updatedAt": "1970-01-01T00:00:00.005Z"});
        assert_eq!(serde_json::from_str::<Value>(copy.payload.json()).expect("JSON"), expected);
    }
    assert!(route(&Event::new(STARTED, started(None))).expect("routes").copies.is_empty());
}

#[test]
fn the_services_permission_requests_ask_for_a_persons_attention_and_nobody_else_can() {
    let requested = json!({
        "sessionId": "s1", "requestId": "r1", "tool": "Bash",
        "options": [{"id": "a", "label": "Allow", "kind": "allow_once"}],
    });
    let resolved = json!({"sessionId": "s1", "requestId": "r1", "decision": "withdrawn"});
    for (event_type, data) in [(agent::PERMISSION_REQUESTED, &requested), (agent::PERMISSION_RESOLVED, &resolved)] {
        assert!(route(&from_outside(event_type, data, None)).expect("routes").copies.is_empty());
    }
    let mut asks: PermissionRequested = serde_json::from_value(requested).expect("parses");
    asks.attention = Some("u7".parse().expect("an id"));
    let mut answered: PermissionResolved = serde_json::from_value(resolved).expect("parses");
    answered.attention.clone_from(&asks.attention);
    let events = [Event::new(agent::PERMISSION_REQUESTED, asks), Event::new(agent::PERMISSION_RESOLVED, answered)]
        .map(|event| route(&event));
    for (route, expected) in events.into_iter().zip([ATTENTION_REQUESTED, ATTENTION_RESOLVED]) {
        let route = route.expect("routes");
        let [copy] = &route.copies[..] else { panic!("one copy") };
        assert_eq!((copy.channel.as_str(), copy.event_type), ("user:u7", expected));
        let data = json!({"userId": "u7", "channel": "session:s1", "kind": "permission", "id": "r1"});
        assert_eq!(serde_json::from_str::<Value>(copy.payload.json()).expect("JSON"), data);
    }
}
