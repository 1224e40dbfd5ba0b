//! The rights with which the steps of a run start, when something was taken from its user meanwhile.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of who may start a run.

use serde_json::{Value, json};
use tidings_client::http::Method;

use crate::{
    server::{Server, eventually},
    sessions::Room,
};

const AGENT: &str = "[agents.boss]\ncommand = [\"echo\", \"--\", \"{prompt}\"]\nroles = [\"admin\"]\n";

/// A user with the role of an administrator: its id, and a token of its login.
async fn administrator(server: &Server, admin: &str, name: &str) -> (String, String) {
    let password = format!("password-of-{name}");
    let user = json!({"username": name, "password": password, "roles": ["admin"]});
    let made = server.post("/api/users", admin, user).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let login = server.post("/api/auth/login", "", json!({"username": name, "password": password})).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made.json()["id"]), text(&login.json()["token"]))
}

/// A run that asks, and then asks an agent that is for administrators and writes a file: its id.
async fn asking(room: &Room, token: &str, file: &str) -> String {
    let steps = json!({
        "ask": {"approval": {"message": "go on?"}},
        "agent": {"needs": "ask", "session": {"agent": "boss", "prompt": "hi"}},
        "program": {"needs": "ask", "command": ["touch", file]},
    });
    let body = json!({"projectId": room.project, "definition": {"steps": steps}});
    let begun = room.server.post("/api/workflows/runs", token, body).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let id = begun.json()["runId"].as_str().expect("an id").to_owned();
    eventually("the question", async || step(&state(room, &id).await, "ask")["status"] == "waiting").await;
    id
}

async fn state(room: &Room, run: &str) -> Value {
    room.server.get(&format!("/api/workflows/runs/{run}"), &room.token).await.json()
}

fn step<'a>(state: &'a Value, id: &str) -> &'a Value {
    state["steps"].as_array().expect("steps").iter().find(|step| step["stepId"] == id).expect("the step")
}

/// How the agent's step and the program's ended, once somebody else has said yes.
async fn went_on(room: &Room, run: &str) -> [String; 2] {
    let path = format!("/api/workflows/runs/{run}/steps/ask/approve");
    let answer = room.server.post(&path, &room.token, json!({"decision": "approved"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("the end of the run", async || !state(room, run).await["endedAt"].is_null()).await;
    let state = state(room, run).await;
    ["agent", "program"].map(|id| {
        let step = step(&state, id);
        step["error"]["code"].as_str().or(step["status"].as_str()).expect("a text").to_owned()
    })
}

#[tokio::test]
async fn a_step_starts_with_the_rights_that_its_runs_user_has_by_then() {
    let mut room = Room::open(AGENT).await;
    for (what, restarts) in [("disabled", false), ("demoted", false), ("deleted", false), ("disabled", true)] {
        let name = format!("{what}{restarts}");
        let (user, token) = administrator(&room.server, &room.token, &name).await;
        let run = asking(&room, &token, &name).await;
        let path = format!("/api/users/{user}");
        let change = |change: Value| room.server.call(Method::PATCH, &path, &room.token, Some(change));
        let taken = match what {
            "disabled" => change(json!({"disabled": true})).await,
            "demoted" => change(json!({"roles": []})).await,
            _ => room.server.call(Method::DELETE, &path, &room.token, None).await,
        };
        assert!((200..300).contains(&taken.status), "{what}: {}", taken.text());
        if restarts {
            room.server.kill();
            room.server.start_again();
        }
        assert_eq!(went_on(&room, &run).await, ["forbidden", "forbidden"], "{name}");
        assert!(!room.root.path().join(&name).exists(), "{name}");
    }
    // Who was told to log in again, and may still do all of it, has lost nothing; nor has anybody else.
    let (user, token) = administrator(&room.server, &room.token, "revoked").await;
    let (run, others) = (asking(&room, &token, "revoked").await, asking(&room, &room.token, "others").await);
    let revoked = room.server.post(&format!("/api/users/{user}/revoke"), &room.token, json!({})).await;
    assert!((200..300).contains(&revoked.status), "{}", revoked.text());
    for (run, file) in [(run, "revoked"), (others, "others")] {
        assert_eq!(went_on(&room, &run).await, ["completed", "completed"], "{file}");
        assert!(room.root.path().join(file).exists());
    }
}
