//! A data directory with something of everything that is stored, as a killed server leaves it.
//!
//! Guarantees: what is said to be in it was read from the server that made it; everything that it started
//! has ended. It works with whatever version of the server the tests are built with.
//! It is not what is checked of it: see `check`.

use std::{fs, path::Path, process::Command, time::UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_client::http::Method;

use crate::server::{Server, eventually};

/// Everybody's password. It protects nothing: the directory is for tests.
pub(super) const PASSWORD: &str = "a password that everybody may know";
/// Projects need directories, which are on every machine where programs run.
const ROOTS: [&str; 2] = ["/usr/share", "/usr/lib"];
/// What a program does that a killed server leaves behind.
const FOREVER: &str = "echo begun; exec sleep 100000";
/// In the second of three lives so little is kept of these namespaces that what came first is in saved states only.
const TRIMMING: &str = "[retention.project]\nmessages = 5\n[retention.session]\nmessages = 20\n";

/// A home whose `data` is the directory, and what is in it.
pub(crate) struct Made {
    pub(crate) home: TempDir,
    pub(crate) expected: Value,
}

/// Makes it, in three lives of a server: stopped, stopped, killed.
pub(super) async fn make() -> Made {
    let mut server = Server::start("");
    let mut maker = Maker { token: String::new(), expected: json!({}) };
    maker.first_life(&server).await;
    server.stop();
    fs::write(server.home().join("tidings.toml"), TRIMMING).expect("writes");
    server.start_again();
    maker.second_life(&server).await;
    server.stop();
    fs::write(server.home().join("tidings.toml"), "").expect("writes");
    server.start_again();
    maker.third_life(&server).await;
    maker.look(&server).await;
    server.kill();
    let home = tempfile::tempdir().expect("a directory");
    copy(&server.data_dir(), &home.path().join("data"));
    // The programs that the killed server left end with the next start.
    server.start_again();
    server.stop();
    Made { home, expected: maker.expected }
}

/// The directory without what every start makes anew.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("runs");
    assert!(copied.success());
    for name in ["reserve", "lock"] {
        fs::remove_file(to.join(name)).expect("it was there");
    }
}

/// When a file was written last, in milliseconds.
pub(super) fn written_at(file: &Path) -> i64 {
    let at = fs::metadata(file).and_then(|file| file.modified()).expect("a time");
    i64::try_from(at.duration_since(UNIX_EPOCH).expect("a time").as_millis()).expect("is small")
}

/// A note in a channel of this namespace, with the id that makes a repeat none.
pub(super) fn note(kind: &str, field: &str, id: &str, n: usize) -> Value {
    json!({"type": kind, "id": format!("{id}-{n}"), "data": {field: id, "n": n}})
}

struct Maker {
    token: String,
    expected: Value,
}

impl Maker {
    async fn post(&self, server: &Server, path: &str, body: Value) -> Value {
        let answer = server.post(path, &self.token, body).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
        if answer.text().is_empty() { Value::Null } else { answer.json() }
    }

    async fn publish(&self, server: &Server, events: Vec<Value>) -> Vec<Value> {
        server.publish(&self.token, Value::from(events)).await
    }

    /// Users, projects with members, and what has ended.
    async fn first_life(&mut self, server: &Server) {
        self.token = server.admin();
        let mut users = json!({});
        for (name, role) in [("alice", "operator"), ("bob", "viewer"), ("carol", "viewer")] {
            let body = json!({"username": name, "password": PASSWORD, "roles": [role]});
            users[name] = self.post(server, "/api/users", body).await;
        }
        let carol = format!("/api/users/{}", users["carol"]["id"].as_str().expect("an id"));
        let disabled = server.call(Method::PATCH, &carol, &self.token, Some(json!({"disabled": true}))).await;
        assert_eq!(disabled.status, 200, "{}", disabled.text());
        let mut projects = Vec::new();
        for (name, root) in ["one", "two"].into_iter().zip(ROOTS) {
            let made = self.post(server, "/api/projects", json!({"name": name, "root": root})).await;
            projects.push(made["projectId"].clone());
        }
        let members = format!("/api/projects/{}/members", projects[0].as_str().expect("an id"));
        for (name, membership) in [("alice", "owner"), ("bob", "viewer"), ("carol", "operator")] {
            self.post(server, &members, json!({"userId": users[name]["id"], "membership": membership})).await;
        }
        let gone = format!("{members}/{}", users["carol"]["id"].as_str().expect("an id"));
        let removed = server.call(Method::DELETE, &gone, &self.token, None).await;
        assert!((200..300).contains(&removed.status), "{}", removed.text());
        (self.expected["users"], self.expected["projects"]) = (users, Value::from(projects));
        for (title, line) in [("It worked", "echo done"), ("It did not", "echo no >&2; exit 3")] {
            let id = self.start(server, title, line, None).await;
            let path = format!("/api/sessions/{id}");
            eventually(title, async || !server.get(&path, &self.token).await.json()["endedAt"].is_null()).await;
            self.push("ended", json!(id));
        }
        let run = self.run(server, json!({"only": {"command": ["true"]}})).await;
        let path = format!("/api/workflows/runs/{run}");
        eventually("its end", async || !server.get(&path, &self.token).await.json()["endedAt"].is_null()).await;
        self.expected["completedRun"] = json!(run);
        self.told(server).await;
    }

    /// A session that a producer outside tells of: its title and its first words are trimmed later.
    async fn told(&self, server: &Server) {
        let say = |kind: &str, data: Value| {
            let mut data = data;
            data["sessionId"] = json!("outside");
            json!({"type": kind, "data": data})
        };
        let block = json!([{"type": "text", "text": "The first words."}]);
        let mut events = vec![
            say("session.started", json!({"title": "Told from outside", "agent": "somebody", "prompt": "go"})),
            say("session.message", json!({"messageId": "m1", "role": "assistant", "block": 0, "blocks": block})),
        ];
        events.extend((0..60).map(|n| note("session.note", "sessionId", "outside", n)));
        self.publish(server, events).await;
        let project = self.expected["projects"][0].as_str().expect("an id");
        self.publish(server, (0..30).map(|n| note("project.note", "projectId", project, n)).collect()).await;
    }

    /// Waits until what came first in two channels is trimmed.
    async fn second_life(&self, server: &Server) {
        let project = format!("project:{}", self.expected["projects"][0].as_str().expect("an id"));
        for channel in [project.as_str(), "session:outside"] {
            let first = async || server.get(&events_of(channel, 0), &self.token).await.json()["first"].as_u64();
            eventually("that it is trimmed", async || first().await > Some(1)).await;
        }
    }

    /// What is remembered, and what is open when the server is killed.
    async fn third_life(&mut self, server: &Server) {
        let start = |line: &str, title: &str| json!({"projectId": self.expected["projects"][0], "title": title, "command": ["sh", "-c", line]});
        let (command, project) = (start("echo once", "Only once"), self.expected["projects"][0].clone());
        let key = self.start(server, "Only once", "echo once", Some("start-1")).await;
        self.expected["remembered"] =
            json!({"id": "start-1", "path": "/api/sessions", "body": command, "sessionId": key});
        let path = format!("/api/sessions/{key}");
        eventually("its end", async || !server.get(&path, &self.token).await.json()["endedAt"].is_null()).await;
        self.push("ended", json!(key));
        let open = self.start(server, "Still open", FOREVER, None).await;
        self.expected["open"] = json!(open);
        let body = json!({"projectId": project, "command": ["sh", "-c", FOREVER]});
        let terminal = self.post(server, "/api/shells", body).await["terminalId"].clone();
        self.expected["terminal"] = terminal.clone();
        for path in [format!("/api/sessions/{open}"), format!("/api/shells/{}", terminal.as_str().expect("an id"))] {
            eventually("its output", async || server.get(&path, &self.token).await.text().contains("begun")).await;
        }
        let steps = json!({"before": {"command": ["true"]},
            "ask": {"needs": "before", "approval": {"message": "go on?"}},
            "after": {"needs": "ask", "command": ["true"]}});
        let run = self.run(server, steps).await;
        let path = format!("/api/workflows/runs/{run}");
        eventually("the question", async || server.get(&path, &self.token).await.json()["status"] == "waiting").await;
        self.expected["waitingRun"] = json!(run);
        let alice = self.expected["users"]["alice"]["id"].as_str().expect("an id").to_owned();
        let places = self.publish(server, (0..150).map(|n| note("user.note", "userId", &alice, n)).collect()).await;
        self.expected["epoch"] = places[0]["epoch"].clone();
        self.expected["repeatable"] = json!({"event": note("user.note", "userId", &alice, 7), "seq": places[7]["seq"]});
        self.publish(server, (60..160).map(|n| note("session.note", "sessionId", "outside", n)).collect()).await;
    }

    /// Everything as it is now: histories whole, states as far as no restart changes them.
    async fn look(&mut self, server: &Server) {
        let id = |value: &Value| value.as_str().expect("an id").to_owned();
        let mut channels = vec!["session:outside".to_owned()];
        channels.push(format!("user:{}", id(&self.expected["users"]["alice"]["id"])));
        channels.extend(
            self.expected["projects"].as_array().expect("projects").iter().map(|it| format!("project:{}", id(it))),
        );
        channels.extend(
            self.expected["ended"].as_array().expect("sessions").iter().map(|it| format!("session:{}", id(it))),
        );
        channels.push(format!("session:{}", id(&self.expected["open"])));
        channels.push(format!("shell:terminal:{}", id(&self.expected["terminal"])));
        channels.extend(["completedRun", "waitingRun"].map(|run| format!("workflow:run:{}", id(&self.expected[run]))));
        for channel in channels {
            let page = server.get(&events_of(&channel, 0), &self.token).await.json();
            let events: Vec<Value> = page["events"].as_array().expect("events").iter().map(slim).collect();
            self.expected["channels"][&channel] =
                json!({"first": page["first"], "head": page["head"], "events": events});
        }
        let mut states = vec!["/api/sessions/outside".to_owned()];
        states.extend(
            self.expected["projects"]
                .as_array()
                .expect("projects")
                .iter()
                .map(|it| format!("/api/projects/{}", id(it))),
        );
        states.extend(
            self.expected["ended"].as_array().expect("sessions").iter().map(|it| format!("/api/sessions/{}", id(it))),
        );
        states.push(format!("/api/workflows/runs/{}", id(&self.expected["completedRun"])));
        for path in states {
            self.expected["states"][&path] = server.get(&path, &self.token).await.json();
        }
        self.expected["madeAt"] = json!(written_at(&server.data_dir().join("log.db-wal")));
    }

    /// Starts a command line in the first project, perhaps so that a repeat is none: the session's id.
    async fn start(&self, server: &Server, title: &str, line: &str, key: Option<&str>) -> String {
        let mut body =
            json!({"projectId": self.expected["projects"][0], "title": title, "command": ["sh", "-c", line]});
        if let Some(key) = key {
            body["commandId"] = json!(key);
        }
        self.post(server, "/api/sessions", body).await["sessionId"].as_str().expect("an id").to_owned()
    }

    async fn run(&self, server: &Server, steps: Value) -> String {
        let body = json!({"projectId": self.expected["projects"][1], "definition": {"name": "A run", "steps": steps}});
        self.post(server, "/api/workflows/runs", body).await["runId"].as_str().expect("an id").to_owned()
    }

    fn push(&mut self, list: &str, value: Value) {
        match self.expected[list].as_array_mut() {
            Some(list) => list.push(value),
            None => self.expected[list] = json!([value]),
        }
    }
}

/// The route of a channel's history after a number.
pub(super) fn events_of(channel: &str, after: u64) -> String {
    format!("/api/channels/{channel}/events?limit=1000&after={after}")
}

/// What must stay of a message: its times are made younger with its directory.
pub(super) fn slim(event: &Value) -> Value {
    json!([event["seq"], event["type"], event["data"]])
}
