//! What has to hold of a directory of an earlier life, whichever version left it.
//!
//! Guarantees: everything that its maker wrote down is held against the running server.
//! It changes nothing but what it says: repeats, logins, and one answer to a question that waits.

use serde_json::{Value, json};
use tidings_client::http;

use super::make::{PASSWORD, events_of, slim};
use crate::{
    server::{Server, eventually},
    watcher::Watcher,
};

/// A server on the directory, and what has to be in it.
pub(super) struct Check<'a> {
    server: &'a Server,
    expected: &'a Value,
    token: String,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, and not {value}"))
}

impl<'a> Check<'a> {
    pub(super) fn of(server: &'a Server, expected: &'a Value) -> Self {
        Self { server, expected, token: server.admin() }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.server.get(path, &self.token).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// All of it: the epoch that the server goes on with.
    pub(super) async fn holds(&self) -> String {
        self.users().await;
        self.histories().await;
        self.states().await;
        self.what_was_open_has_ended_once().await;
        self.repeats_are_none().await;
        self.get(&events_of("session:outside", 0)).await["epoch"].as_str().expect("an epoch").to_owned()
    }

    async fn users(&self) {
        for (name, user) in self.expected["users"].as_object().expect("users") {
            let body = json!({"username": name, "password": PASSWORD});
            let login = http::post_json(&self.server.url(), "/api/auth/login", None, &body).await.expect("an answer");
            if name == "carol" {
                assert_eq!(login.status, 401, "she is disabled: {}", login.text());
                continue;
            }
            assert_eq!(login.status, 200, "{name}: {}", login.text());
            let (of_login, token) = (login.json()["user"].clone(), login.json()["token"].clone());
            assert_eq!((&of_login["id"], &of_login["roles"]), (&user["id"], &user["roles"]));
            let seen = self.server.get("/api/projects", text(&token)).await.json()["projects"].clone();
            assert_eq!(seen.as_array().map(Vec::len), Some(2), "{name}: {seen}");
        }
    }

    /// Every channel begins where it did, and has everything that it had, byte for byte and in order.
    async fn histories(&self) {
        for (channel, known) in self.expected["channels"].as_object().expect("channels") {
            let page = self.get(&events_of(channel, 0)).await;
            assert_eq!(page["first"], known["first"], "{channel}: it begins later than it did");
            let (head, known) =
                (known["head"].as_u64().expect("a number"), known["events"].as_array().expect("events"));
            assert!(page["head"].as_u64() >= Some(head), "{channel}: {} of {head}", page["head"]);
            let kept: Vec<Value> = page["events"].as_array().expect("events").iter().map(slim).collect();
            assert!(kept.len() >= known.len(), "{channel}: {} of {} messages", kept.len(), known.len());
            for (kept, known) in kept.iter().zip(known) {
                assert_eq!(kept, known, "{channel}");
            }
        }
    }

    /// Titles, roots, members and words, also those whose messages were trimmed long ago.
    async fn states(&self) {
        const KEPT: [&str; 12] = [
            "name",
            "root",
            "removed",
            "members",
            "title",
            "agent",
            "prompt",
            "status",
            "exitCode",
            "error",
            "transcript",
            "conversation",
        ];
        for (path, known) in self.expected["states"].as_object().expect("states") {
            let now = self.get(path).await;
            for field in KEPT {
                assert!(holds(&now[field], &known[field]), "{path}: {field}: {} is not {}", now[field], known[field]);
            }
            for board in ["sessions", "shells", "runs"] {
                assert_eq!(shown(&now[board]), shown(&known[board]), "{path}: {board}");
            }
        }
        // What is asked for here is in no message any more.
        for channel in ["session:outside".to_owned(), format!("project:{}", text(&self.expected["projects"][0]))] {
            assert!(self.expected["channels"][&channel]["first"].as_u64() > Some(1), "{channel}");
        }
        let outside = self.get("/api/sessions/outside").await;
        assert_eq!(outside["title"], "Told from outside");
        assert!(outside["conversation"].to_string().contains("The first words."), "{outside}");
    }

    async fn what_was_open_has_ended_once(&self) {
        let (session, terminal) = (text(&self.expected["open"]), text(&self.expected["terminal"]));
        for (path, channel, end) in [
            (format!("/api/sessions/{session}"), format!("session:{session}"), "session.error"),
            (format!("/api/shells/{terminal}"), format!("shell:terminal:{terminal}"), "shell.error"),
        ] {
            let state = self.get(&path).await;
            assert_eq!(
                (&state["status"], &state["error"]["code"]),
                (&json!("error"), &json!("server_stopped")),
                "{state}"
            );
            let events = self.get(&events_of(&channel, 0)).await["events"].clone();
            let ends = events.as_array().expect("events").iter().filter(|event| event["type"] == end).count();
            assert_eq!(ends, 1, "{channel}: {events}");
        }
        let run = self.get(&format!("/api/workflows/runs/{}", text(&self.expected["waitingRun"]))).await;
        assert_eq!(run["status"], "waiting", "{run}");
    }

    /// What was accepted under an id gets its first answer, and happens no second time.
    async fn repeats_are_none(&self) {
        let (event, seq) = (&self.expected["repeatable"]["event"], &self.expected["repeatable"]["seq"]);
        let placed = self.server.publish(&self.token, event.clone()).await;
        assert_eq!(placed[0]["seq"], *seq, "{placed:?}");
        let mut other = event.clone();
        other["data"]["n"] = json!("another");
        assert_eq!(self.server.post("/api/events", &self.token, other).await.status, 409);

        let command = &self.expected["remembered"];
        let mut body = command["body"].clone();
        body["commandId"] = command["id"].clone();
        let again = self.server.post(text(&command["path"]), &self.token, body.clone()).await;
        assert_eq!((again.status, &again.json()["sessionId"]), (201, &command["sessionId"]), "{}", again.text());
        let sessions = self.get("/api/sessions?limit=100").await["sessions"].clone();
        let once = sessions.as_array().expect("sessions").iter().filter(|it| it["title"] == body["title"]).count();
        assert_eq!(once, 1, "{sessions}");
        body["title"] = json!("Another");
        assert_eq!(self.server.post(text(&command["path"]), &self.token, body).await.status, 409);
    }

    /// A subscriber from before the server ended goes on where it was, or is told that it cannot.
    pub(super) async fn comes_back(&self, epoch: &str, now: &str) {
        let channel = "session:outside";
        let seq = self.expected["channels"][channel]["head"].as_u64().expect("a number") - 10;
        let mut watcher = Watcher::connect(self.server, &self.token).await;
        let since = json!({"channel": channel, "since": {"epoch": epoch, "seq": seq}});
        let answer = watcher.done("subscribe", since).await;
        if epoch == now {
            assert_eq!(answer["recovered"], true, "{answer}");
            let message = watcher.of_type("session.note").await;
            assert_eq!(message["seq"], seq + 1);
        } else {
            assert_eq!((&answer["recovered"], &answer["reason"]), (&json!(false), &json!("epoch")), "{answer}");
            assert_eq!(watcher.of_type("channel.reset").await["data"]["epoch"], now);
        }
    }

    /// What waited for somebody goes on, and what is new comes after what is old.
    pub(super) async fn goes_on(&self) {
        let run = format!("/api/workflows/runs/{}", text(&self.expected["waitingRun"]));
        let answer =
            self.server.post(&format!("{run}/steps/ask/approve"), &self.token, json!({"decision": "approved"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        eventually("the end of the run", async || self.get(&run).await["status"] == "completed").await;
        for channel in self.expected["channels"].as_object().expect("channels").keys() {
            let before = self.get(&events_of(channel, 0)).await["head"].as_u64().expect("a number");
            let (kind, field, id) = super::names(channel);
            let event = json!({"type": format!("{kind}.note"), "data": {field: id, "new": true}});
            let placed = self.server.publish(&self.token, event).await;
            assert_eq!((&placed[0]["channel"], &placed[0]["seq"]), (&json!(channel), &json!(before + 1)));
        }
    }
}

/// What a board shows, by name: its order and its times change with each restart.
fn shown(board: &Value) -> Vec<String> {
    let rows = board.as_array().into_iter().flatten();
    let mut rows: Vec<String> = rows.map(|row| format!("{} {} {}", row["id"], row["channel"], row["title"])).collect();
    rows.sort();
    rows
}

/// Whether a value is what it was. What a later version has beside it holds nothing.
fn holds(now: &Value, known: &Value) -> bool {
    match (now, known) {
        (Value::Object(now), Value::Object(known)) => {
            let is_nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            let mut others = now.iter().filter(|(name, _)| !known.contains_key(*name));
            others.all(|(_, now)| is_nothing(now))
                && known.iter().all(|(name, known)| now.get(name).is_some_and(|now| holds(now, known)))
        }
        (Value::Array(now), Value::Array(known)) => {
            now.len() == known.len() && now.iter().zip(known).all(|(now, known)| holds(now, known))
        }
        (now, known) => now == known,
    }
}
