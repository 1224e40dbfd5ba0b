//! Who may open a channel that others use: opening decides who reads it.
//!
//! Guarantees: the producers here have what the pages tell to give them, and nothing more.

use serde_json::{Value, json};

use crate::server::Server;

/// A server with a project of ada's, of which eve is a viewer.
struct House {
    server: Server,
    _root: tempfile::TempDir,
    project: String,
    eve: String,
}

impl House {
    async fn open() -> Self {
        let server = Server::start("");
        let (admin, root) = (server.admin(), tempfile::tempdir().expect("a directory"));
        let made = server.post("/api/projects", &admin, json!({"name": "p", "root": root.path()})).await;
        let project = made.json()["projectId"].as_str().expect("an id").to_owned();
        let eve = server.token("eve", &[]);
        let member = json!({"userId": "eve", "membership": "viewer"});
        let added = server.post(&format!("/api/projects/{project}/members"), &admin, member).await;
        assert!((200..300).contains(&added.status), "{}", added.text());
        Self { server, _root: root, project, eve }
    }

    /// A producer of sessions, terminals and runs of the project.
    fn producer(&self, name: &str) -> String {
        let project = format!("project:{}=ingest", self.project);
        let grants = ["session:*=ingest", "session:*=publish", "shell:*=ingest", "shell:*=publish", &project];
        self.server.token(name, &grants.map(|grant| ["--grant", grant]).concat())
    }

    async fn ingest(&self, bearer: &str, kind: &str, data: Value) -> (u16, String) {
        let answer = self.server.post("/api/events", bearer, json!({"type": kind, "data": data})).await;
        (answer.status, answer.text())
    }

    /// The status with which somebody reads a channel.
    async fn reads(&self, bearer: &str, channel: &str) -> u16 {
        self.server.get(&format!("/api/channels/{channel}/events"), bearer).await.status
    }
}

/// Each kind of thing that a producer opens: its channel, the event that opens it, its id, further data, and another event.
fn kinds() -> [(&'static str, &'static str, &'static str, Value, &'static str); 2] {
    [
        ("session:", "session.started", "sessionId", json!({}), "session.note"),
        ("shell:terminal:", "shell.opened", "terminalId", json!({"cols": 80, "rows": 24}), "shell.note"),
    ]
}

fn with(data: &Value, more: &[(&str, &str)]) -> Value {
    let mut data = data.clone();
    more.iter().for_each(|(name, value)| data[*name] = json!(value));
    data
}

#[tokio::test]
async fn nobody_opens_for_himself_or_a_project_what_another_has_opened_or_published() {
    let house = House::open().await;
    let (ada, ben) = (house.producer("ada"), house.producer("ben"));
    for (namespace, opens, id, data, note) in kinds() {
        let channel = |name: &str| format!("{namespace}{name}");
        // Opened by ada, in no project.
        assert_eq!(house.ingest(&ada, opens, with(&data, &[(id, "a1")])).await.0, 200);
        assert_eq!(house.ingest(&ada, note, json!({id: "a1", "x": "secret"})).await.0, 200);
        let (status, text) = house.ingest(&ben, opens, with(&data, &[(id, "a1"), ("projectId", &house.project)])).await;
        assert!(status == 409 && text.contains("conflict"), "{status} {text}");
        // Only published by ada.
        assert_eq!(house.ingest(&ada, note, json!({id: "a2", "x": "secret"})).await.0, 200);
        for more in [&[(id, "a2")][..], &[(id, "a2"), ("projectId", &house.project)]] {
            let (status, text) = house.ingest(&ben, opens, with(&data, more)).await;
            assert!(status == 409 && text.contains("conflict"), "{status} {text}");
        }
        for name in ["a1", "a2"] {
            assert_eq!(house.reads(&ben, &channel(name)).await, 403, "{namespace} {name}");
            assert_eq!(house.reads(&house.eve, &channel(name)).await, 403, "{namespace} {name}");
        }
        // Ben was first: ada learns of it and tells nothing there.
        assert_eq!(house.ingest(&ben, opens, with(&data, &[(id, "b1")])).await.0, 200);
        assert_eq!(house.ingest(&ada, opens, with(&data, &[(id, "b1"), ("projectId", &house.project)])).await.0, 409);
        // In one send: all or nothing.
        let both = json!([{"type": note, "data": {id: "a3"}}, {"type": opens, "data": with(&data, &[(id, "a1")])}]);
        assert_eq!(house.server.post("/api/events", &ben, both).await.status, 409);
        assert_eq!(
            house.server.get(&format!("/api/channels/{}", channel("a3")), &house.server.admin()).await.status,
            404
        );
    }
}

#[tokio::test]
async fn whoever_opened_or_published_alone_may_open_again_and_add_a_project() {
    let house = House::open().await;
    let ada = house.producer("ada");
    for (namespace, opens, id, data, note) in kinds() {
        assert_eq!(house.ingest(&ada, note, json!({id: "a1", "x": 1})).await.0, 200);
        assert_eq!(house.ingest(&ada, opens, with(&data, &[(id, "a1")])).await.0, 200, "what came before was its own");
        assert_eq!(house.ingest(&ada, opens, with(&data, &[(id, "a1")])).await.0, 200, "once more");
        assert_eq!(house.reads(&house.eve, &format!("{namespace}a1")).await, 403);
        let here = with(&data, &[(id, "a1"), ("projectId", &house.project)]);
        let (status, text) = house.ingest(&ada, opens, here).await;
        assert_eq!(status, 200, "{namespace}: {text}");
        assert_eq!(house.reads(&house.eve, &format!("{namespace}a1")).await, 200, "{namespace}");
    }
}

#[tokio::test]
async fn what_is_too_much_to_be_looked_through_is_opened_by_nobody() {
    let house = House::open().await;
    let ada = house.producer("ada");
    let long = "x".repeat(200_000);
    // More than 16 MiB, and a page.
    for n in 0..110 {
        assert_eq!(house.ingest(&ada, "session.note", json!({"sessionId": "a1", "x": long})).await.0, 200, "{n}");
    }
    let (status, text) = house.ingest(&ada, "session.started", json!({"sessionId": "a1"})).await;
    assert!(status == 409 && text.contains("conflict"), "{status} {text}");
}
