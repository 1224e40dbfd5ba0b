//! Agents against the real binary: recorded ones, played as real programs, in everything that goes wrong.
//!
//! Guarantees: every program that is started here has ended with its test; whatever an agent does, its
//! session has one end, and what it began has one each.
//! They are not the tests of the adapters, which look at every step.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tidings_testkit::script;

use crate::{server::eventually, sessions::Room, watcher::Watcher};

/// The flags of a Claude Code that takes messages and asks for permissions over its pipes.
pub(crate) const CLAUDE: [&str; 7] =
    ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--permission-prompt-tool", "stdio"];

/// The section of an agent that plays a script.
pub(crate) fn agent(name: &str, adapter: &str, stdin: &str, script: &Path, flags: &[&str]) -> String {
    let mut command = vec![json!(script::player()), json!(script)];
    command.extend(flags.iter().map(|flag| json!(flag)));
    format!("[agents.{name}]\nadapter = \"{adapter}\"\nstdin = \"{stdin}\"\ncommand = {}\n", json!(command))
}

pub(crate) fn recorded(name: &str) -> PathBuf {
    script::folder().join(format!("{name}.script"))
}

pub(crate) async fn start(room: &Room, agent: &str) -> String {
    let body = json!({"projectId": room.project, "agent": agent, "prompt": "look"});
    let started = room.server.post("/api/sessions", &room.token, body).await;
    assert_eq!(started.status, 201, "{}", started.text());
    started.json()["sessionId"].as_str().expect("an id").to_owned()
}

/// The durable messages of a session.
pub(crate) async fn history(room: &Room, id: &str) -> Vec<Value> {
    let path = format!("/api/channels/session:{id}/events?after=0&limit=1000");
    let page = room.server.get(&path, &room.token).await.json();
    page["events"].as_array().expect("events").clone()
}

/// Everything that was begun has exactly one end, and the session one, as the last of what its service tells.
pub(crate) fn assert_closed(history: &[Value]) {
    let ids = |event_type: &str, field: &str| {
        let mut count: BTreeMap<String, u32> = BTreeMap::new();
        for event in history.iter().filter(|event| event["type"] == event_type) {
            *count.entry(event["data"][field].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        assert!(count.values().all(|count| *count == 1), "{event_type}: {count:?}");
        count.into_keys().collect::<Vec<_>>()
    };
    for (begun, done, id) in [
        ("session.tool_started", "session.tool_completed", "executionId"),
        ("session.subagent_started", "session.subagent_completed", "executionId"),
        ("session.permission_requested", "session.permission_resolved", "requestId"),
        ("session.question_requested", "session.question_resolved", "requestId"),
        ("session.message_queued", "session.message_dequeued", "messageId"),
    ] {
        assert_eq!(ids(begun, id), ids(done, id), "{begun}");
    }
    let ends = ["session.completed", "session.error", "session.cancelled"];
    let is_end = |event: &&Value| ends.iter().any(|end| event["type"] == *end);
    assert_eq!(history.iter().filter(is_end).count(), 1);
    assert!(history.last().is_some_and(|last| is_end(&last)), "{:?}", history.last());
}

#[tokio::test]
async fn whatever_an_agent_does_its_session_ends_once_and_says_how() {
    let table = [
        ("claude_false_success", "claude-code", "error agent_failed", "session.turn_completed"),
        ("claude_hangs", "claude-code", "completed ", "session.turn_completed"),
        ("claude_max_turns", "claude-code", "error agent_failed", "session.tool_completed"),
        ("claude_no_result", "claude-code", "error no_result", "session.message"),
        ("claude_rubbish", "claude-code", "completed ", "session.stream_output"),
        ("claude_split_message", "claude-code", "completed ", "session.message"),
        ("claude_late_block", "claude-code", "error no_result", "session.message"),
        ("claude_silence", "claude-code", "completed ", "session.message"),
        ("claude_reset", "claude-code", "completed ", "session.agent_started"),
        ("claude_background", "claude-code", "completed ", "session.subagent_completed"),
        ("codex_declined", "codex", "completed ", "session.raw"),
        ("codex_error", "codex", "error no_result", "session.turn_completed"),
        ("codex_failed", "codex", "error agent_failed", "session.tool_completed"),
        ("gemini_error", "gemini", "error agent_failed", "session.tool_completed"),
        ("gemini_whole", "gemini", "error no_result", "session.message"),
    ];
    let agents = table.map(|(name, adapter, ..)| agent(name, adapter, "close", &recorded(name), &[]));
    let room =
        Room::open(&format!("[run]\nlinger_ms = 200\nmax_per_user = 0\nmax_per_project = 0\n{}", agents.concat()))
            .await;
    let mut started = Vec::new();
    for (name, ..) in table {
        started.push(start(&room, name).await);
    }
    for ((name, _, expected, told), id) in table.iter().zip(&started) {
        let state = room.has_ended(id).await;
        let code = state["error"]["code"].as_str().unwrap_or_default();
        let history = history(&room, id).await;
        assert_eq!(format!("{} {code}", state["status"].as_str().expect("a status")), *expected, "{name}: {state}");
        assert_closed(&history);
        // Codes are for programs; why it failed is said in words.
        let message = state["error"]["message"].as_str().unwrap_or("in words");
        assert!(message != code && (message.contains(' ') || !message.contains('_')), "{name}: {message}");
        assert!(history.iter().any(|event| event["type"] == *told), "{name} tells {told}");
        assert_eq!(state["conversation"]["activity"], "idle", "{name}");
    }
}

/// A script of the test's own, in the folder of the room's server.
pub(crate) fn write_script(folder: &tempfile::TempDir, lines: &[&str]) -> PathBuf {
    let path = folder.path().join("agent.script");
    std::fs::write(&path, lines.join("\n")).expect("writes");
    path
}

pub(crate) const INIT: &str = r#"> {"type":"system","subtype":"init","session_id":"s","tools":[],"model":"m"}"#;
pub(crate) const RESULT: &str =
    r#"> {"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}"#;
pub(crate) const ASKED: &str = r#"expect {"type":"user"}"#;
const TOOL: &str = r#"> {"type":"assistant","message":{"id":"m1","role":"assistant","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"sleep 9"}}]},"session_id":"s"}"#;
pub(crate) const PERMISSION: &str = r#"> {"type":"control_request","request_id":"r1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"ls"}}}"#;
pub(crate) const PERMITTED: &str = r#"expect {"type":"control_response"}"#;

/// A room with an agent `a` that plays these lines as a Claude Code, and a session of it.
pub(crate) async fn playing(config: &str, lines: &[&str]) -> (Room, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    let script = write_script(&folder, lines);
    let room = Room::open(&format!("{config}{}", agent("a", "claude-code", "open", &script, &CLAUDE))).await;
    let id = start(&room, "a").await;
    (room, id, folder)
}

pub(crate) async fn activity_is(room: &Room, id: &str, activity: &str) {
    eventually(activity, async || room.state(id).await["conversation"]["activity"] == activity).await;
}

#[tokio::test]
async fn messages_to_a_busy_agent_wait_in_their_order_up_to_ten_and_can_be_taken_back() {
    let lines = [ASKED, INIT, PERMISSION, PERMITTED, RESULT, ASKED, RESULT, ASKED, RESULT];
    let (room, id, _folder) = playing("", &lines).await;
    activity_is(&room, &id, "waiting").await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    let mut queued = Vec::new();
    for n in 0..10 {
        let sent = json!({"sessionId": id, "content": format!("m{n}"), "clientMessageId": format!("k{n}")});
        let answer = watcher.done("session.send_message", sent).await;
        assert_eq!(answer["data"]["queued"], true);
        queued.push(answer["data"]["messageId"].clone());
    }
    let more = json!({"sessionId": id, "content": "more"});
    assert_eq!(watcher.refused("session.send_message", more).await, "overloaded");
    let other = json!({"sessionId": id, "content": "other", "clientMessageId": "k0"});
    assert_eq!(watcher.refused("session.send_message", other).await, "conflict");
    for taken in &queued[1..9] {
        watcher.done("session.cancel_message", json!({"sessionId": id, "messageId": taken})).await;
    }
    let again = json!({"sessionId": id, "messageId": queued[1]});
    assert_eq!(watcher.refused("session.cancel_message", again).await, "conflict");
    let allow = json!({"sessionId": id, "requestId": "r1", "decision": "allow_once"});
    watcher.done("session.resolve_permission", allow).await;
    let state = room.has_ended(&id).await;
    assert_eq!((&state["status"], &state["conversation"]["usage"]["turns"]), (&json!("completed"), &json!(3)));
    let history = history(&room, &id).await;
    assert_closed(&history);
    let said = history.iter().filter(|event| event["type"] == "session.user_message");
    let said: Vec<&str> = said.filter_map(|event| event["data"]["content"].as_str()).collect();
    assert_eq!(said, ["m0", "m9"]);
}

#[tokio::test]
async fn a_turn_is_interrupted_and_the_agent_stays_for_the_next_message() {
    let folder = tempfile::tempdir().expect("a directory");
    let room = Room::open(&agent("a", "claude-code", "open", &recorded("claude_interrupted"), &CLAUDE)).await;
    let id = start(&room, "a").await;
    activity_is(&room, &id, "executing").await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("session.interrupt", json!({"sessionId": id})).await;
    activity_is(&room, &id, "idle").await;
    assert_eq!(watcher.refused("session.interrupt", json!({"sessionId": id})).await, "conflict");
    watcher.done("session.send_message", json!({"sessionId": id, "content": "again"})).await;
    assert_eq!(room.has_ended(&id).await["status"], "completed");
    assert_closed(&history(&room, &id).await);
    drop(folder);
}

#[tokio::test]
async fn a_paused_agent_stands_still_and_is_not_silent_and_goes_on_where_it_was() {
    let lines = [ASKED, INIT, TOOL, "wait 50", "repeat 40", "wait 10", "! tick {{n}}", "end", RESULT, "exit 0"];
    let (room, id, _folder) = playing("[run]\nmax_silence = \"5s\"\n", &lines).await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    activity_is(&room, &id, "executing").await;
    watcher.done("session.pause", json!({"sessionId": id})).await;
    watcher.done("session.pause", json!({"sessionId": id})).await;
    let state = room.state(&id).await;
    assert_eq!((&state["paused"], &state["status"]), (&json!(true), &json!("running")));
    watcher.done("session.resume", json!({"sessionId": id})).await;
    assert_eq!(room.has_ended(&id).await["status"], "completed");
    let types = room.types(&id).await;
    let count = |wanted: &str| types.iter().filter(|it| *it == wanted).count();
    assert_eq!((count("session.paused"), count("session.resumed")), (1, 1));
}

#[tokio::test]
async fn a_paused_agent_can_be_cancelled() {
    let (room, id, _folder) = playing("", &[ASKED, INIT, TOOL, "hang"]).await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    activity_is(&room, &id, "executing").await;
    watcher.done("session.pause", json!({"sessionId": id})).await;
    watcher.done("session.cancel", json!({"sessionId": id})).await;
    assert_eq!(room.has_ended(&id).await["status"], "cancelled");
    assert_closed(&history(&room, &id).await);
    for command in ["session.pause", "session.interrupt", "session.cancel"] {
        assert_eq!(watcher.refused(command, json!({"sessionId": id})).await, "conflict", "{command}");
    }
}

#[tokio::test]
async fn an_agent_that_works_in_silence_is_ended_and_one_that_waits_for_a_person_is_not() {
    let config = "[run]\nmax_silence = \"400ms\"\nheartbeat_ms = 50\n";
    let (room, id, _folder) = playing(config, &[ASKED, INIT, PERMISSION, PERMITTED, "hang"]).await;
    activity_is(&room, &id, "waiting").await;
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!(format!("session:{id}"))).await;
    // It waits for longer than it may be silent.
    watcher
        .until("a long wait", |it| it["data"]["phase"] == "waiting" && it["data"]["elapsedMs"].as_u64() > Some(900))
        .await;
    watcher
        .done("session.resolve_permission", json!({"sessionId": id, "requestId": "r1", "decision": "reject_once"}))
        .await;
    let state = room.has_ended(&id).await;
    assert_eq!((&state["status"], &state["error"]["code"]), (&json!("error"), &json!("silent")));
    assert_closed(&history(&room, &id).await);
}

#[tokio::test]
async fn what_waits_when_the_server_is_killed_is_withdrawn_by_the_next_start_for_the_person_too() {
    let (mut room, id, _folder) = playing("", &[ASKED, INIT, TOOL, PERMISSION, PERMITTED, "hang"]).await;
    activity_is(&room, &id, "waiting").await;
    let message = json!({"sessionId": id, "content": "later"});
    let watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("session.send_message", message).await;
    room.server.kill();
    room.server.start_again();
    let state = room.has_ended(&id).await;
    assert_eq!(state["error"]["code"], "server_stopped");
    assert_eq!((&state["conversation"]["permissions"], &state["conversation"]["queue"]), (&json!([]), &json!([])));
    assert_closed(&history(&room, &id).await);
    let path = "/api/channels/user:root/events?after=0&limit=10";
    let own = room.server.get(path, &room.token).await.json();
    let types: Vec<&str> =
        own["events"].as_array().expect("events").iter().filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(types, ["user.attention_requested", "user.attention_resolved"]);
}

#[tokio::test]
async fn a_conversation_goes_on_in_a_new_session_by_the_agents_own_id() {
    let folder = tempfile::tempdir().expect("a directory");
    let script = write_script(&folder, &[INIT, RESULT]);
    let resume = json!([script::player(), script, "--resume", "{agentSessionId}"]);
    let config = format!("{}resume = {resume}\n", agent("a", "claude-code", "close", &script, &[]));
    let room = Room::open(&config).await;
    let first = start(&room, "a").await;
    assert_eq!(room.has_ended(&first).await["conversation"]["agentSessionId"], "s");
    let body = json!({"projectId": room.project, "agent": "a", "prompt": "on", "resume": first});
    let second = room.server.post("/api/sessions", &room.token, body).await;
    assert_eq!(second.status, 201, "{}", second.text());
    let id = second.json()["sessionId"].as_str().expect("an id").to_owned();
    assert_eq!(room.has_ended(&id).await["status"], "completed");
    let none = json!({"projectId": room.project, "agent": "a", "prompt": "on", "resume": "nobody"});
    let refused = room.server.post("/api/sessions", &room.token, none).await;
    assert_eq!(
        (refused.status, &refused.json()["fields"]["resume"]),
        (422, &json!("there is no such session")),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn no_secret_of_an_agent_is_in_anything_that_people_see() {
    let key = "sk-abcdefghijklmnopqrstuvwxyz012345";
    let lines = [
        ASKED,
        INIT,
        r#"> {"type":"stream_event","event":{"type":"message_start","message":{"id":"m1","role":"assistant","content":[]}},"session_id":"s"}"#,
        r#"> {"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"the key is sk-abcdefghij"}},"session_id":"s"}"#,
        r#"> {"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"klmnopqrstuvwxyz012345 and\n"}},"session_id":"s"}"#,
        PERMISSION,
        PERMITTED,
        r#"> {"type":"assistant","message":{"id":"m1","role":"assistant","content":[{"type":"text","text":"the key is KEY and\n"}]},"session_id":"s"}"#,
        r#"> {"type":"assistant","message":{"id":"m2","role":"assistant","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"curl -H 'x: KEY'"}}]},"session_id":"s"}"#,
        r#"> {"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"KEY"}]},"session_id":"s"}"#,
        r#"> {"type":"unknown","inside":["KEY"],"session_id":"s"}"#,
        "> no JSON: KEY",
        "! error: KEY",
        r#"> {"type":"result","subtype":"success","is_error":false,"result":"KEY","session_id":"s"}"#,
        "exit 0",
    ];
    let lines = lines.map(|line| line.replace("KEY", key));
    let (room, id, _folder) = playing("", &lines.each_ref().map(String::as_str)).await;
    activity_is(&room, &id, "waiting").await;
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!({"channel": format!("session:{id}"), "since": {"seq": 0}})).await;
    let mut seen = watcher.until("the text so far", |it| it["type"] == "session.text_delta").await;
    let allow = json!({"sessionId": id, "requestId": "r1", "decision": "allow_once"});
    watcher.done("session.resolve_permission", allow).await;
    seen.extend(watcher.until("the end", |it| it["type"] == "session.completed").await);
    let state = room.state(&id).await;
    let everything = json!([seen, state, history(&room, &id).await]).to_string() + &room.server.said();
    for part in [key, "sk-abcdefghij", "klmnopqrstuvwxyz"] {
        assert!(!everything.contains(part), "{part} in {everything}");
    }
    assert_eq!(state["conversation"]["turn"]["result"], "[redacted]");
    let told =
        ["session.message", "session.tool_started", "session.tool_completed", "session.raw", "session.turn_completed"];
    for event_type in told {
        let hidden = |it: &&Value| it["type"] == event_type && it["data"].to_string().contains("[redacted]");
        assert!(seen.iter().any(|it| hidden(&it)), "{event_type} says that it hides something");
    }
}
