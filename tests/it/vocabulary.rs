//! The generated documents against the running server: what they say is what it does.
//!
//! Guarantees: every event of the AsyncAPI document and every command of the OpenAPI document is tried, and
//! what the server answers and keeps is held against the schemas that it serves.
//! That the files are in step is tested in `generated`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_client::http::Method;

use crate::{
    agents,
    server::{Server, eventually},
};

/// The example of a domain by configuration alone.
const DECLARED: &str = include_str!("../../examples/declared-domain/tidings.toml");

/// A server, somebody who may do everything, and what the server says of itself.
struct Tried {
    server: Server,
    token: String,
    openapi: Value,
    asyncapi: Value,
    answered: BTreeSet<String>,
}

impl Tried {
    async fn start(config: &str) -> Self {
        let server = Server::start(config);
        let token = server.admin();
        let openapi = server.get("/openapi.json", &token).await.json();
        let asyncapi = server.get("/asyncapi.json", &token).await.json();
        Self { server, token, openapi, asyncapi, answered: BTreeSet::new() }
    }

    /// The commands of the document: name, method and path.
    fn commands(&self) -> Vec<(String, String, String)> {
        let mut commands = Vec::new();
        for (path, operations) in self.openapi["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let name = operation["operationId"].as_str().expect("an id").to_owned();
                if name.contains('.') {
                    commands.push((name, method.clone(), path.clone()));
                }
            }
        }
        commands
    }

    /// Runs a command by its route, as the document has it, and holds the answer against its schema.
    async fn run(&mut self, name: &str, input: Value) -> Value {
        let (_, method, path) = self.commands().into_iter().find(|(known, ..)| known == name).expect(name);
        let operation = self.openapi["paths"][&path][&method].clone();
        let mut rest = input.as_object().expect("an object").clone();
        let mut route = path;
        for parameter in operation["parameters"].as_array().expect("parameters") {
            let field = parameter["name"].as_str().expect("a name");
            if parameter["in"] == "path" {
                let value = rest.remove(field).expect(field);
                route = route.replace(&format!("{{{field}}}"), value.as_str().expect("a text"));
            }
        }
        let (verb, body) = match method.as_str() {
            "get" | "delete" => {
                let pairs: Vec<String> =
                    rest.iter().map(|(key, value)| format!("{key}={}", value.to_string().trim_matches('"'))).collect();
                route += &format!("?{}", pairs.join("&"));
                (if method == "get" { Method::GET } else { Method::DELETE }, None)
            }
            "patch" => (Method::PATCH, Some(rest.into())),
            _ => (Method::POST, Some(rest.into())),
        };
        let answer = self.server.call(verb, &route, &self.token, body).await;
        let response = &operation["responses"][answer.status.to_string()];
        assert!(
            (200..300).contains(&answer.status) && response.is_object(),
            "{name}: {} {}",
            answer.status,
            answer.text()
        );
        self.answered.insert(name.to_owned());
        let Some(schema) = response["content"]["application/json"].get("schema") else {
            assert!(response["content"]["text/plain"].is_object(), "{name} says what it answers");
            return answer.text().into();
        };
        holds(schema, &self.openapi, &answer.json(), name);
        answer.json()
    }

    /// The durable messages of a channel, each held against the schema of its message.
    async fn heard(&self, channel: &str) -> BTreeSet<String> {
        let path = format!("/api/channels/{channel}/events?after=0&limit=1000");
        let events = self.server.get(&path, &self.token).await.json()["events"].clone();
        let key = channel.split(':').next().expect("a namespace");
        let messages = self.asyncapi["channels"][key]["messages"].as_object().expect("messages").clone();
        let mut types = BTreeSet::new();
        for event in events.as_array().expect("events") {
            let event_type = event["type"].as_str().expect("a type");
            let own = messages.keys().map(|name| &self.asyncapi["components"]["messages"][name]);
            let own = own.into_iter().find(|message| message["name"] == event_type).expect(event_type);
            holds(&own["payload"], &self.asyncapi, event, event_type);
            types.insert(event_type.to_owned());
        }
        types
    }
}

/// Fails unless a value is what the schema of a document says.
fn holds(schema: &Value, document: &Value, value: &Value, what: &str) {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&whole).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{what}: {value} {wrong:?}");
}

/// The session has ended. Reading its state is a command, too.
async fn has_ended(tried: &mut Tried, id: &str) {
    let path = format!("/api/sessions/{id}");
    eventually("the end of the session", async || {
        !tried.server.get(&path, &tried.token).await.json()["endedAt"].is_null()
    })
    .await;
    tried.run("session.get", json!({"sessionId": id})).await;
}

/// The commands of projects, but for the last one: the project.
async fn tries_projects(tried: &mut Tried, root: &TempDir) -> String {
    let made = tried.run("project.register", json!({"name": "one", "root": root.path()})).await;
    let project = made["projectId"].as_str().expect("an id").to_owned();
    tried.run("project.list", json!({"limit": 5})).await;
    tried.run("project.set_member", json!({"projectId": project, "userId": "ada", "membership": "owner"})).await;
    tried.run("project.get", json!({"projectId": project})).await;
    tried.run("project.remove_member", json!({"projectId": project, "userId": "ada"})).await;
    project
}

async fn started(tried: &mut Tried, start: Value) -> String {
    tried.run("session.start", start).await["sessionId"].as_str().expect("an id").to_owned()
}

/// The commands of sessions that run programs: the sessions.
async fn tries_programs(tried: &mut Tried, project: &str) -> Vec<String> {
    let line = "read line; echo got $line; exec sleep 600";
    let id = started(tried, json!({"projectId": project, "command": ["sh", "-c", line]})).await;
    tried.run("session.send_message", json!({"sessionId": id, "content": "hello"})).await;
    let path = format!("/api/sessions/{id}/output");
    eventually("its output", async || tried.server.get(&path, &tried.token).await.text().contains("got hello")).await;
    assert_eq!(tried.run("session.output", json!({"sessionId": id, "type": "stdout"})).await, "got hello\n");
    tried.run("session.list", json!({"status": "running", "limit": 5})).await;
    tried.run("session.pause", json!({"sessionId": id})).await;
    tried.run("session.resume", json!({"sessionId": id})).await;
    tried.run("session.cancel", json!({"sessionId": id})).await;
    has_ended(tried, &id).await;
    let mut sessions = vec![id];
    for program in ["true", "/nowhere/at/all"] {
        let id = started(tried, json!({"projectId": project, "command": [program]})).await;
        has_ended(tried, &id).await;
        sessions.push(id);
    }
    sessions
}

/// The commands of sessions that run agents: the sessions.
async fn tries_agents(tried: &mut Tried, project: &str) -> Vec<String> {
    let asks = started(tried, json!({"projectId": project, "agent": "asks", "prompt": "look"})).await;
    does(tried, &asks, "waiting").await;
    let sent = tried.run("session.send_message", json!({"sessionId": asks, "content": "more"})).await;
    tried.run("session.cancel_message", json!({"sessionId": asks, "messageId": sent["messageId"]})).await;
    let answer = json!({"sessionId": asks, "requestId": "r1", "decision": "allow_once"});
    tried.run("session.resolve_permission", answer).await;
    has_ended(tried, &asks).await;
    let busy = started(tried, json!({"projectId": project, "agent": "busy", "prompt": "look"})).await;
    does(tried, &busy, "executing").await;
    tried.run("session.interrupt", json!({"sessionId": busy})).await;
    does(tried, &busy, "idle").await;
    tried.run("session.send_message", json!({"sessionId": busy, "content": "again"})).await;
    has_ended(tried, &busy).await;
    vec![asks, busy]
}

/// Waits until the agent of a session does this.
async fn does(tried: &Tried, id: &str, activity: &str) {
    let path = format!("/api/sessions/{id}");
    eventually(activity, async || {
        tried.server.get(&path, &tried.token).await.json()["conversation"]["activity"] == activity
    })
    .await;
}

#[tokio::test]
async fn every_command_of_the_document_is_answered_as_it_says() {
    let (folder, root) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let script = agents::write_script(
        &folder,
        &[agents::ASKED, agents::INIT, agents::PERMISSION, agents::PERMITTED, agents::RESULT],
    );
    let asks = agents::agent("asks", "claude-code", "open", &script, &agents::CLAUDE);
    let busy = agents::recorded("claude_interrupted");
    let busy = agents::agent("busy", "claude-code", "open", &busy, &agents::CLAUDE);
    let mut tried = Tried::start(&(asks + &busy)).await;

    let project = tries_projects(&mut tried, &root).await;
    let mut sessions = tries_programs(&mut tried, &project).await;
    sessions.append(&mut tries_agents(&mut tried, &project).await);
    tried.run("project.remove", json!({"projectId": project})).await;

    let all: BTreeSet<String> = tried.commands().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(tried.answered, all, "commands of the document that nobody has tried");
    // What was told meanwhile is what the document says, and every kind of start and end was among it.
    let mut heard = tried.heard(&format!("project:{project}")).await;
    heard.append(&mut tried.heard("user:root").await);
    for id in sessions {
        heard.append(&mut tried.heard(&format!("session:{id}")).await);
    }
    for event_type in [
        "project.removed",
        "session.summary",
        "session.completed",
        "session.error",
        "session.cancelled",
        "session.paused",
        "session.permission_resolved",
        "user.attention_requested",
    ] {
        assert!(heard.contains(event_type), "{event_type} in {heard:?}");
    }
}

#[tokio::test]
async fn every_event_of_the_document_is_routed_or_is_the_servers_alone() {
    let tried = Tried::start(DECLARED).await;
    let operations = tried.asyncapi["operations"].as_object().expect("operations");
    let published: Vec<&str> = operations
        .iter()
        .filter(|(name, _)| name.ends_with(".publish"))
        .flat_map(|(_, operation)| operation["messages"].as_array().expect("messages"))
        .filter_map(|message| message["$ref"].as_str()?.rsplit('/').next())
        .collect();
    let mut tried_types = 0;
    for (name, message) in tried.asyncapi["components"]["messages"].as_object().expect("messages") {
        let Some(example) = message["examples"][0].get("payload") else { continue };
        holds(&message["payload"], &tried.asyncapi, example, name);
        assert!(message["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{name} says what it tells");
        let event = json!({"type": example["type"], "data": example["data"]});
        let answer = tried.server.post("/api/events", &tried.token, event).await;
        if published.contains(&name.as_str()) {
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            let placed = &answer.json()["results"][0];
            assert_eq!(placed["channel"], example["channel"], "{name}");
            assert_eq!(placed.get("seq").is_some(), example.get("seq").is_some(), "{name}");
        } else {
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_event")), "{name}");
        }
        tried_types += 1;
    }
    assert!(tried_types > 20, "the examples are not found");
}

#[tokio::test]
async fn data_of_a_known_type_is_refused_with_its_fields_wherever_it_comes_from() {
    let tried = Tried::start(DECLARED).await;
    let table = [
        (json!({"type": "session.completed", "data": {"exitCode": 0}}), vec!["data.sessionId"]),
        (json!({"type": "session.completed", "data": {"sessionId": "s1", "exitCode": "0"}}), vec!["data.exitCode"]),
        (json!({"type": "session.progress", "data": {"sessionId": "s1", "current": 2, "total": 1}}), vec!["data"]),
        (
            json!({"type": "session.tool_started", "data": {"sessionId": "s1", "executionId": "", "name": "x"}}),
            vec!["data.executionId"],
        ),
        (json!({"type": "user.notice", "data": {"userId": "a:b"}}), vec!["data.userId"]),
        (json!({"type": "build.finished", "data": {"buildId": "7", "passed": "yes"}}), vec!["data.passed"]),
        (json!({"type": "build.queued", "data": {}}), vec!["data.buildId"]),
    ];
    for (event, fields) in table {
        let answer = tried.server.post("/api/events", &tried.token, event.clone()).await;
        assert_eq!(answer.status, 422, "{event}: {}", answer.text());
        let refused = answer.json()["fields"].clone();
        assert_eq!(refused.as_object().expect("fields").keys().collect::<Vec<_>>(), fields, "{event}");
    }
    for event in [
        json!({"type": "build.queued", "data": {"buildId": "7"}}),
        json!({"type": "build.finished", "data": {"buildId": "7", "passed": true, "failures": [{"test": "a"}]}}),
        json!({"type": "build.progress", "data": {"done": 0.5, "buildId": "7"}}),
    ] {
        let placed = tried.server.publish(&tried.token, event).await;
        assert_eq!(placed[0]["channel"], "build:7");
    }
    let history = tried.server.get("/api/channels/build:7/events?after=0", &tried.token).await.json();
    let types: Vec<&str> =
        history["events"].as_array().expect("events").iter().filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(types, ["build.queued", "build.finished"], "progress is ephemeral");
}

#[test]
fn a_declaration_that_is_wrong_ends_the_start_and_names_its_key() {
    let table = [
        ("[[domains]]\nname = \"build\"\nchannel = \"build\"", "domains[0].channel (tidings.toml)"),
        ("[[domains]]\nname = \"session\"\nchannel = \"run:{id}\"", "domains[0].name (tidings.toml): 'session'"),
        ("[[domains]]\nname = \"run\"\nchannel = \"session:{id}\"", "domains[0].channel (tidings.toml): 'session'"),
        ("[[domains]]\nname = \"auth\"\nchannel = \"a:{id}\"", "domains[0].name"),
        ("[[domains]]\nname = \"a\"\nchannel = \"a:{id}\"\nchanel = 1", "domains[0].chanel"),
        (
            "[[domains]]\nname = \"a\"\nchannel = \"a:{id}\"\n[[domains.events]]\ntype = \"a.b\"\nschema = {type = \"text\"}",
            "domains[0].events[0].schema",
        ),
        (
            "[[domains]]\nname = \"a\"\nchannel = \"a:{id}\"\n[[domains.events]]\ntype = \"a.b\"\nschema_file = \"none.json\"",
            "domains[0].events[0].schema_file",
        ),
        (
            "[[domains]]\nname = \"a\"\nchannel = \"a:{id}\"\n[[domains]]\nname = \"a\"\nchannel = \"b:{id}\"",
            "domains[1].name",
        ),
        ("[retention.build]\nmessages = 1", "retention.build"),
    ];
    for (config, key) in table {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("tidings.toml"), config).expect("writes");
        let output = crate::server::tidings(home.path()).arg("serve").output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(key), "{config}: {said}");
    }
}
