//! The agent that is always there, against the real binary.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the first steps of the README: those are played by its own test.

use serde_json::{Value, json};

use crate::{
    agents::{activity_is, assert_closed, history, start},
    sessions::Room,
    watcher::Watcher,
};

async fn listed(room: &Room) -> Vec<Value> {
    let listed = room.server.get("/api/agents", &room.token).await.json();
    listed["agents"].as_array().expect("agents").clone()
}

#[tokio::test]
async fn the_demo_streams_asks_writes_and_takes_messages_without_any_configuration() {
    let room = Room::open("").await;
    let [demo] = &listed(&room).await[..] else { panic!("one agent") };
    assert_eq!((&demo["name"], &demo["adapter"]), (&json!("demo"), &json!("events")));
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    let input = json!({"projectId": room.project, "agent": "demo", "prompt": "show me"});
    let begun = watcher.done("session.start", input).await["data"].clone();
    watcher.done("subscribe", json!({"channel": begun["channel"], "since": {"seq": 0}})).await;
    let id = begun["sessionId"].as_str().expect("an id").to_owned();
    let seen = watcher.until("a question", |it| it["type"] == "session.question_requested").await;
    for told in ["session.agent_started", "session.text_delta", "session.thinking_delta", "session.tool_completed"] {
        assert!(seen.iter().any(|it| it["type"] == told), "{told}");
    }
    let asked = &seen.last().expect("it")["data"];
    let question = asked["questions"][0]["question"].as_str().expect("a question");
    let answer = json!({"sessionId": id, "requestId": asked["requestId"], "answers": {question: "Hello:"}});
    watcher.done("session.answer_question", answer).await;
    let seen = watcher.until("a permission", |it| it["type"] == "session.permission_requested").await;
    let file = room.root.path().join("tidings-demo.md");
    assert!(!file.exists(), "nothing is written before it is allowed");
    let request = &seen.last().expect("it")["data"]["requestId"];
    let allow = json!({"sessionId": id, "requestId": request, "decision": "allow_once"});
    watcher.done("session.resolve_permission", allow).await;
    watcher.until("the end of the turn", |it| it["type"] == "session.turn_completed").await;
    assert_eq!(std::fs::read_to_string(&file).expect("is there"), "- Hello: show me\n");

    // The second turn is declined, the third interrupted.
    watcher.done("session.send_message", json!({"sessionId": id, "content": "again"})).await;
    let seen = watcher.until("a question", |it| it["type"] == "session.question_requested").await;
    let request = &seen.last().expect("it")["data"]["requestId"];
    watcher.done("session.answer_question", json!({"sessionId": id, "requestId": request, "decline": "no"})).await;
    watcher.until("the end of the turn", |it| it["type"] == "session.turn_completed").await;
    watcher.done("session.send_message", json!({"sessionId": id, "content": "once more"})).await;
    watcher.until("a question", |it| it["type"] == "session.question_requested").await;
    watcher.done("session.interrupt", json!({"sessionId": id})).await;
    let seen = watcher.until("the end of the turn", |it| it["type"] == "session.turn_completed").await;
    assert_eq!(seen.last().expect("it")["data"]["status"], "cancelled");
    assert_eq!(std::fs::read_to_string(&file).expect("is there"), "- Hello: show me\n");
    activity_is(&room, &id, "idle").await;
    watcher.done("session.cancel", json!({"sessionId": id})).await;
    assert_eq!(room.has_ended(&id).await["status"], "cancelled");
    assert_closed(&history(&room, &id).await);
}

#[tokio::test]
async fn the_demo_is_switched_off_limited_or_replaced_as_any_agent() {
    let room = Room::open("[agents.demo]\nenabled = false\n").await;
    assert_eq!(listed(&room).await, Vec::<Value>::new());
    let body = json!({"projectId": room.project, "agent": "demo", "prompt": "x"});
    let refused = room.server.post("/api/sessions", &room.token, body).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some("invalid_data")), "{}", refused.text());

    let room =
        Room::open("[agents.demo]\nroles = [\"admin\"]\n[agents.off]\nenabled = false\ncommand = [\"cat\"]\n").await;
    assert_eq!(listed(&room).await.len(), 1);
    let operator = room.server.token("ada", &["--role", "operator"]);
    let seen = room.server.get("/api/agents", &operator).await.json();
    assert_eq!(seen["agents"], json!([]));

    let room = Room::open("[agents.demo]\ncommand = [\"echo\", \"mine\"]\n").await;
    let id = start(&room, "demo").await;
    room.has_ended(&id).await;
    assert_eq!(room.output(&id).await, "mine\n");
}

#[tokio::test]
async fn the_demo_runs_behind_walls() {
    let room = Room::open("[run]\nsandbox = \"project\"\n").await;
    let id = start(&room, "demo").await;
    activity_is(&room, &id, "waiting").await;
    let state = room.state(&id).await;
    assert_eq!(state["conversation"]["questions"][0]["requestId"], "question-1");
    let watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("session.cancel", json!({"sessionId": id})).await;
    room.has_ended(&id).await;
}
