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
    agents::{CLAUDE, agent, recorded, write_script},
    server::{Server, eventually},
    watcher::Watcher,
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

async fn project(tried: &mut Tried, root: &TempDir) -> String {
    let made = tried.run("project.register", json!({"name": "one", "root": root.path()})).await;
    made["projectId"].as_str().expect("an id").to_owned()
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

/// What an agent prints so that everything that an agent can tell is told: in its first turn a thought, a
/// text, a plan, a subagent with a tool, a request to a person and something unknown; its second one is interrupted.
const TELLING: &[&str] = &[
    r#"expect {"type":"user"}"#,
    r#"> {"type":"system","subtype":"init","session_id":"s","tools":["Bash"],"model":"m"}"#,
    r#"> {"type":"stream_event","event":{"type":"message_start","message":{"id":"m1","role":"assistant","content":[]}},"session_id":"s"}"#,
    r#"> {"type":"stream_event","event":{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}},"session_id":"s"}"#,
    r#"> {"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}},"session_id":"s"}"#,
    r#"> {"type":"stream_event","event":{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}},"session_id":"s"}"#,
    r#"> {"type":"stream_event","event":{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Yes."}},"session_id":"s"}"#,
    r#"> {"type":"control_request","request_id":"r1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"ls"}}}"#,
    r#"expect {"type":"control_response"}"#,
    r#"> {"type":"assistant","message":{"id":"m1","role":"assistant","content":[{"type":"thinking","thinking":"Hm."}]},"session_id":"s"}"#,
    r#"> {"type":"assistant","message":{"id":"m1","role":"assistant","content":[{"type":"text","text":"Yes."}]},"session_id":"s"}"#,
    r#"> {"type":"assistant","message":{"id":"m2","role":"assistant","content":[{"type":"tool_use","id":"t1","name":"TodoWrite","input":{"todos":[{"content":"Read","status":"completed","activeForm":"Reading"}]}}]},"session_id":"s"}"#,
    r#"> {"type":"control_request","request_id":"q1","request":{"subtype":"can_use_tool","tool_name":"AskUserQuestion","input":{"questions":[{"question":"Which?","options":[{"label":"A"}]}]}}}"#,
    r#"expect {"type":"control_response","response":{"request_id":"q1"}}"#,
    r#"> {"type":"assistant","message":{"id":"m3","role":"assistant","content":[{"type":"tool_use","id":"t2","name":"Task","input":{"description":"Look","subagent_type":"Explore","prompt":"Look"}}]},"session_id":"s"}"#,
    r#"> {"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t2","content":"Seen."}]},"session_id":"s"}"#,
    r#"> {"type":"something_new","session_id":"s"}"#,
    "> a line that is no JSON",
    r#"> {"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s","usage":{"input_tokens":1,"output_tokens":2}}"#,
    r#"expect {"type":"user"}"#,
    r#"expect {"type":"control_request","request":{"subtype":"interrupt"}}"#,
    r#"> {"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"s","usage":{"input_tokens":1,"output_tokens":2}}"#,
    "hang",
];

/// An agent is asked everything that an agent can be asked. What it told, ephemeral events included.
async fn ask_an_agent(tried: &mut Tried, project: &str) -> BTreeSet<String> {
    let mut watcher = Watcher::connect(&tried.server, &tried.token).await;
    let start = json!({"projectId": project, "agent": "a", "prompt": "look"});
    let started = tried.run("session.start", start).await;
    let (id, channel) = (started["sessionId"].clone(), started["channel"].clone());
    watcher.done("subscribe", json!({"channel": channel, "since": {"seq": 0}})).await;
    let kind = |wanted: &'static str| move |message: &Value| message["type"] == wanted;
    let mut seen = watcher.until("a request", kind("session.permission_requested")).await;
    let kept = tried.run("session.send_message", json!({"sessionId": id, "content": "next"})).await;
    assert_eq!(kept["queued"], true);
    let dropped = tried.run("session.send_message", json!({"sessionId": id, "content": "no"})).await;
    tried.run("session.cancel_message", json!({"sessionId": id, "messageId": dropped["messageId"]})).await;
    tried.run("session.pause", json!({"sessionId": id})).await;
    tried.run("session.resume", json!({"sessionId": id})).await;
    seen.extend(watcher.until("a sign of life", kind("session.heartbeat")).await);
    let answer = json!({"sessionId": id, "requestId": "r1", "decision": "allow_once"});
    tried.run("session.resolve_permission", answer).await;
    seen.extend(watcher.until("a question", kind("session.question_requested")).await);
    let answer = json!({"sessionId": id, "requestId": "q1", "answers": {"Which?": "A"}});
    tried.run("session.answer_question", answer).await;
    seen.extend(watcher.until("the second turn", kind("session.user_message")).await);
    tried.run("session.interrupt", json!({"sessionId": id})).await;
    seen.extend(watcher.until("its end", kind("session.turn_completed")).await);
    tried.run("session.cancel", json!({"sessionId": id})).await;
    seen.extend(watcher.until("the end", kind("session.cancelled")).await);
    let id = id.as_str().expect("an id");
    has_ended(tried, id).await;
    let mut heard = tried.heard(&format!("session:{id}")).await;
    let start = json!({"projectId": project, "command": ["true"], "pty": true});
    let shown = tried.run("session.start", start).await["sessionId"].clone();
    let shown = shown.as_str().expect("an id");
    has_ended(tried, shown).await;
    heard.append(&mut tried.heard(&format!("session:{shown}")).await);
    heard.append(&mut tried.heard("user:root").await);
    let of_session = seen.iter().filter(|message| message["channel"] == channel);
    heard.extend(of_session.filter_map(|message| message["type"].as_str().map(str::to_owned)));
    heard
}

/// Waits until the project's channel has an event of this type of an operation.
async fn operation_ends(tried: &Tried, project: &str, operation: &Value, as_type: &str) {
    let path = format!("/api/channels/project:{project}/events?after=0&limit=1000");
    eventually(as_type, async || {
        let events = tried.server.get(&path, &tried.token).await.json()["events"].clone();
        let is_end = |event: &Value| event["type"] == as_type && event["data"]["operationId"] == *operation;
        events.as_array().expect("events").iter().any(is_end)
    })
    .await;
}

/// A repository is asked everything that it can be asked, and files are read and watched. What a further
/// project told, which was cloned from it.
async fn ask_git(tried: &mut Tried, project: &str, root: &TempDir) -> BTreeSet<String> {
    // A remote that takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let url = format!("http://{}/never.git", silent.local_addr().expect("an address"));
    let begun = tried.run("git.clone", json!({"projectId": project, "url": url})).await["operationId"].clone();
    let waits = tried.run("git.add", json!({"projectId": project, "paths": ["."]})).await;
    assert_eq!(waits["queued"], true, "{waits}");
    for operation in [&waits["operationId"], &begun] {
        tried.run("git.cancel", json!({"projectId": project, "operationId": operation})).await;
        operation_ends(tried, project, operation, "git.operation.cancelled").await;
    }

    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.current_dir(root.path()).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").args(arguments);
        assert!(command.status().expect("git runs").success(), "{arguments:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["config", "user.name", "Ada"]);
    git(&["config", "user.email", "ada@example.com"]);
    git(&["remote", "add", "origin", root.path().to_str().expect("a path")]);
    std::fs::write(root.path().join("a.txt"), "one\n").expect("writes");
    let steps = [
        ("git.add", json!({"paths": ["."]}), "completed"),
        ("git.unstage", json!({"paths": ["."]}), "completed"),
        ("git.add", json!({"paths": ["."]}), "completed"),
        ("git.commit", json!({"message": "first"}), "completed"),
        ("git.fetch", json!({}), "completed"),
        ("git.push", json!({"branch": "main"}), "completed"),
        ("git.checkout", json!({"branch": "other", "create": true}), "completed"),
        ("git.merge", json!({"rev": "main"}), "completed"),
        ("git.rebase", json!({"onto": "main"}), "completed"),
        ("git.pull", json!({"remote": "origin", "branch": "main"}), "completed"),
        ("git.stash", json!({"action": "pop"}), "failed"),
        ("git.worktree_add", json!({"name": "w"}), "completed"),
        ("git.worktree_remove", json!({"name": "w"}), "completed"),
    ];
    for (name, mut input, end) in steps {
        input["projectId"] = json!(project);
        let begun = tried.run(name, input).await["operationId"].clone();
        operation_ends(tried, project, &begun, &format!("git.operation.{end}")).await;
    }
    let copy = tempfile::tempdir().expect("a directory");
    let cloned = self::project(tried, &copy).await;
    let url = format!("file://{}", root.path().display());
    let begun = tried.run("git.clone", json!({"projectId": cloned, "url": url})).await["operationId"].clone();
    operation_ends(tried, &cloned, &begun, "git.operation.completed").await;
    let names =
        ["git.unlock", "git.status", "git.log", "git.branches", "git.worktrees", "git.diff", "fs.list", "fs.watch"];
    for name in names {
        tried.run(name, json!({"projectId": project})).await;
    }
    tried.run("git.show", json!({"projectId": project, "rev": "HEAD"})).await;
    tried.run("fs.read", json!({"projectId": project, "path": "a.txt"})).await;
    let path = format!("/api/channels/project:{project}/events?after=0&limit=1000");
    let tells = async |what: &str| {
        eventually(what, async || tried.server.get(&path, &tried.token).await.text().contains(what)).await;
    };
    std::fs::write(root.path().join("b.txt"), "b").expect("writes");
    tells("fs.changed").await;
    std::fs::remove_dir_all(root.path()).expect("removes");
    tells("fs.rescan").await;
    tried.heard(&format!("project:{cloned}")).await
}

/// Runs of workflows in which everything that can be told of one is told. What was told.
async fn run_workflows(tried: &mut Tried, project: &str) -> BTreeSet<String> {
    let definition = json!({"steps": {
        "works": {"command": ["sh", "-c", "echo up; echo progress 1 2 >> $WORKFLOW_REPORT"]},
        "fails": {"command": ["false"], "continueOnError": true},
        "skipped": {"if": "1 == 2", "command": ["true"]},
        "agent": {"session": {"agent": "quick", "prompt": "look"}},
        "asks": {"needs": ["works", "fails", "agent"], "approval": {"message": "go on?"}},
    }});
    let started = json!({"projectId": project, "definition": definition});
    assert_eq!(tried.run("workflow.validate", started.clone()).await["valid"], true);
    let id = tried.run("workflow.run.start", started).await["runId"].as_str().expect("an id").to_owned();
    run_is(tried, &id, "waiting").await;
    let answer = json!({"runId": id, "stepId": "asks", "decision": "approved"});
    tried.run("workflow.run.approve", answer).await;
    run_is(tried, &id, "completed").await;
    tried.run("workflow.run.get", json!({"runId": id})).await;
    let output = tried.run("workflow.run.output", json!({"runId": id, "stepId": "works", "attempt": 1})).await;
    assert_eq!(output, "up\n");
    let again = tried.run("workflow.run.rerun", json!({"runId": id, "from": "asks"})).await;
    let again = again["runId"].as_str().expect("an id").to_owned();
    run_is(tried, &again, "waiting").await;
    tried.run("workflow.run.list", json!({"status": "waiting", "limit": 5})).await;
    tried.run("workflow.run.cancel", json!({"runId": again})).await;
    run_is(tried, &again, "cancelled").await;
    let fails = json!({"projectId": project, "definition": {"steps": {"fails": {"command": ["false"]}}}});
    let failed = tried.run("workflow.run.start", fails).await["runId"].as_str().expect("an id").to_owned();
    run_is(tried, &failed, "failed").await;
    let mut heard = BTreeSet::new();
    for id in [id, again, failed] {
        heard.append(&mut tried.heard(&format!("workflow:run:{id}")).await);
    }
    heard
}

async fn run_is(tried: &Tried, id: &str, status: &str) {
    let path = format!("/api/workflows/runs/{id}");
    eventually(status, async || tried.server.get(&path, &tried.token).await.json()["status"] == status).await;
}

#[tokio::test]
async fn every_command_of_the_document_is_answered_as_it_says_and_every_event_is_told_by_something() {
    let (root, scripts) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let asked = agent("a", "claude-code", "open", &write_script(&scripts, TELLING), &CLAUDE);
    let quick = agent("quick", "gemini", "close", &recorded("gemini_turn"), &[]);
    let config = "[git]\nprotocols = [\"http\", \"file\"]\n[run]\nheartbeat_ms = 50\n";
    let mut tried = Tried::start(&format!("{config}{asked}{quick}")).await;
    let project = project(&mut tried, &root).await;
    tried.run("project.list", json!({"limit": 5})).await;
    tried.run("agent.list", json!({"projectId": project})).await;
    tried.run("project.set_member", json!({"projectId": project, "userId": "ada", "membership": "owner"})).await;
    tried.run("project.get", json!({"projectId": project})).await;
    tried.run("project.remove_member", json!({"projectId": project, "userId": "ada"})).await;

    let start = json!({"projectId": project, "command": ["sh", "-c", "read line; echo got $line; exec sleep 600"]});
    let id = tried.run("session.start", start).await["sessionId"].as_str().expect("an id").to_owned();
    tried.run("session.send_message", json!({"sessionId": id, "content": "hello"})).await;
    let path = format!("/api/sessions/{id}/output");
    eventually("its output", async || tried.server.get(&path, &tried.token).await.text().contains("got hello")).await;
    assert_eq!(tried.run("session.output", json!({"sessionId": id, "type": "stdout"})).await, "got hello\n");
    tried.run("session.list", json!({"status": "running", "limit": 5})).await;
    tried.run("session.cancel", json!({"sessionId": id})).await;
    has_ended(&mut tried, &id).await;
    let ended = json!({"projectId": project, "command": ["true"]});
    let id_of_ended = tried.run("session.start", ended).await["sessionId"].as_str().expect("an id").to_owned();
    has_ended(&mut tried, &id_of_ended).await;
    let lost = json!({"projectId": project, "command": ["/nowhere/at/all"]});
    let id_of_lost = tried.run("session.start", lost).await["sessionId"].as_str().expect("an id").to_owned();
    has_ended(&mut tried, &id_of_lost).await;
    let mut of_agent = ask_an_agent(&mut tried, &project).await;
    let mut of_terminals = open_terminals(&mut tried, &project).await;
    let mut of_workflows = run_workflows(&mut tried, &project).await;
    of_agent.append(&mut ask_git(&mut tried, &project, &root).await);
    tried.run("project.remove", json!({"projectId": project})).await;

    let all: BTreeSet<String> = tried.commands().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(tried.answered, all, "commands of the document that nobody has tried");
    // What was told meanwhile is what the document says, and all that it says was among it.
    let mut heard = tried.heard(&format!("project:{project}")).await;
    for id in [id, id_of_ended, id_of_lost] {
        heard.append(&mut tried.heard(&format!("session:{id}")).await);
    }
    heard.append(&mut of_agent);
    heard.append(&mut of_workflows);
    heard.append(&mut of_terminals);
    let mut known = BTreeSet::new();
    for namespace in ["session", "shell", "project", "user", "workflow"] {
        let messages = tried.asyncapi["channels"][namespace]["messages"].as_object().expect("messages");
        let names = messages.keys().map(|key| &tried.asyncapi["components"]["messages"][key]["name"]);
        known.extend(names.filter_map(|name| name.as_str().map(str::to_owned)));
    }
    let untold: Vec<&String> = known.difference(&heard).collect();
    // A notice to a person is for producers outside.
    assert_eq!(untold, ["user.notice"], "events of the document that nothing tells");
}

/// Tries what there is for terminals, and gives what they told.
async fn open_terminals(tried: &mut Tried, project: &str) -> BTreeSet<String> {
    let opened =
        tried.run("shell.open", json!({"projectId": project, "command": ["cat"], "cols": 80, "rows": 24})).await;
    let id = opened["terminalId"].clone();
    tried.run("shell.input", json!({"terminalId": id, "data": "hello\r", "inputSeq": 1})).await;
    tried.run("shell.resize", json!({"terminalId": id, "cols": 100, "rows": 30})).await;
    let path = format!("/api/shells/{}", id.as_str().expect("an id"));
    eventually("its screen", async || {
        tried.server.get(&path, &tried.token).await.json()["screen"].as_str().is_some_and(|text| text.contains("hello"))
    })
    .await;
    tried.run("shell.get", json!({"terminalId": id})).await;
    tried.run("shell.list", json!({"status": "running", "limit": 5})).await;
    tried.run("shell.close", json!({"terminalId": id})).await;
    let lost = tried.run("shell.open", json!({"projectId": project, "command": ["/nowhere/at/all"]})).await;
    let mut heard = BTreeSet::new();
    for terminal in [opened, lost] {
        let path = format!("/api/shells/{}", terminal["terminalId"].as_str().expect("an id"));
        eventually("the end of a terminal", async || {
            tried.server.get(&path, &tried.token).await.json()["endedAt"].is_string()
        })
        .await;
        heard.append(&mut tried.heard(terminal["channel"].as_str().expect("a channel")).await);
    }
    heard
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
