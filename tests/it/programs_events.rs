//! Programs that print events, against the real binary: what they tell, what they publish, what they are refused.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of the adapter, which look at every step.

use serde_json::{Value, json};

use crate::{
    agents::{agent, assert_closed, history, recorded, start, write_script},
    server::eventually,
    sessions::Room,
    watcher::Watcher,
};

/// A domain of the configuration's own.
const BUILD: &str = "[[domains]]\nname = \"build\"\nchannel = \"build:{buildId}\"\n";

async fn of_channel(room: &Room, channel: &str) -> Vec<Value> {
    let path = format!("/api/channels/{channel}/events?after=0&limit=100");
    let page = room.server.get(&path, &room.token).await.json();
    page["events"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn the_words_of_programs_from_before_become_events_with_the_kind_of_agent_and_its_iteration() {
    let room = Room::open(&agent("old", "events", "close", &recorded("events_plain"), &[])).await;
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    let begun =
        watcher.done("session.start", json!({"projectId": room.project, "agent": "old", "prompt": "look"})).await;
    let channel = begun["data"]["channel"].clone();
    watcher.done("subscribe", json!({"channel": channel, "since": {"seq": 0}})).await;
    let seen = watcher.until("the end", |it| it["type"] == "session.completed").await;
    let of = |event_type: &str| {
        let of_type = seen.iter().filter(|it| it["channel"] == channel && it["type"] == event_type);
        of_type.map(|it| it["data"].clone()).collect::<Vec<_>>()
    };
    let kinds: Vec<String> =
        of("session.agent_started").iter().map(|it| format!("{} {}", it["agentType"], it["iteration"])).collect();
    assert_eq!(kinds, ["\"INITIALIZER\" 1", "\"CODING\" 2"]);
    let texts: Vec<Value> = of("session.message").iter().map(|it| it["blocks"][0]["text"].clone()).collect();
    assert_eq!(texts, ["I read the list.", "Next is login."]);
    let ended: Vec<String> =
        of("session.tool_completed").iter().map(|it| format!("{} {}", it["executionId"], it["status"])).collect();
    assert_eq!(ended, ["\"tool-1\" \"blocked\"", "\"toolu_1\" \"success\"", "\"subagent-2\" \"success\""]);
    assert_eq!((of("session.subagent_completed").len(), &of("session.progress")[0]["total"]), (1, &json!(10)));
    let id = begun["data"]["sessionId"].as_str().expect("an id");
    let state = room.state(id).await;
    let conversation = &state["conversation"];
    assert_eq!((&conversation["agentType"], &conversation["iteration"]), (&json!("CODING"), &json!(2)));
    assert_eq!((&state["status"], &conversation["turn"]["status"]), (&json!("completed"), &json!("success")));
    let output = room.output(id).await;
    assert!(output.contains("Starting\n") && output.contains("One test fails\n"), "{output}");
    assert_closed(&history(&room, id).await);
}

#[tokio::test]
async fn a_program_that_prints_events_is_asked_again_and_answered_in_events() {
    let room = Room::open(&agent("new", "events", "open", &recorded("events_turn"), &[])).await;
    let id = start(&room, "new").await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    let waits = async |what: &str| {
        eventually(what, async || !room.state(&id).await["conversation"][what].as_array().expect(what).is_empty())
            .await;
    };
    waits("permissions").await;
    let allow = json!({"sessionId": id, "requestId": "r1", "decision": "allow_once"});
    watcher.done("session.resolve_permission", allow).await;
    waits("questions").await;
    let answer = json!({"sessionId": id, "requestId": "q1", "answers": {"Which?": "Blue"}});
    watcher.done("session.answer_question", answer).await;
    eventually("its turn", async || room.state(&id).await["conversation"]["activity"] == "idle").await;
    watcher.done("session.send_message", json!({"sessionId": id, "content": "again"})).await;
    let state = room.has_ended(&id).await;
    assert_eq!((&state["status"], &state["conversation"]["usage"]["turns"]), (&json!("completed"), &json!(2)));
    assert_eq!(state["conversation"]["agentSessionId"], "own-1");
    assert_closed(&history(&room, &id).await);
}

/// A user of the server with these roles: a token of its login.
async fn user(room: &Room, name: &str, roles: &[&str]) -> String {
    let body = json!({"username": name, "password": format!("password-of-{name}"), "roles": roles});
    let made = room.server.post("/api/users", &room.token, body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let login = room.server.post("/api/auth/login", "", body_of_login(&body)).await;
    login.json()["token"].as_str().expect("a token").to_owned()
}

fn body_of_login(user: &Value) -> Value {
    json!({"username": user["username"], "password": user["password"]})
}

#[tokio::test]
async fn a_program_publishes_what_its_agent_and_its_user_may_and_is_told_what_it_may_not() {
    let folder = tempfile::tempdir().expect("a directory");
    let script = write_script(
        &folder,
        &[
            r#"> {"type":"build.finished","id":"b1","data":{"buildId":"one","ok":true}}"#,
            r#"> {"type":"build.secret","data":{"buildId":"one"}}"#,
            r#"> {"type":"user.notice","data":{"userId":"root","text":"x"}}"#,
            r#"> {"type":"build.finished","data":{"buildId":"no such:id"}}"#,
            r#"> {"type":"session.completed","data":{"exitCode":0}}"#,
            r#"> {"type":"session.progress","data":{"current":9,"total":2}}"#,
            r#"> {"type":"session.progress","data":{"current":1,"total":2}}"#,
            "> plain words",
        ],
    );
    let agent = agent("ci", "events", "close", &script, &[]);
    let room = Room::open(&format!("{BUILD}{agent}publish = [\"build.finished\"]\n")).await;
    let begin = async |token: &str| {
        let body = json!({"projectId": room.project, "agent": "ci"});
        let begun = room.server.post("/api/sessions", token, body).await;
        assert_eq!(begun.status, 201, "{}", begun.text());
        let id = begun.json()["sessionId"].as_str().expect("an id").to_owned();
        assert_eq!(room.has_ended(&id).await["status"], "completed");
        (room.output(&id).await, history(&room, &id).await)
    };
    let refused = |output: &[Value]| {
        let system = output.iter().filter(|it| it["data"]["type"] == "system");
        let text: String = system.filter_map(|it| it["data"]["content"].as_str()).collect();
        text.lines().filter(|line| line.starts_with("refused")).map(str::to_owned).collect::<Vec<_>>()
    };

    let admin = user(&room, "ada", &["admin"]).await;
    let (output, told) = begin(&admin).await;
    let events = of_channel(&room, "build:one").await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["type"], &events[0]["data"]["ok"]), (&json!("build.finished"), &json!(true)));
    let reasons = refused(&told);
    let expected = [
        "refused: build.secret: this agent is not configured to publish events of this type",
        "refused: user.notice: this agent is not configured to publish events of this type",
        "refused: build.finished: ",
        "refused: session.completed: no event that a program may tell",
        "refused: session.progress: data: current is at most total",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.starts_with(expected), "{reason}");
    }
    assert_eq!(told.iter().filter(|it| it["type"] == "session.raw").count(), expected.len(), "each line is kept");
    assert_eq!(told.iter().filter(|it| it["type"] == "session.progress").count(), 1);
    assert_eq!(output, "plain words\n");
    assert_eq!(of_channel(&room, "user:root").await, Vec::<Value>::new());

    // Whoever may not publish themselves does not do it by a program.
    let operator = user(&room, "bob", &["operator"]).await;
    let (_, told) = begin(&operator).await;
    let reasons = refused(&told);
    assert!(reasons[0].starts_with("refused: build.finished: ") && reasons[0].contains("(forbidden)"), "{reasons:?}");
    // A token without a user says nothing of what its bearer may later.
    let (_, told) = begin(&room.token).await;
    assert!(refused(&told)[0].contains("no user of this server"), "{:?}", refused(&told));
    assert_eq!(of_channel(&room, "build:one").await.len(), 1);
}
