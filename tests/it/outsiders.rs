//! What somebody outside chose - a prompt, an agent's id of a conversation, a value in a workflow, a project - and
//! what becomes of it here.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of who may run what they like: that is the right to execute.

use serde_json::{Value, json};
use tidings_client::http::Response;

use crate::{
    server::{Server, eventually},
    sessions::Room,
    watcher::Watcher,
};

const SKIP: &str = "--dangerously-skip-permissions";

/// Agents that print their arguments, one a line.
const AGENTS: &str = r#"
[agents.bare]
command = ["printf", "[%s]\n", "{prompt}"]
resume = ["printf", "[%s]\n", "--resume", "{agentSessionId}"]
terminal = ["printf", "[%s]\n", "{prompt}"]

[agents.ended]
command = ["printf", "[%s]\n", "--", "{prompt}"]

[agents.named]
command = ["printf", "[%s]\n", "--prompt={prompt}"]
terminal = ["printf", "[%s]\n", "--prompt={prompt}"]

[agents.says]
adapter = "claude-code"
stdin = "close"
command = ["sh", "-c", "printf '%s\\n' \"$1\" '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"done\"}'", "says", "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"{prompt}\",\"tools\":[]}"]
resume = ["sh", "-c", "printf '%s\\n' \"$@\" >> resumed", "says", "--resume", "{agentSessionId}"]
"#;

async fn start(room: &Room, input: Value) -> Response {
    let mut body = input;
    body["projectId"] = json!(room.project);
    room.server.post("/api/sessions", &room.token, body).await
}

async fn started(room: &Room, input: Value) -> String {
    let answer = start(room, input).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["sessionId"].as_str().expect("an id").to_owned()
}

/// The field that a start is refused for.
async fn refused(room: &Room, input: Value) -> String {
    let answer = start(room, input).await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_data")), "{}", answer.text());
    let fields = answer.json()["fields"].as_object().expect("fields").clone();
    fields.keys().cloned().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_prompt_becomes_no_option_of_an_agents_program_in_pipes_in_a_terminal_and_in_a_workflow() {
    let room = Room::open(AGENTS).await;
    for prompt in [SKIP, "-", "--"] {
        for pty in [false, true] {
            let input = json!({"agent": "bare", "prompt": prompt, "pty": pty});
            assert_eq!(refused(&room, input).await, "prompt", "{prompt} {pty}");
        }
    }
    for (agent, expected) in [("named", format!("[--prompt={SKIP}]\n")), ("ended", format!("[--]\n[{SKIP}]\n"))] {
        let id = started(&room, json!({"agent": agent, "prompt": SKIP})).await;
        room.has_ended(&id).await;
        assert_eq!(room.output(&id).await, expected, "{agent}");
    }
    let id = started(&room, json!({"agent": "bare", "prompt": format!("not {SKIP}")})).await;
    room.has_ended(&id).await;
    assert_eq!(room.output(&id).await, format!("[not {SKIP}]\n"));
    // Whoever runs a workflow puts what an input says into the prompt.
    let definition = json!({"inputs": {"ask": null}, "steps": {"ask": {"session": {"agent": "bare", "prompt": "${{ inputs.ask }}"}}}});
    let run = run(&room, json!({"definition": definition, "inputs": {"ask": SKIP}})).await;
    assert_eq!((&run["status"], &run["steps"][0]["error"]["code"]), (&json!("failed"), &json!("invalid_data")));
    let sessions = room.server.get("/api/sessions", &room.token).await.json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(3), "nothing else was started: {sessions}");
}

/// The state of a run that has ended.
async fn run(room: &Room, mut input: Value) -> Value {
    input["projectId"] = json!(room.project);
    let begun = room.server.post("/api/workflows/runs", &room.token, input).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let path = format!("/api/workflows/runs/{}", begun.json()["runId"].as_str().expect("an id"));
    eventually("the end of the run", async || !room.server.get(&path, &room.token).await.json()["endedAt"].is_null())
        .await;
    room.server.get(&path, &room.token).await.json()
}

#[tokio::test]
async fn only_an_id_that_the_servers_own_agent_told_and_that_is_a_plain_word_becomes_an_argument() {
    let room = Room::open(AGENTS).await;
    let resume = |id: &str| json!({"agent": "says", "prompt": "x", "resume": id});
    let resumed = room.root.path().join("resumed");

    // What a producer outside tells of a session of its own is nothing to go on with.
    let agent = |session: &str, id: &str| json!({"type": "session.agent_started", "data": {"sessionId": session, "agentSessionId": id}});
    let told = json!([
        {"type": "session.started", "data": {"sessionId": "theirs", "projectId": room.project, "agent": "says"}},
        agent("theirs", SKIP),
        {"type": "session.completed", "data": {"sessionId": "theirs", "exitCode": 0}},
    ]);
    room.server.publish(&room.token, told).await;
    assert_eq!(room.state("theirs").await["conversation"]["agentSessionId"], SKIP, "it is shown as it was told");
    assert_eq!(refused(&room, resume("theirs")).await, "resume");
    // Nor can it say that this server runs it.
    for event in [
        json!({"type": "session.started", "data": {"sessionId": "t2", "projectId": room.project, "hosted": true}}),
        json!({"type": "shell.opened", "data": {"terminalId": "t2", "cols": 80, "rows": 24, "hosted": true}}),
        json!({"type": "git.operation.started", "data": {"projectId": room.project, "operationId": "o", "kind": "push", "hosted": true}}),
        json!({"type": "git.operation.queued", "data": {"projectId": room.project, "operationId": "o", "kind": "push", "hosted": true}}),
    ] {
        let answer = room.server.post("/api/events", &room.token, event).await;
        assert_eq!(
            (answer.status, answer.json()["fields"]["data.hosted"].is_string()),
            (422, true),
            "{}",
            answer.text()
        );
    }

    // An agent of this server is believed its own id, and nobody else's word for it.
    let own = started(&room, json!({"agent": "says", "prompt": "s-1"})).await;
    room.has_ended(&own).await;
    room.server.publish(&room.token, agent(&own, SKIP)).await;
    room.server.publish(&room.token, agent(&own, "somebody-elses")).await;
    assert_eq!(room.state(&own).await["conversation"]["agentSessionId"], "s-1");
    let second = started(&room, resume(&own)).await;
    room.has_ended(&second).await;
    assert_eq!(std::fs::read_to_string(&resumed).expect("it ran"), "--resume\ns-1\n");

    // And also of an agent of this server only a plain word becomes an argument.
    for odd in [SKIP, "../../etc/passwd", "a b", "$(id)"] {
        let own = started(&room, json!({"agent": "says", "prompt": odd})).await;
        room.has_ended(&own).await;
        assert_eq!(room.state(&own).await["conversation"]["agentSessionId"], odd);
        assert_eq!(refused(&room, resume(&own)).await, "resume", "{odd}");
    }
    assert_eq!(std::fs::read_to_string(&resumed).expect("reads"), "--resume\ns-1\n", "nothing more ran");
}

#[tokio::test]
async fn no_value_of_an_input_or_of_a_step_becomes_an_option_of_a_workflows_program() {
    let room = Room::open("").await;
    let definition = |command: Value| {
        let gives = json!({"command": ["sh", "-c", "echo output v=--upload-pack=x >> $WORKFLOW_REPORT"]});
        json!({"inputs": {"word": "-x", "yes": true, "none": ""}, "steps": {
            "gives": gives,
            "takes": {"needs": "gives", "command": command},
        }})
    };
    let table = [
        (json!(["echo", "${{ inputs.word }}"]), None),
        (json!(["echo", "${{ steps.gives.outputs.v }}"]), None),
        (json!(["${{ inputs.word }}", "x"]), None),
        (json!(["echo", "${{ inputs.none }}-${{ inputs.word }}"]), None),
        (json!(["echo", "${{ inputs.none ~ '-' ~ inputs.word }}"]), None),
        (json!(["echo", "x-${{ inputs.word }}"]), Some("x--x\n")),
        (json!(["echo", "--", "${{ inputs.word }}"]), Some("-- -x\n")),
        (json!(["echo", "--word=${{ steps.gives.outputs.v }}"]), Some("--word=--upload-pack=x\n")),
        (json!(["echo", "${{ '-e' if inputs.yes else '-n' }}", "x"]), Some("x\n")),
    ];
    for (command, printed) in table {
        let state = run(&room, json!({"definition": definition(command.clone())})).await;
        let takes = &state["steps"][1];
        match printed {
            None => assert_eq!(takes["error"]["code"], "expression_failed", "{command}: {takes}"),
            Some(printed) => assert_eq!((&takes["status"], &takes["tail"]), (&json!("completed"), &json!(printed))),
        }
    }
}

#[tokio::test]
async fn a_command_line_is_no_option_of_the_wrapper_that_stands_before_it() {
    // It prints what it is given, as a sandbox would run it.
    let room = Room::open("[run]\nwrapper = [\"printf\", \"[%s]\\n\"]\n").await;
    for command in [json!(["--bind", "/", "/", "sh"]), json!(["-"]), json!([""])] {
        assert_eq!(refused(&room, json!({"command": command})).await, "command", "{command}");
        let open = json!({"projectId": room.project, "command": command});
        let answer = room.server.post("/api/shells", &room.token, open).await;
        assert_eq!((answer.status, answer.json()["fields"]["command"].is_string()), (422, true), "{}", answer.text());
    }
    let id = started(&room, json!({"command": ["sh", "-c", "id"]})).await;
    room.has_ended(&id).await;
    assert_eq!(room.output(&id).await, "[sh]\n[-c]\n[id]\n");
}

#[tokio::test]
async fn words_for_git_are_no_options_whatever_command_takes_them() {
    let room = Room::open("").await;
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.current_dir(room.root.path()).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").args(arguments);
        assert!(command.status().expect("git runs").success(), "{arguments:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    let watcher = Watcher::connect(&room.server, &room.token).await;
    let odd = "--upload-pack=touch pwned";
    let table = [
        ("git.clone", json!({"url": odd})),
        ("git.clone", json!({"url": "https://h/a", "branch": odd})),
        ("git.clone", json!({"url": "ssh://-oProxyCommand=x/a"})),
        ("git.checkout", json!({"branch": odd})),
        ("git.checkout", json!({"branch": "b", "create": true, "from": odd})),
        ("git.fetch", json!({"remote": odd})),
        ("git.pull", json!({"remote": odd})),
        ("git.pull", json!({"remote": "origin", "branch": odd})),
        ("git.push", json!({"remote": odd})),
        ("git.push", json!({"branch": odd})),
        ("git.merge", json!({"rev": odd})),
        ("git.rebase", json!({"onto": odd})),
        ("git.worktree_add", json!({"name": "-b"})),
        ("git.worktree_add", json!({"name": "w", "branch": odd})),
        ("git.worktree_add", json!({"name": "w", "from": odd})),
        ("git.worktree_remove", json!({"name": "--force"})),
        ("git.diff", json!({"from": odd})),
        ("git.diff", json!({"from": "HEAD", "to": odd})),
        ("git.log", json!({"rev": odd})),
        ("git.log", json!({"after": odd})),
        ("git.show", json!({"rev": odd})),
        ("session.start", json!({"command": ["true"], "worktree": {"name": "-b"}})),
        ("session.start", json!({"command": ["true"], "worktree": {"name": "w", "branch": odd}})),
        ("session.start", json!({"command": ["true"], "worktree": {"name": "w", "from": odd}})),
    ];
    for (name, mut input) in table {
        input["projectId"] = json!(room.project);
        assert_eq!(watcher.refused(name, input.clone()).await, "invalid_data", "{name} {input}");
    }
}

#[tokio::test]
async fn whoever_ingests_puts_a_session_only_into_a_project_in_which_it_may_ingest() {
    let mut room = Room::open("").await;
    let members = format!("/api/projects/{}/members", room.project);
    let ada = json!({"userId": "ada", "membership": "viewer"});
    assert_eq!(room.server.post(&members, &room.token, ada).await.status, 200);
    let server = &room.server;
    let producer = server
        .token("ci", &["--grant", "*=publish", "--grant", "session:*=ingest,subscribe", "--grant", "shell:*=ingest"]);
    let project = format!("project:{}=ingest", room.project);
    let trusted =
        server.token("ci", &["--grant", "session:*=ingest", "--grant", "shell:terminal:*=ingest", "--grant", &project]);
    let starts = |project: Value| {
        let start = |kind: &str, mut data: Value| {
            if !project.is_null() {
                data["projectId"] = project.clone();
            }
            json!({"type": kind, "data": data})
        };
        [
            start("session.started", json!({"sessionId": "s1"})),
            start("shell.opened", json!({"terminalId": "t1", "cols": 80, "rows": 24})),
        ]
    };
    for event in starts(json!(room.project)).into_iter().chain(starts(json!("nobodys"))) {
        let before = json!({"type": "session.note", "data": {"sessionId": "s1"}});
        let answer = server.post("/api/events", &producer, json!([before, event])).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("forbidden")), "{}", answer.text());
        assert!(answer.json()["fields"]["[1].data.projectId"].is_string(), "{}", answer.text());
    }
    assert_eq!(server.get("/api/channels/session:s1/events", &room.token).await.json()["head"], 0, "all or nothing");
    server.publish(&producer, json!([starts(Value::Null)[0]])).await;
    let ada = server.token("ada", &[]);
    assert_eq!(server.get("/api/sessions/s1", &ada).await.status, 403, "it is in no project");
    for mut event in starts(json!(room.project)) {
        event["data"]["sessionId"] = json!("s2");
        server.publish(&trusted, event).await;
    }
    assert_eq!(server.get("/api/sessions/s2", &ada).await.status, 200, "a member of the project sees it");
    let listed = server.get(&format!("/api/sessions?projectId={}", room.project), &ada).await.json();
    assert_eq!(listed["sessions"][0]["id"], "s2", "{listed}");
    // The board is the server's: nobody else writes there.
    let board = server.get(&format!("/api/projects/{}", room.project), &ada).await.json();
    assert_eq!(board["sessions"], json!([]), "{board}");

    // A start of a run is nobody's to tell: the next start of the server would run its commands.
    let definition = format!("steps: {{a: {{command: [touch, {}]}}}}", room.root.path().join("pwned").display());
    let steps = json!([{"stepId": "a", "name": "a", "kind": "command"}]);
    let data =
        json!({"runId": "r1", "projectId": room.project, "title": "t", "definition": definition, "steps": steps});
    let forged = server.post("/api/events", &room.token, json!({"type": "workflow.run.started", "data": data})).await;
    assert_eq!((forged.status, &forged.json()["code"]), (400, &json!("invalid_event")), "{}", forged.text());
    room.server.stop();
    room.server.start_again();
    assert!(!room.root.path().join("pwned").exists());
    assert_eq!(room.server.get("/api/workflows/runs/r1", &room.token).await.status, 404);
}

fn names(listed: &Value) -> Vec<&str> {
    listed["agents"].as_array().expect("agents").iter().filter_map(|agent| agent["name"].as_str()).collect()
}

/// A server with two projects, and agents of which one is for the first of them, one for owners and one for
/// administrators.
async fn with_agents() -> (Server, String, Vec<String>, tempfile::TempDir) {
    let first = Server::start("");
    let (admin, roots) = (first.admin(), tempfile::tempdir().expect("a directory"));
    let mut projects = Vec::new();
    for name in ["p", "q"] {
        let root = roots.path().join(name);
        std::fs::create_dir(&root).expect("a directory");
        let made = first.post("/api/projects", &admin, json!({"name": name, "root": root})).await.json();
        projects.push(made["projectId"].as_str().expect("an id").to_owned());
    }
    let agents = format!(
        "[agents.anybody]\ncommand = [\"true\"]\n\
         [agents.here]\ncommand = [\"true\"]\nprojects = [\"{}\"]\n\
         [agents.owners]\ncommand = [\"true\", \"{{prompt}}\"]\nroles = [\"owner\"]\n\
         [agents.admins]\nadapter = \"acp\"\ncommand = [\"true\"]\nroles = [\"admin\"]\n",
        projects[0]
    );
    let mut server = first;
    server.stop();
    std::fs::write(server.home().join("tidings.toml"), agents).expect("writes");
    server.start_again();
    (server, admin, projects, roots)
}

#[tokio::test]
async fn an_agent_is_listed_for_and_started_by_whom_it_is_for_and_nobody_else() {
    let (server, admin, projects, _roots) = with_agents().await;
    for (project, user, membership) in [(0, "ada", "owner"), (1, "ada", "operator"), (1, "eve", "viewer")] {
        let path = format!("/api/projects/{}/members", projects[project]);
        let member = json!({"userId": user, "membership": membership});
        assert_eq!(server.post(&path, &admin, member).await.status, 200);
    }
    let tokens = [
        ("admin", admin.clone()),
        ("operator", server.token("op", &["--role", "operator"])),
        ("ada", server.token("ada", &[])),
        ("eve", server.token("eve", &[])),
    ];
    // Who sees what in the first project, in the second, and at all.
    let expected = [
        ("admin", ["admins anybody demo here owners", "admins anybody demo owners", "admins anybody demo here owners"]),
        ("operator", ["anybody demo here", "anybody demo", "anybody demo here"]),
        ("ada", ["anybody demo here owners", "anybody demo", "anybody demo here owners"]),
        ("eve", ["-", "", ""]),
    ];
    for ((name, token), (_, [in_first, in_second, at_all])) in tokens.iter().zip(expected) {
        for (project, seen) in [(Some(&projects[0]), in_first), (Some(&projects[1]), in_second), (None, at_all)] {
            let query = project.map(|project| format!("?projectId={project}")).unwrap_or_default();
            let listed = server.get(&format!("/api/agents{query}"), token).await;
            if seen == "-" {
                assert_eq!(listed.status, 403, "{name} {query}");
                continue;
            }
            assert_eq!(listed.status, 200, "{}", listed.text());
            assert_eq!(names(&listed.json()).join(" "), seen, "{name} {query}");
        }
        // What is listed starts, and nothing else.
        for (project, seen) in [(&projects[0], in_first), (&projects[1], in_second)] {
            for agent in ["anybody", "here", "owners", "admins", "demo"] {
                let body = json!({"projectId": project, "agent": agent, "prompt": "x"});
                let answer = server.post("/api/sessions", token, body).await;
                let expected = if seen.split(' ').any(|known| known == agent) { 201 } else { 403 };
                assert_eq!(answer.status, expected, "{name} {agent} {project}: {}", answer.text());
            }
        }
    }
    shows_what_each_can(&server, &tokens[2].1, &projects).await;
}

/// The list says what each agent can, over either transport, and a step of a workflow asks as the user of its run.
async fn shows_what_each_can(server: &Server, ada: &str, projects: &[String]) {
    let watcher = Watcher::connect(server, ada).await;
    let listed = watcher.done("agent.list", json!({})).await["data"].clone();
    assert_eq!(listed, server.get("/api/agents", ada).await.json(), "over either transport");
    let [anybody, _, here, owners] = &listed["agents"].as_array().expect("agents")[..] else { panic!("{listed}") };
    assert_eq!((anybody.get("projects"), &here["projects"]), (None, &json!([projects[0]])));
    assert_eq!((&anybody["needsPrompt"], &owners["needsPrompt"]), (&json!(false), &json!(true)));
    let can = json!({"messages": true, "permissions": false, "questions": false, "interrupt": false, "deltas": false, "resume": false, "terminal": true});
    assert_eq!((&anybody["adapter"], &anybody["can"]), (&json!("lines"), &can));
    // A step of a workflow asks as the user of its run.
    let definition = json!({"steps": {"ask": {"session": {"agent": "owners", "prompt": "x"}}}});
    for (project, expected) in [(&projects[0], "completed"), (&projects[1], "failed")] {
        let begun =
            server.post("/api/workflows/runs", ada, json!({"projectId": project, "definition": definition})).await;
        let path = format!("/api/workflows/runs/{}", begun.json()["runId"].as_str().expect("an id"));
        eventually(expected, async || server.get(&path, ada).await.json()["status"] == expected).await;
    }
}
