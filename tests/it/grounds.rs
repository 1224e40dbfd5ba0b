//! A project with a repository of git, and what can be done with it: by the server, and by a person at a desk.
//!
//! Guarantees: git at the desk knows nothing of whoever runs the tests; every wait ends.
//! It is no test.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{server::eventually, sessions::Room, watcher::Watcher};

const PERSON: [(&str, &str); 7] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_AUTHOR_NAME", "Ada"),
    ("GIT_AUTHOR_EMAIL", "ada@example.com"),
    ("GIT_COMMITTER_NAME", "Ada"),
    ("GIT_COMMITTER_EMAIL", "ada@example.com"),
];

/// git at a desk, in a directory: what it printed.
pub(crate) fn desk(dir: &Path, words: &[&str]) -> String {
    let done = Command::new("git").args(words).current_dir(dir).env_clear().envs(PERSON).output().expect("git runs");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

/// The project.
pub(crate) struct Grounds {
    pub(crate) room: Room,
    pub(crate) watcher: Watcher,
}

impl Grounds {
    /// With a server that has this configuration; the repository is made with these words.
    pub(crate) async fn open(config: &str, init: &[&str]) -> Self {
        let grounds = Self::around(Room::open(config).await).await;
        grounds.git(&[&["init", "--quiet", "--initial-branch=main"], init, &["."]].concat());
        for (name, value) in [("user.name", "Grace"), ("user.email", "grace@example.com")] {
            grounds.git(&["config", name, value]);
        }
        grounds.write("a.txt", "one\n");
        grounds.commit("first");
        grounds
    }

    /// In a directory that is as it is.
    pub(crate) async fn around(room: Room) -> Self {
        let watcher = Watcher::connect(&room.server, &room.token).await;
        Self { room, watcher }
    }

    pub(crate) fn root(&self) -> &Path {
        self.room.root.path()
    }

    /// git at a desk.
    pub(crate) fn git(&self, words: &[&str]) -> String {
        desk(self.root(), words)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("makes");
        fs::write(path, text).expect("writes");
    }

    /// Commits all at a desk.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    fn with_project(&self, mut input: Value) -> Value {
        input["projectId"] = json!(self.room.project);
        input
    }

    /// The answer to a command that reads, and succeeds.
    pub(crate) async fn read(&self, name: &str, input: Value) -> Value {
        self.watcher.done(&format!("git.{name}"), self.with_project(input)).await["data"].clone()
    }

    /// The answer to a command, whatever it is.
    pub(crate) async fn ask(&self, name: &str, input: Value) -> Value {
        self.watcher.ask(&format!("git.{name}"), self.with_project(input)).await
    }

    /// The end of an operation, whatever it is: its type, and its data.
    pub(crate) async fn operate(&self, name: &str, input: Value) -> (String, Value) {
        let begun = self.read(name, input).await;
        let path = format!("/api/channels/project:{}/events?after=0&limit=1000", self.room.project);
        let end = async || {
            let events = self.room.server.get(&path, &self.room.token).await.json()["events"].clone();
            let is_end = |event: &&Value| {
                let kind = event["type"].as_str().and_then(|kind| kind.strip_prefix("git.operation."));
                event["data"]["operationId"] == begun["operationId"]
                    && matches!(kind, Some("completed" | "failed" | "cancelled"))
            };
            events.as_array().expect("events").iter().find(is_end).cloned()
        };
        eventually(name, async || end().await.is_some()).await;
        let end = end().await.expect("it ended");
        (end["type"].as_str().expect("a type").to_owned(), end["data"].clone())
    }

    /// An operation that succeeds.
    pub(crate) async fn done(&self, name: &str, input: Value) -> Value {
        let (kind, end) = self.operate(name, input).await;
        assert_eq!(kind, "git.operation.completed", "{name}: {end}");
        end
    }

    /// The code of an operation that fails.
    pub(crate) async fn fails(&self, name: &str, input: Value) -> Value {
        let (kind, end) = self.operate(name, input).await;
        assert_eq!(kind, "git.operation.failed", "{name}: {end}");
        end["code"].clone()
    }
}
