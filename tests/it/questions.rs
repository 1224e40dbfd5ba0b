//! Questions of agents against the real binary: they are asked, answered as they can be, and wait for a person.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of the adapters.

use serde_json::{Value, json};

use crate::{
    agents::{ASKED, INIT, PERMISSION, PERMITTED, RESULT, activity_is, assert_closed, history, playing},
    server::eventually,
    watcher::Watcher,
};

const QUESTION: &str = r#"> {"type":"control_request","request_id":"q1","request":{"subtype":"can_use_tool","tool_name":"AskUserQuestion","input":{"questions":[{"question":"Which color?","header":"Color","options":[{"label":"Red","description":"Warm"},{"label":"Blue","description":"Cold"}],"multiSelect":false},{"question":"Where?","header":"Place","options":[{"label":"In"},{"label":"Out"}],"multiSelect":true}]}}}"#;
const ANSWERED: &str = r#"expect {"type":"control_response","response":{"request_id":"q1","response":{"behavior":"allow","updatedInput":{"answers":{"Which color?":"Blue","Where?":"In, on the roof"}}}}}"#;
const DENIED: &str = r#"expect {"type":"control_response","response":{"request_id":"q1","response":{"behavior":"deny","message":"You decide."}}}"#;

/// What a person has open.
async fn open_of(watcher: &mut Watcher, user: &str) -> Value {
    let channel = format!("user:{user}");
    watcher.done("subscribe", json!({"channel": channel, "snapshot": true})).await;
    let wanted = |it: &Value| it["type"] == "channel.snapshot" && it["data"]["channel"] == json!(channel);
    let seen = watcher.until("a snapshot", wanted).await;
    watcher.done("unsubscribe", json!(channel)).await;
    seen.last().expect("the snapshot")["data"]["snapshot"]["open"].clone()
}

#[tokio::test]
async fn a_question_is_answered_by_what_it_offers_and_never_allowed_without_an_answer() {
    let (room, id, _folder) = playing("", &[ASKED, INIT, QUESTION, ANSWERED, RESULT]).await;
    activity_is(&room, &id, "waiting").await;
    let state = room.state(&id).await;
    let asked = &state["conversation"]["questions"][0];
    assert_eq!((&asked["requestId"], &asked["questions"][0]["header"]), (&json!("q1"), &json!("Color")));
    let first = json!({
        "question": "Which color?", "header": "Color", "multiple": false, "freeText": true,
        "options": [{"label": "Red", "description": "Warm"}, {"label": "Blue", "description": "Cold"}],
    });
    assert_eq!((&asked["questions"][0], &asked["questions"][1]["multiple"]), (&first, &json!(true)));
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    let open = open_of(&mut watcher, "root").await;
    assert_eq!((&open[0]["kind"], &open[0]["id"]), (&json!("question"), &json!("q1")), "{open}");

    // As it was: allowed, and the model makes an answer up.
    let allow = json!({"sessionId": id, "requestId": "q1", "decision": "allow_once"});
    let refused = watcher.ask("session.resolve_permission", allow).await;
    assert_eq!(refused["error"]["code"], "conflict");
    assert!(refused["error"]["message"].as_str().expect("why").contains("session.answer_question"), "{refused}");
    let answer = |answers: Value| json!({"sessionId": id, "requestId": "q1", "answers": answers});
    let table = [
        (json!({"Which color?": "Blue"}), "answers.Where?"),
        (json!({"Which color?": ["Red", "Blue"], "Where?": "In"}), "answers.Which color?"),
        (json!({"Which color?": "Blue", "Where?": "In", "Why?": "x"}), "answers.Why?"),
        (json!({"Which color?": "", "Where?": "In"}), "answers"),
        (json!({"Which color?": 7, "Where?": "In"}), "answers"),
        (json!({}), "answers.Where?"),
    ];
    for (answers, field) in table {
        let refused = watcher.ask("session.answer_question", answer(answers.clone())).await;
        assert_eq!(refused["error"]["code"], "invalid_data", "{answers}: {refused}");
        let fields = refused["error"]["fields"].as_object().expect("fields");
        assert!(fields.keys().any(|named| named.starts_with(field)), "{answers}: {refused}");
    }
    let both = json!({"sessionId": id, "requestId": "q1", "answers": {"Which color?": "Red"}, "decline": "x"});
    assert_eq!(watcher.refused("session.answer_question", both).await, "invalid_data");
    let unknown = json!({"sessionId": id, "requestId": "q9", "decline": "x"});
    assert_eq!(watcher.refused("session.answer_question", unknown).await, "conflict");
    assert_eq!(room.state(&id).await["conversation"]["activity"], "waiting", "nothing of that was taken");

    let viewer = room.server.token("eve", &["--role", "viewer"]);
    let path = format!("/api/sessions/{id}/questions/q1");
    let answers = json!({"Which color?": "Blue", "Where?": ["In", "on the roof"]});
    let body = json!({"answers": answers});
    assert_eq!(room.server.post(&path, &viewer, body.clone()).await.status, 403);
    assert_eq!(room.server.post(&path, &room.token, body.clone()).await.status, 200);
    assert_eq!(room.server.post(&path, &room.token, body).await.status, 409, "the first answer counts");
    assert_eq!(room.has_ended(&id).await["status"], "completed");
    let told = history(&room, &id).await;
    assert_closed(&told);
    let resolved = told.iter().find(|it| it["type"] == "session.question_resolved").expect("resolved");
    assert_eq!((&resolved["data"]["decision"], &resolved["data"]["answers"]), (&json!("answered"), &answers));
    assert_eq!(resolved["by"]["userId"], "root", "{resolved}");
    assert_eq!(open_of(&mut watcher, "root").await, json!([]));
}

#[tokio::test]
async fn a_question_is_declined_with_the_reason_and_a_permission_is_no_question() {
    let (room, id, _folder) = playing("", &[ASKED, INIT, PERMISSION, PERMITTED, QUESTION, DENIED, RESULT]).await;
    activity_is(&room, &id, "waiting").await;
    let watcher = Watcher::connect(&room.server, &room.token).await;
    let decline = |request: &str| json!({"sessionId": id, "requestId": request, "decline": "You decide."});
    let refused = watcher.ask("session.answer_question", decline("r1")).await;
    assert_eq!(refused["error"]["code"], "conflict");
    assert!(refused["error"]["message"].as_str().expect("why").contains("session.resolve_permission"), "{refused}");
    let allow = json!({"sessionId": id, "requestId": "r1", "decision": "allow_once"});
    watcher.done("session.resolve_permission", allow).await;
    let asked = async || room.state(&id).await["conversation"]["questions"][0]["requestId"] == "q1";
    eventually("the question", asked).await;
    watcher.done("session.answer_question", decline("q1")).await;
    assert_eq!(room.has_ended(&id).await["status"], "completed");
    assert_closed(&history(&room, &id).await);
}

#[tokio::test]
async fn what_waits_for_a_person_is_in_their_state_until_it_waits_no_more_also_after_a_restart() {
    let (mut room, id, _folder) = playing("", &[ASKED, INIT, PERMISSION, QUESTION, "hang"]).await;
    let definition = json!({"steps": {"ask": {"approval": {"message": "go on?"}}}});
    let body = json!({"projectId": room.project, "definition": definition});
    let begun = room.server.post("/api/workflows/runs", &room.token, body).await;
    let run = begun.json()["runId"].as_str().expect("an id").to_owned();
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    activity_is(&room, &id, "waiting").await;
    watcher.done("subscribe", json!({"channel": "user:root", "since": {"seq": 0}})).await;
    for _ in 0..3 {
        watcher.until("what waits", |it| it["type"] == "user.attention_requested").await;
    }
    let open = open_of(&mut watcher, "root").await;
    let mut kinds: Vec<String> = open
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| {
            format!(
                "{} {} {}",
                it["kind"].as_str().expect("a kind"),
                it["channel"].as_str().expect("a channel"),
                it["id"].as_str().expect("an id")
            )
        })
        .collect();
    kinds.sort();
    let session = format!("session:{id}");
    assert_eq!(
        kinds,
        [
            format!("approval workflow:run:{run} ask"),
            format!("permission {session} r1"),
            format!("question {session} q1")
        ]
    );
    // Others have nothing open, and may not look.
    let other = room.server.token("eve", &[]);
    let eve = Watcher::connect(&room.server, &other).await;
    assert_eq!(eve.refused("subscribe", json!({"channel": "user:root", "snapshot": true})).await, "forbidden");

    room.server.kill();
    room.server.start_again();
    room.has_ended(&id).await;
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    let open = open_of(&mut watcher, "root").await;
    let left: Vec<&Value> = open.as_array().expect("a list").iter().map(|it| &it["kind"]).collect();
    assert_eq!(left, ["approval"], "the run goes on, the session has ended");
    let path = format!("/api/workflows/runs/{run}/steps/ask/approve");
    assert_eq!(room.server.post(&path, &room.token, json!({"decision": "approved"})).await.status, 200);
    assert_eq!(open_of(&mut watcher, "root").await, json!([]));
    assert_closed(&history(&room, &id).await);
}
