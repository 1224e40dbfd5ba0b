//! The tests of the handler of terminals: tables of what goes in, where it goes, and who may.

use serde_json::{Value, json};
use tidings_core::{Code, Payload, Timestamp};
use tidings_services::{
    programs::{Programs, ProgramsConfig},
    redaction::{Redaction, RedactionConfig},
    shell::{ShellConfig, ShellPorts, Status, contract::RESIZED},
};
use tidings_testkit::Nowhere;

use super::*;

fn rows() -> Vec<Command> {
    let dir = tempfile::tempdir().expect("a directory");
    let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
    let nowhere = Arc::new(Nowhere);
    let ports = ShellPorts {
        bus: nowhere.clone(),
        states: nowhere.clone(),
        roots: Arc::default(),
        audience: nowhere.clone(),
        clock: nowhere.clone(),
        tasks: nowhere,
    };
    let programs = Programs::new(ProgramsConfig::new(dir.path().to_path_buf())).expect("ready");
    ShellHandler::new(Shells::new(ports, programs, ShellConfig::new(redaction))).commands()
}

#[test]
fn each_command_asks_for_what_it_needs_and_refuses_what_is_not_valid() {
    let on = |action, channel: &str| Need::On(action, channel.parse().expect("a channel"));
    let open = Need::Both(Box::new(on(Action::Command, "project:p1")), Box::new(on(Action::Execute, "project:p1")));
    let (read, act) = (on(Action::Subscribe, "shell:terminal:t1"), on(Action::Command, "shell:terminal:t1"));
    let table = [
        ("shell.open", json!({"projectId": "p1"}), Ok(open.clone())),
        (
            "shell.open",
            json!({"projectId": "p1", "command": ["vi"], "cols": 80, "rows": 24, "env": {"A": "b"}, "cwd": "src"}),
            Ok(open),
        ),
        ("shell.open", json!({"cols": 80, "rows": 24}), Err(Code::InvalidData)),
        ("shell.open", json!({"projectId": "p1", "cols": 0}), Err(Code::InvalidData)),
        ("shell.open", json!({"projectId": "p1", "columns": 80}), Err(Code::InvalidData)),
        ("shell.open", json!({"projectId": "p1", "env": {"TIDINGS_DATA_DIR": "/"}}), Err(Code::InvalidData)),
        ("shell.input", json!({"terminalId": "t1", "data": "ls\r", "inputSeq": 1, "writer": "a"}), Ok(act.clone())),
        ("shell.input", json!({"terminalId": "t1", "data": "AA==", "encoding": "base64"}), Ok(act.clone())),
        ("shell.input", json!({"terminalId": "t1", "data": ""}), Err(Code::InvalidData)),
        ("shell.input", json!({"terminalId": "t1", "data": "x", "inputSeq": 0}), Err(Code::InvalidData)),
        ("shell.resize", json!({"terminalId": "t1", "cols": 100, "rows": 30}), Ok(act.clone())),
        ("shell.resize", json!({"terminalId": "t1", "cols": 100, "rows": 201}), Err(Code::InvalidData)),
        ("shell.close", json!({"terminalId": "t1"}), Ok(act)),
        ("shell.close", json!({"terminalId": "t1:2"}), Err(Code::InvalidData)),
        ("shell.get", json!({"terminalId": "t1"}), Ok(read)),
        ("shell.list", json!({"projectId": "p1", "status": "running", "limit": 5}), Ok(Need::Login)),
        ("shell.list", json!({"status": "open"}), Err(Code::InvalidData)),
    ];
    let rows = rows();
    for (name, input, expected) in table {
        let row = rows.iter().find(|row| row.name == name).expect("a row");
        let need = row.parse_json(&input.to_string()).and_then(|input| row.needs(&input));
        assert_eq!(need.map_err(|error| error.code()), expected, "{name} {input}");
    }
}

#[test]
fn the_input_of_a_list_comes_from_a_query_as_well() {
    let rows = rows();
    let row = rows.iter().find(|row| row.name == "shell.list").expect("a row");
    let pairs = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        row.parse_pairs(&pairs).map(drop).map_err(|error| error.code())
    };
    assert_eq!(pairs(&[("projectId", "p1"), ("status", "exited"), ("limit", "5"), ("cursor", "t9")]), Ok(()));
    assert_eq!(pairs(&[("limit", "0")]), Err(Code::InvalidData));
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

#[test]
fn every_type_goes_to_the_channel_of_its_terminal_and_nowhere_else_from_outside() {
    let table = [
        (OPENED, json!({"terminalId": "t1", "cols": 80, "rows": 24, "projectId": "p1"})),
        (OUTPUT, json!({"terminalId": "t1", "data": "\u{1b}[31mx"})),
        (RESIZED, json!({"terminalId": "t1", "cols": 1, "rows": 1})),
        (EXIT, json!({"terminalId": "t1", "code": 0})),
        (EXIT, json!({"terminalId": "t1", "code": null, "signal": 9})),
        (ERROR, json!({"terminalId": "t1", "message": "no"})),
        ("shell.bell", json!({"terminalId": "t1"})),
    ];
    for (event_type, data) in table {
        for named in [None, Some("shell:terminal:t1")] {
            let route = route(&from_outside(event_type, &data, named)).expect(event_type);
            assert_eq!(route.home.as_str(), "shell:terminal:t1", "{event_type}");
            assert!(route.copies.is_empty(), "{event_type}");
        }
        for named in ["shell:terminal:t2", "shell:t1", "shell:terminal:t1:x"] {
            assert!(route(&from_outside(event_type, &data, Some(named))).is_err(), "{event_type} in {named}");
        }
    }
}

/// Reads the data as its row does, before it is routed.
fn checked(mut event: Event) -> Result<Route> {
    let rows = [EVENTS, SHELL_SUMMARIES].concat();
    if let Some(row) = rows.iter().find(|row| row.event_type == event.event_type.as_str()) {
        row.data.read(&mut event.payload)?;
    }
    route(&event)
}

#[test]
fn what_is_not_of_its_type_is_refused() {
    let table = [
        (OPENED, json!({"terminalId": "t1"})),
        (OPENED, json!({"terminalId": "t1", "cols": 0, "rows": 24})),
        (OUTPUT, json!({"terminalId": "t1", "data": 5})),
        (OUTPUT, json!({"terminalId": "1:2", "data": "x"})),
        (RESIZED, json!({"terminalId": "t1", "cols": 501, "rows": 1})),
        ("shell.bell", json!({})),
    ];
    for (event_type, data) in table {
        let refused = checked(from_outside(event_type, &data, None)).expect_err(event_type);
        assert_eq!(refused.code(), Code::InvalidData, "{event_type} {data}");
    }
}

#[test]
fn a_start_and_each_end_of_the_service_are_copied_to_the_board_of_the_project() {
    let board = |status: Status| {
        let project_id = "p1".parse().expect("an id");
        Some(Board { project_id, status: status.as_str(), title: "sh".to_owned(), at: Timestamp(5) })
    };
    let terminal_id: TerminalId = "t1".parse().expect("an id");
    let mut opened: Opened =
        serde_json::from_value(json!({"terminalId": "t1", "cols": 80, "rows": 24})).expect("parses");
    opened.board = board(Status::Running);
    let mut exited: Exited = serde_json::from_value(json!({"terminalId": "t1"})).expect("parses");
    exited.board = board(Status::Exited);
    let failed = Failed { terminal_id, code: "x".to_owned(), message: String::new(), board: board(Status::Error) };
    let table = [
        (Event::new(OPENED, opened), "running"),
        (Event::new(EXIT, exited), "exited"),
        (Event::new(ERROR, failed), "error"),
    ];
    for (event, status) in table {
        let route = route(&event).expect("routes");
        let [copy] = &route.copies[..] else { panic!("one copy") };
        assert_eq!((copy.channel.as_str(), copy.event_type), ("project:p1", "shell.summary"));
        let summary: Value = serde_json::from_str(copy.payload.json()).expect("JSON");
        assert_eq!(
            summary,
            json!({"id": "t1", "channel": "shell:terminal:t1", "status": status, "title": "sh", "updatedAt": "1970-01-01T00:00:00.005Z"})
        );
        assert!(!event.payload.json().contains("board"));
    }
}
