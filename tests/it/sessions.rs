//! Sessions against the real binary: real programs, their end, and what is known of them afterwards.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of the service, which know its ports.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    server::{Server, eventually, notes},
    watcher::Watcher,
};

/// A server with a project, and somebody who may do everything there.
pub(crate) struct Room {
    pub(crate) server: Server,
    pub(crate) token: String,
    pub(crate) project: String,
    pub(crate) root: TempDir,
}

impl Room {
    pub(crate) async fn open(config: &str) -> Self {
        Self::around(Server::start(config)).await
    }

    pub(crate) async fn around(server: Server) -> Self {
        let (token, root) = (server.admin(), tempfile::tempdir().expect("a directory"));
        let made = server.post("/api/projects", &token, json!({"name": "one", "root": root.path()})).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let project = made.json()["projectId"].as_str().expect("an id").to_owned();
        Self { server, token, project, root }
    }

    fn shell(&self, line: &str) -> Value {
        json!({"projectId": self.project, "command": ["sh", "-c", line]})
    }

    /// Starts a command line: the session's id.
    pub(crate) async fn start(&self, line: &str) -> String {
        let started = self.server.post("/api/sessions", &self.token, self.shell(line)).await;
        assert_eq!(started.status, 201, "{}", started.text());
        started.json()["sessionId"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn state(&self, id: &str) -> Value {
        self.server.get(&format!("/api/sessions/{id}"), &self.token).await.json()
    }

    pub(crate) async fn has_ended(&self, id: &str) -> Value {
        eventually("the end of the session", async || !self.state(id).await["endedAt"].is_null()).await;
        self.state(id).await
    }

    pub(crate) async fn output(&self, id: &str) -> String {
        self.server.get(&format!("/api/sessions/{id}/output"), &self.token).await.text()
    }

    pub(crate) async fn prints(&self, id: &str, text: &str) {
        eventually(text, async || self.output(id).await.contains(text)).await;
    }

    /// The types of all durable messages of a session.
    pub(crate) async fn types(&self, id: &str) -> Vec<String> {
        let path = format!("/api/channels/session:{id}/events?after=0&limit=1000");
        let events = self.server.get(&path, &self.token).await.json()["events"].clone();
        let events = events.as_array().expect("events").clone();
        events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    }
}

/// Whether a process is there and is not only waiting to be buried.
pub(crate) fn is_running(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim().chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

/// Whether it is the end of a session that completed, or the summary of that.
fn is_last(message: &Value) -> bool {
    message["type"] == "session.completed" || message["data"]["status"] == "completed"
}

const ENDS: [&str; 3] = ["session.completed", "session.error", "session.cancelled"];

fn is_end(kind: &str) -> bool {
    ENDS.contains(&kind)
}

#[tokio::test]
async fn a_program_is_watched_from_its_start_over_a_message_to_its_end() {
    let room = Room::open("").await;
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!(format!("project:{}", room.project))).await;
    let line = "echo one; echo two >&2; read line; echo got $line; exit 3";
    let started = watcher.done("session.start", room.shell(line)).await;
    let (id, channel) = (started["data"]["sessionId"].clone(), started["data"]["channel"].clone());
    watcher.done("subscribe", json!({"channel": channel, "since": {"seq": 0}})).await;
    let sent = json!({"sessionId": id, "content": "hello", "clientMessageId": "m1"});
    let first = watcher.done("session.send_message", sent.clone()).await;
    assert_eq!(watcher.done("session.send_message", sent).await, first);
    // Two channels are two streams: the summary may overtake the end.
    let mut seen = watcher.until("the end or its summary", is_last).await;
    seen.extend(watcher.until("the other of them", is_last).await);
    let of_session: Vec<&Value> = seen.iter().filter(|it| it["channel"] == channel && it["seq"].is_u64()).collect();
    let text = |stream: &str| -> String {
        let of_stream = of_session.iter().filter(|it| it["data"]["type"] == stream);
        of_stream.filter_map(|it| it["data"]["content"].as_str()).collect()
    };
    assert_eq!((text("stdout").as_str(), text("stderr").as_str()), ("one\ngot hello\n", "two\n"));
    assert!(of_session.iter().zip(1u64..).all(|(it, seq)| it["seq"] == seq), "{of_session:?}");
    assert_eq!(of_session.iter().filter(|it| it["type"] == "session.user_message").count(), 1);
    let statuses: Vec<&Value> =
        seen.iter().filter(|it| it["type"] == "session.summary").map(|it| &it["data"]["status"]).collect();
    assert_eq!(statuses, ["running", "completed"]);
    let state = room.has_ended(id.as_str().expect("an id")).await;
    assert_eq!((&state["status"], &state["exitCode"]), (&json!("completed"), &json!(3)));
}

#[tokio::test]
async fn a_program_sees_no_setting_of_the_server_and_not_where_its_data_is() {
    let environment = [("TIDINGS_BUS__DEBUG", "true"), ("TMPDIR", "{data}/tmp"), ("LANG", "C.UTF-8"), ("ODD", "odd")];
    let room = Room::around(Server::start_with("[run]\nset = { GIVEN = \"given\" }\n", &environment)).await;
    let id = room.start("env; cat /proc/self/environ | tr '\\0' '\\n'; echo done").await;
    room.has_ended(&id).await;
    let output = room.output(&id).await;
    assert!(
        output.ends_with("done\n") && output.contains("LANG=C.UTF-8") && output.contains("GIVEN=given"),
        "{output}"
    );
    let data = room.server.data_dir().display().to_string();
    for hidden in ["TIDINGS", "ODD", data.as_str()] {
        assert!(!output.contains(hidden), "{hidden}: {output}");
    }
}

#[tokio::test]
async fn a_cancelled_program_ends_with_its_children_even_if_they_ignore_being_asked() {
    let room = Room::open("[run]\ngrace_ms = 300\n").await;
    let id = room.start("trap '' TERM; sh -c 'echo child=$$; exec sleep 600' & echo up=$$; wait; wait").await;
    room.prints(&id, "up=").await;
    room.prints(&id, "child=").await;
    let output = room.output(&id).await;
    let processes: Vec<&str> = output.lines().filter_map(|line| line.split_once('=')).map(|(_, id)| id).collect();
    assert!(processes.len() == 2 && processes.iter().all(|id| is_running(id)), "{output}");
    let path = format!("/api/sessions/{id}/cancel");
    assert_eq!(room.server.post(&path, &room.token, json!({})).await.status, 202);
    assert_eq!(room.has_ended(&id).await["status"], "cancelled");
    assert!(!processes.iter().any(|id| is_running(id)));
    let again = room.server.post(&path, &room.token, json!({})).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("conflict")));
    assert_eq!(room.types(&id).await.iter().filter(|kind| is_end(kind)).count(), 1);
}

#[tokio::test]
async fn what_ran_when_the_server_was_killed_is_ended_once_by_the_next_start_and_its_program_is_gone() {
    let mut room = Room::open("").await;
    let id = room.start("echo up=$$; exec sleep 600").await;
    room.prints(&id, "up=").await;
    let output = room.output(&id).await;
    let process = output.trim().strip_prefix("up=").expect("an id").to_owned();
    room.server.kill();
    assert!(is_running(&process), "the program outlives the server for now");
    room.server.start_again();
    let state = room.has_ended(&id).await;
    assert_eq!((&state["status"], &state["error"]["code"]), (&json!("error"), &json!("server_stopped")));
    assert!(!is_running(&process));
    room.server.kill();
    room.server.start_again();
    assert_eq!(room.types(&id).await.iter().filter(|kind| is_end(kind)).count(), 1);
    let board = room.server.get(&format!("/api/projects/{}", room.project), &room.token).await.json();
    assert_eq!((&board["sessions"][0]["id"], &board["sessions"][0]["status"]), (&json!(id), &json!("error")));
}

#[tokio::test]
async fn a_stop_in_order_ends_what_runs_and_says_so() {
    let mut room = Room::open("drain_ms = 500\n").await;
    let id = room.start("echo up=$$; exec sleep 600").await;
    room.prints(&id, "up=").await;
    let process = room.output(&id).await.trim().trim_start_matches("up=").to_owned();
    room.server.stop();
    assert!(!is_running(&process));
    room.server.start_again();
    let state = room.has_ended(&id).await;
    assert_eq!((&state["status"], &state["error"]["code"]), (&json!("error"), &json!("server_stopped")));
    assert_eq!(room.types(&id).await.iter().filter(|kind| is_end(kind)).count(), 1);
}

#[tokio::test]
async fn a_start_with_one_key_starts_once_also_after_a_restart() {
    let mut room = Room::open("").await;
    let mut start = room.shell("echo once");
    start["idempotencyKey"] = json!("k1");
    let (first, second) = tokio::join!(
        room.server.post("/api/sessions", &room.token, start.clone()),
        room.server.post("/api/sessions", &room.token, start.clone())
    );
    assert_eq!((first.status, second.status), (201, 201), "{} {}", first.text(), second.text());
    let id = first.json()["sessionId"].as_str().expect("an id").to_owned();
    assert_eq!(second.json()["sessionId"], json!(id));
    room.has_ended(&id).await;
    room.server.kill();
    room.server.start_again();
    let third = room.server.post("/api/sessions", &room.token, start).await;
    assert_eq!((third.status, &third.json()["sessionId"]), (201, &json!(id)), "{}", third.text());
    let list = room.server.get("/api/sessions", &room.token).await.json();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn a_field_that_is_null_and_one_that_is_left_out_are_the_same_command() {
    let room = Room::open("").await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    let start = |more: Value| {
        let mut input = room.shell("echo once");
        input["commandId"] = json!("c1");
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        input
    };
    let first = watcher.done("session.start", start(json!({}))).await;
    for same in [
        json!({"prompt": null, "agent": null, "title": null, "worktree": null, "cols": null}),
        json!({"idempotencyKey": null}),
    ] {
        assert_eq!(watcher.done("session.start", start(same.clone())).await["data"], first["data"], "{same}");
    }
    assert_eq!(watcher.refused("session.start", start(json!({"title": "another"}))).await, "conflict");
    let tree = |more: Value| {
        let mut tree = json!({"name": "w"});
        tree.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mut input = start(json!({"worktree": tree}));
        input["commandId"] = json!("c2");
        input
    };
    let second = watcher.done("session.start", tree(json!({"branch": null, "from": null}))).await;
    assert_eq!(watcher.done("session.start", tree(json!({}))).await["data"], second["data"], "also further inside");
    // Over HTTP, too, in whichever order.
    let path = format!("/api/sessions/{}/messages", first["data"]["sessionId"].as_str().expect("an id"));
    let say = |more: &str| format!("{{\"content\":\"x\",\"commandId\":\"c3\"{more}}}");
    let said =
        [say(""), say(",\"clientMessageId\":null")].map(|body| serde_json::from_str::<Value>(&body).expect("JSON"));
    let mut answers = Vec::new();
    for body in said {
        let answer = room.server.post(&path, &room.token, body).await;
        answers.push((answer.status, answer.json()["code"].clone(), answer.json()["messageId"].clone()));
    }
    assert_eq!(answers[0], answers[1]);
    for id in [first, second] {
        room.has_ended(id["data"]["sessionId"].as_str().expect("an id")).await;
    }
    let list = room.server.get("/api/sessions", &room.token).await.json();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(2), "{list}");
}

/// What the list shows of a session must be what the whole state says.
async fn all_views_agree(room: &Room, id: &str) -> Value {
    let state = room.state(id).await;
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!({"channel": format!("session:{id}"), "snapshot": true})).await;
    let snapshot = watcher.of_type("channel.snapshot").await;
    assert_eq!(snapshot["data"]["snapshot"], state);
    let list = room.server.get(&format!("/api/sessions?projectId={}", room.project), &room.token).await.json();
    let mut brief = list["sessions"][0].clone();
    let brief = brief.as_object_mut().expect("one session");
    assert_eq!((&brief["id"], &brief["channel"]), (&json!(id), &json!(format!("session:{id}"))));
    for field in ["status", "projectId", "title", "startedAt", "endedAt", "updatedAt"] {
        assert_eq!(brief.get(field).unwrap_or(&Value::Null), &state[field], "{field}: {brief:?}");
    }
    state
}

#[tokio::test]
async fn the_state_is_the_same_however_it_is_asked_for_also_after_trimming_and_a_restart() {
    let mut room = Room::open("[retention.session]\nmessages = 20\n").await;
    let id = room.start("echo out; echo err >&2; exit 7").await;
    room.has_ended(&id).await;
    let before = all_views_agree(&room, &id).await;
    assert_eq!(before["exitCode"], 7);
    for _ in 0..5 {
        room.server.publish(&room.token, notes(&id, 1..=100)).await;
    }
    let page = format!("/api/channels/session:{id}/events?limit=1");
    let trimmed = async || room.server.get(&page, &room.token).await.json()["first"].as_u64() > Some(100);
    eventually("trimming", trimmed).await;
    let after = all_views_agree(&room, &id).await;
    for field in ["status", "exitCode", "transcript", "title", "startedAt", "endedAt", "prompt", "command"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(after["counts"]["messages"].as_u64(), before["counts"]["messages"].as_u64().map(|count| count + 500));
    room.server.kill();
    room.server.start_again();
    assert_eq!(all_views_agree(&room, &id).await, after);
}

#[tokio::test]
async fn the_output_is_plain_text_with_its_secrets_taken_out() {
    let room = Room::open("[redaction]\npatterns = [\"hush-[0-9]+\"]\n").await;
    let key = "sk-abcdefghijklmnopqrstuvwxyz012345";
    let line = format!(
        "echo key {key} end; printf 'split '; printf 'hush-12'; printf '34'; echo; echo 'héllo €' >&2; echo last"
    );
    let id = room.start(&line).await;
    let state = room.has_ended(&id).await;
    let output = room.output(&id).await;
    assert!(output.contains("key [redacted] end\n") && output.contains("split [redacted]\n"), "{output}");
    let errors = room.server.get(&format!("/api/sessions/{id}/output?type=stderr"), &room.token).await;
    assert_eq!(errors.text(), "héllo €\n");
    assert!(errors.headers["content-type"].to_str().expect("text").starts_with("text/plain"));
    let history = room.server.get(&format!("/api/channels/session:{id}/events"), &room.token).await.text();
    let everything = [output, state.to_string(), history, room.server.said()].concat();
    assert!(!everything.contains(key) && !everything.contains("hush-12"), "{everything}");
}

#[tokio::test]
async fn a_configured_agent_gets_its_prompt_and_needs_no_right_to_execute() {
    let config = "[agents.arg]\ncommand = [\"printf\", \"%s\", \"{prompt}\"]\n\
                  [agents.input]\ncommand = [\"cat\"]\nstdin = \"close\"\n";
    let room = Room::open(config).await;
    let token = room.server.token("ada", &["--role", "operator"]);
    for agent in ["arg", "input"] {
        let body = json!({"projectId": room.project, "agent": agent, "prompt": "$(id) -- \"x\""});
        let started = room.server.post("/api/sessions", &token, body).await;
        assert_eq!(started.status, 201, "{}", started.text());
        let id = started.json()["sessionId"].as_str().expect("an id").to_owned();
        assert_eq!(room.has_ended(&id).await["status"], "completed");
        assert_eq!(room.output(&id).await.trim_end(), "$(id) -- \"x\"");
    }
    let refused = room.server.post("/api/sessions", &token, room.shell("echo no")).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("forbidden")));
    let unknown = json!({"projectId": room.project, "agent": "nobody"});
    let unknown = room.server.post("/api/sessions", &token, unknown).await;
    assert!((400..500).contains(&unknown.status), "{}", unknown.text());
}
