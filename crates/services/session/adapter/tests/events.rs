//! Tests of the adapter of programs that print events.

use serde_json::{Value, json};

use super::{
    super::{Activity, Step, make},
    ledger::Ledger,
    play::{Play, Say, assert_steps, brief, context, play},
    surprises::Parts,
};
use crate::session::AdapterKind::Events;

/// Lines for surprises.
pub(super) fn lines(parts: Parts) -> Vec<Value> {
    let Parts { id, index, word, parent, any, block, .. } = parts;
    let event = |kind: &str, data: Value| json!({ "type": format!("session.{kind}"), "data": data });
    let plain = |kind: &str, data: Value| json!({ "type": kind, "data": data });
    let options = json!([{ "id": "y", "label": word, "kind": "allow_once" }]);
    let questions = json!([{ "question": word, "options": [{ "label": word }], "multiple": index == 0 }]);
    vec![
        event("agent_started", json!({ "agentSessionId": id, "tools": [word], "more": any })),
        event("text_delta", json!({ "messageId": id, "block": index, "offset": 9, "text": word })),
        event("thinking_delta", json!({ "block": index, "text": word, "parentExecutionId": parent })),
        event("message", json!({ "messageId": id, "blocks": [{ "type": block, "text": word }] })),
        event("message", json!({ "role": "user", "blocks": [{ "type": "text", "text": word }] })),
        event("tool_started", json!({ "executionId": id, "name": word, "input": any, "parentExecutionId": parent })),
        event("tool_completed", json!({ "executionId": id, "status": "success", "output": any })),
        event("subagent_started", json!({ "executionId": id, "subagentType": word })),
        event("subagent_completed", json!({ "executionId": id, "status": "error" })),
        event("permission_requested", json!({ "requestId": id, "tool": word, "input": any, "options": options })),
        event("permission_resolved", json!({ "requestId": id, "decision": "withdrawn" })),
        event("question_requested", json!({ "requestId": id, "questions": questions })),
        event("question_resolved", json!({ "requestId": id, "decision": "withdrawn" })),
        event("progress", json!({ "current": index, "total": 2, "steps": any })),
        event("usage", json!({ "inputTokens": any })),
        event("turn_completed", json!({ "status": "success", "result": word })),
        event("raw", json!({ "data": any })),
        event("stream_output", json!({ "content": word, "type": "stderr" })),
        event("completed", json!({ "exitCode": 0 })),
        plain("thought", json!({ "text": word })),
        plain("tool_use", json!({ "name": word, "input": any, "id": parent })),
        plain("tool_result", json!({ "tool_use_id": id, "status": word })),
        plain("session_start", json!({ "iteration": index, "type": word })),
        plain("progress", json!({ "passing": index, "total": 1 })),
        plain("error", json!({ "message": word })),
        plain("complete", json!({ "project_dir": word })),
        plain("stream_chunk", json!({ "chunk_type": "text", "data": word, "iteration": index })),
        plain("stream_chunk", json!({ "chunk_type": "tool_start", "data": { "name": word, "id": id } })),
        plain("stream_chunk", json!({ "chunk_type": word, "data": any })),
        plain("subprocess_start", json!({ "subagent_type": word })),
        plain("subprocess_complete", json!({ "subagent_type": word, "duration": 3 })),
        plain("app.noted", any),
    ]
}

#[test]
fn a_turn_of_a_program_that_prints_events_is_told_whole_and_answered_in_events() {
    let says = [Say::Prompt("look"), Say::Answer("allow", None), Say::Reply(&[1]), Say::Message("again")];
    assert_steps(
        &play(Events, "events_turn", &says),
        &[
            "agent own-1 small-1 1.0 1",
            r#"thinking m1.0+0 "Look ""#,
            r#"thinking m1.0+5 "first.""#,
            r#"text m1.1+0 "I will ""#,
            r#"message m1.0 assistant [{"text":"Look first.","type":"thinking"}]"#,
            r#"message m1.1 assistant [{"text":"I will look.","type":"text"}]"#,
            "progress 1/2 Read Completed, Write InProgress",
            r#"tool t1 Read {"path":"a.txt"}"#,
            r#"done t1 Success "hello" code 0"#,
            r#"tool t2 helper {"description":"Review"}"#,
            r#"subagent t2 Some("helper") Some("Review")"#,
            "subagent done t2 Success",
            "done t2 Success null",
            r#"asks r1 Write {"path":"a.txt"} allow/reject None"#,
            r#"resolved r1 Allowed Some("allow")"#,
            "question q1 Which?",
            "question done q1 Answered",
            "usage 10 5 0 0 None",
            r#"output "not an event\n""#,
            r#"raw events {"type":"odd","x":1}"#,
            r#"turn Success None Some("done") None"#,
            r#"message m2.0 assistant [{"text":"Again.","type":"text"}]"#,
            r#"turn Success None Some("Again.") None"#,
        ],
    );
}

#[test]
fn the_words_of_programs_from_before_are_understood_as_they_stand() {
    assert_steps(
        &play(Events, "events_plain", &[Say::Prompt("look")]),
        &[
            "agent - - - 0",
            r#"output "Starting\n""#,
            r#"message message-1.0 assistant [{"text":"I read the list.","type":"text"}]"#,
            r#"tool tool-1 Bash {"command":"ls"}"#,
            "done tool-1 Blocked null",
            "progress 3/10 ",
            r#"text message-2.0+0 "Next ""#,
            r#"text message-2.0+5 "is login.""#,
            r#"message message-2.0 assistant [{"text":"Next is login.","type":"text"}]"#,
            r#"tool toolu_1 Edit {"file":"a"}"#,
            "done toolu_1 Success null",
            r#"tool subagent-2 Explore {"description":"Exploring the code"}"#,
            r#"subagent subagent-2 Some("Explore") Some("Exploring the code")"#,
            "subagent done subagent-2 Success",
            "done subagent-2 Success null",
            "agent - - - 0",
            r#"output "One test fails\n""#,
            r#"raw events {"data":{"running":true},"timestamp":1734700000.5,"type":"status"}"#,
            r#"turn Success None Some("Next is login.") None"#,
            r#"raw events {"data":{"project_dir":"/w"},"timestamp":1734700000.5,"type":"complete"}"#,
        ],
    );
}

/// The steps of one line to a program that was asked something.
fn one(line: &Value) -> Vec<String> {
    let mut play = Play::new(Events, context(&[]), &[Say::Prompt("look")]);
    play.adapter.line(&line.to_string()).iter().map(brief).collect()
}

#[test]
fn what_a_program_may_not_tell_is_refused_and_told_and_the_line_is_kept() {
    let table = [
        (json!({"type": "session.completed", "data": {"exitCode": 0}}), "no event that a program may tell"),
        (json!({"type": "session.progress", "data": {"current": 3, "total": 2}}), "current is at most total"),
        (json!({"type": "session.progress", "data": 5}), "data: an object"),
        (json!({"type": "session.progress"}), "data: an object"),
        (json!({"type": "session.usage", "data": {"sessionId": "s2"}}), "tells of its own session"),
        (json!({"type": "session.tool_completed", "data": {"executionId": "t", "status": "success"}}), "no such call"),
        (
            json!({"type": "session.permission_resolved", "data": {"requestId": "r", "decision": "allowed"}}),
            "only withdraw",
        ),
        (json!({"type": "session.stream_output", "data": {"type": "system", "content": "x"}}), "only the server"),
        (json!({"type": "progress", "data": {"passing": 3, "total": 2}}), "passing at most total"),
        (json!({"type": "app.", "data": {}}), "event type"),
        (json!({"type": "app.noted", "data": 5}), "data: an object"),
        (json!({"type": "app.noted", "channel": "a b", "data": {}}), "channel"),
    ];
    for (line, why) in table {
        let steps = one(&line);
        let [raw, told] = &steps[..] else { panic!("{line}: {steps:?}") };
        assert!(raw.starts_with("raw events {"), "{raw}");
        assert!(told.starts_with("output \"refused: ") && told.contains(why), "{line}: {told}");
    }
    let asks = json!({"type": "session.question_requested", "data": {"requestId": "q", "questions": []}});
    let steps = one(&asks);
    assert!(steps[0].starts_with("write ") && steps[0].contains("withdrawn"), "it is not left waiting: {steps:?}");
    let more = json!({"type": "session.usage", "data": {"inputTokens": 1, "joules": 7}});
    assert!(one(&more).last().is_some_and(|raw| raw.contains("joules")), "what has no place is kept");
    let publishes = json!({"type": "app.noted", "id": "n1", "channel": "app:1", "data": {"a": 1}});
    assert_eq!(one(&publishes), [r#"publish app.noted {"a":1}"#]);
}

#[test]
fn a_program_that_fails_in_its_turn_says_so_and_one_that_tells_no_turns_may_just_end() {
    let ends = |lines: &[Value]| {
        let mut adapter = make(Events, context(&[])).expect("an adapter");
        let mut ledger = Ledger::default();
        ledger.enter(&adapter.started(Some("go"), true));
        for line in lines {
            ledger.enter(&adapter.line(&line.to_string()));
        }
        assert_eq!(adapter.activity() == Activity::Idle, lines.last().is_some_and(|it| it["type"] == "complete"));
        let steps = adapter.ended();
        ledger.enter(&steps);
        ledger.close();
        steps.iter().filter(|step| matches!(step, Step::TurnCompleted(_))).map(brief).collect::<Vec<_>>()
    };
    let error = json!({"type": "error", "data": {"message": "no network"}});
    let complete = json!({"type": "complete", "data": {}});
    let thought = json!({"type": "thought", "data": {"text": "x"}});
    assert_eq!(ends(std::slice::from_ref(&thought)), Vec::<String>::new());
    assert_eq!(ends(std::slice::from_ref(&error)), [r#"turn Error Some("error") Some("no network") None"#]);
    assert_eq!(ends(&[error, complete]), Vec::<String>::new(), "it went on to its end");
    assert_eq!(ends(&[json!({"type": "heartbeat", "data": {"phase": "coding"}})]), Vec::<String>::new());
}
