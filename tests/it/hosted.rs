//! What a producer outside may say of what this server runs itself: with `ingest`, and nothing else.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of what producers say of their own things, which is all of it.

use serde_json::{Value, json};

use crate::{
    server::{Server, eventually},
    sessions::Room,
};

/// A producer that may ingest everywhere and do nothing else.
fn producer(server: &Server) -> String {
    server.token("producer", &["--grant", "*=ingest"])
}

/// A server on which one of each kind runs: a session, a terminal, a run that waits for an answer; and an operation
/// of git that has ended.
struct Hosting {
    room: Room,
    producer: String,
    session: String,
    terminal: String,
    run: String,
    operation: String,
}

/// What only the server says of a session that it runs.
fn of_a_session() -> Vec<(&'static str, Value)> {
    vec![
        ("session.started", json!({})),
        ("session.stream_output", json!({"type": "stdout", "content": "forged", "offset": 0})),
        ("session.user_message", json!({"content": "x"})),
        ("session.message_queued", json!({"messageId": "m", "content": "x"})),
        ("session.message_dequeued", json!({"messageId": "m", "reason": "sent"})),
        ("session.paused", json!({})),
        ("session.resumed", json!({})),
        ("session.terminal_opened", json!({"terminalId": "t"})),
        ("session.heartbeat", json!({"phase": "working", "elapsedMs": 1, "silentMs": 1})),
        (
            "session.permission_requested",
            json!({"requestId": "r", "tool": "Bash", "input": {}, "options": [{"id": "allow", "label": "Allow", "kind": "allow_once"}]}),
        ),
        ("session.permission_resolved", json!({"requestId": "r", "decision": "allowed", "optionId": "allow"})),
        ("session.turn_completed", json!({"status": "success", "result": "forged"})),
        ("session.completed", json!({"exitCode": 0})),
        ("session.error", json!({"code": "x", "message": "y"})),
        ("session.cancelled", json!({})),
    ]
}

impl Hosting {
    async fn open() -> Self {
        let room = Room::open("").await;
        let git = ["git", "init", "-q", "-b", "main"];
        let made = std::process::Command::new(git[0]).current_dir(room.root.path()).args(&git[1..]).status();
        assert!(made.expect("git runs").success());
        std::fs::write(room.root.path().join("file"), "x").expect("writes");
        let post = async |path: &str, mut body: Value, id: &str| {
            body["projectId"] = json!(room.project);
            let made = room.server.post(path, &room.token, body).await;
            assert!((200..300).contains(&made.status), "{path}: {}", made.text());
            made.json()[id].as_str().expect("an id").to_owned()
        };
        let session = room.start("read line").await;
        let terminal = post("/api/shells", json!({"command": ["cat"]}), "terminalId").await;
        let steps = json!({"ask": {"approval": {"message": "deploy?"}},
            "deploy": {"needs": "ask", "command": ["touch", "deployed"]}});
        let run = post("/api/workflows/runs", json!({"definition": {"steps": steps}}), "runId").await;
        let operation =
            post(&format!("/api/projects/{}/git/add", room.project), json!({"paths": ["file"]}), "operationId").await;
        let producer = producer(&room.server);
        let house = Self { room, producer, session, terminal, run, operation };
        house.waits().await;
        house
    }

    async fn run(&self) -> Value {
        self.room.server.get(&format!("/api/workflows/runs/{}", self.run), &self.room.token).await.json()
    }

    /// Waits until the run asks.
    async fn waits(&self) {
        eventually("the question", async || self.run().await["steps"][0]["status"] == "waiting").await;
    }

    /// Everything that only the server says of what it runs.
    fn told_by_the_server_alone(&self) -> Vec<Value> {
        let of = |id: &'static str, value: &str, rows: &[(&str, Value)]| -> Vec<Value> {
            let event = |(kind, data): &(&str, Value)| {
                let mut data = data.clone();
                data[id] = json!(value);
                json!({"type": kind, "data": data})
            };
            rows.iter().map(event).collect()
        };
        let terminal = [
            ("shell.opened", json!({"cols": 80, "rows": 24})),
            ("shell.output", json!({"data": "forged", "offset": 0})),
            ("shell.resized", json!({"cols": 1, "rows": 1})),
            ("shell.exit", json!({"code": 0, "signal": null, "reason": "exited"})),
            ("shell.error", json!({"code": "x", "message": "y"})),
        ];
        let step = |more: Value| {
            let mut data = json!({"stepId": "ask", "attempt": 1});
            data.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            data
        };
        let progress = json!({"current": 1, "total": 1, "percentage": 100.0});
        let run = [
            ("workflow.run.updated", json!({"status": "cancelling", "progress": progress})),
            ("workflow.run.completed", json!({"durationMs": 1})),
            ("workflow.run.failed", json!({"code": "x", "message": "y"})),
            ("workflow.run.cancelled", json!({"durationMs": 1})),
            ("workflow.run.step.started", step(json!({}))),
            ("workflow.run.step.session", step(json!({"sessionId": "s"}))),
            ("workflow.run.step.output", step(json!({"type": "stdout", "content": "forged", "offset": 0}))),
            ("workflow.run.step.progress", step(json!({"progress": progress}))),
            ("workflow.run.step.waiting", step(json!({"message": "x"}))),
            ("workflow.run.step.completed", step(json!({}))),
            ("workflow.run.step.failed", step(json!({"code": "x", "message": "y"}))),
            ("workflow.run.step.skipped", step(json!({"reason": "needs"}))),
            ("workflow.run.step.cancelled", step(json!({}))),
        ];
        let named = |more: Value| {
            let mut data = json!({"projectId": self.room.project, "kind": "add"});
            data.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            data
        };
        let operation = [
            ("git.operation.queued", named(json!({}))),
            ("git.operation.started", named(json!({}))),
            (
                "git.operation.progress",
                named(json!({"progress": {"phase": "x", "current": 1, "total": 1, "percentage": 100}})),
            ),
            ("git.operation.completed", named(json!({"head": null, "branch": null}))),
            ("git.operation.failed", named(json!({"code": "x", "message": "y"}))),
            ("git.operation.cancelled", named(json!({}))),
        ];
        [
            of("sessionId", &self.session, &of_a_session()),
            of("terminalId", &self.terminal, &terminal),
            of("runId", &self.run, &run),
            of("operationId", &self.operation, &operation),
        ]
        .concat()
    }

    /// How many messages each channel has had; of the project's, which has summaries of all that goes on, those of git.
    async fn heads(&self) -> Vec<Value> {
        let path = format!("/api/channels/project:{}/events?after=0&limit=1000", self.room.project);
        let events = self.room.server.get(&path, &self.room.token).await.json()["events"].clone();
        let is_gits = |event: &&Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("git.operation."));
        let mut heads = vec![json!(events.as_array().expect("events").iter().filter(is_gits).count())];
        for channel in [
            format!("session:{}", self.session),
            format!("shell:terminal:{}", self.terminal),
            format!("workflow:run:{}", self.run),
        ] {
            let path = format!("/api/channels/{channel}/events?limit=1");
            heads.push(self.room.server.get(&path, &self.room.token).await.json()["head"].clone());
        }
        heads
    }

    /// Every one of those is refused to the producer and to the administrator alike, also beside what may be said.
    async fn refuses_them_all(&self) {
        let server = &self.room.server;
        let heads = self.heads().await;
        for event in self.told_by_the_server_alone() {
            let also = json!({"type": "session.message", "data": {"sessionId": self.session, "messageId": "m", "role": "assistant", "blocks": []}});
            for (who, body) in [
                (&self.producer, event.clone()),
                (&self.room.token, event.clone()),
                (&self.producer, json!([also, event])),
            ] {
                let answer = server.post("/api/events", who, body).await;
                assert_eq!(
                    (answer.status, &answer.json()["code"]),
                    (403, &json!("forbidden")),
                    "{event}: {}",
                    answer.text()
                );
                assert!(answer.text().contains("only the server says that"), "{}", answer.text());
            }
        }
        assert_eq!(self.heads().await, heads, "nothing was kept");
    }
}

#[tokio::test]
async fn of_what_the_server_runs_nobody_else_says_a_step_an_answer_or_an_end() {
    let mut house = Hosting::open().await;
    house.refuses_them_all().await;

    // What an agent's hooks tell may be told.
    let told = json!([
        {"type": "session.tool_started", "data": {"sessionId": house.session, "executionId": "1", "name": "Bash", "input": {}}},
        {"type": "session.raw", "data": {"sessionId": house.session, "source": "hook", "data": {}}},
        {"type": "session.note", "data": {"sessionId": house.session}},
    ]);
    house.room.server.publish(&house.room.token, told).await;

    // The question is still asked after a kill, nothing ran, and who may answers it.
    house.room.server.kill();
    house.room.server.start_again();
    house.waits().await;
    let deployed = house.room.root.path().join("deployed");
    assert!(!deployed.exists());
    // The session and the terminal have ended with the server: of those, too, there is one end.
    let (session, terminal) = (house.session.clone(), format!("/api/shells/{}", house.terminal));
    house.room.has_ended(&session).await;
    let heads = house.heads().await;
    for event in house.told_by_the_server_alone() {
        let kind = event["type"].as_str().expect("a type").to_owned();
        if kind.starts_with("git.") || ["session.stream_output", "shell.output"].contains(&kind.as_str()) {
            continue;
        }
        let answer = house.room.server.post("/api/events", &house.producer, event).await;
        assert_eq!(answer.status, 403, "{kind}: {}", answer.text());
    }
    assert_eq!(house.heads().await, heads);
    assert!(!house.room.server.get(&terminal, &house.room.token).await.json()["endedAt"].is_null());
    let path = format!("/api/workflows/runs/{}/steps/ask/approve", house.run);
    let refused = house.room.server.post(&path, &house.producer, json!({"decision": "approved"})).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let answered = house.room.server.post(&path, &house.room.token, json!({"decision": "approved"})).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    eventually("the end of the run", async || house.run().await["status"] == "completed").await;
    assert!(deployed.exists());
}

#[tokio::test]
async fn of_its_own_things_a_producer_says_everything_as_before() {
    let room = Room::open("").await;
    let producer = producer(&room.server);
    let told = json!([
        {"type": "session.started", "data": {"sessionId": "theirs"}},
        {"type": "session.stream_output", "data": {"sessionId": "theirs", "type": "stdout", "content": "x", "offset": 0}},
        {"type": "session.permission_requested", "data": {"sessionId": "theirs", "requestId": "r", "tool": "Bash", "input": {}, "options": [{"id": "allow", "label": "Allow", "kind": "allow_once"}]}},
        {"type": "session.permission_resolved", "data": {"sessionId": "theirs", "requestId": "r", "decision": "allowed"}},
        {"type": "shell.opened", "data": {"terminalId": "theirs", "cols": 80, "rows": 24}},
        {"type": "git.operation.started", "data": {"projectId": room.project, "operationId": "theirs", "kind": "push"}},
        {"type": "workflow.run.step.output", "data": {"runId": "theirs", "stepId": "a", "attempt": 1, "type": "stdout", "content": "x"}},
    ]);
    room.server.publish(&producer, told).await;
    let ended = json!([
        {"type": "session.completed", "data": {"sessionId": "theirs", "exitCode": 0}},
        {"type": "shell.exit", "data": {"terminalId": "theirs", "code": 0, "signal": null, "reason": "exited"}},
        {"type": "git.operation.completed", "data": {"projectId": room.project, "operationId": "theirs", "kind": "push"}},
    ]);
    room.server.publish(&producer, ended).await;
    assert_eq!(room.state("theirs").await["status"], "completed");
    let terminal = room.server.get("/api/shells/theirs", &room.token).await.json();
    assert!(!terminal["endedAt"].is_null(), "{terminal}");
}
