//! Expressions, types and spelling of workflows against the real binary, and definitions that an older server let in.
//!
//! Guarantees: what runs without an end elsewhere is given to the server with a bound on its time.
//! They are not the tests of the language, which stand beside it.

use rusqlite::Connection;
use serde_json::{Value, json};
use tidings_client::http::{self, Method, Response};

use crate::{
    directory::{Lies, unpack},
    server::{PATIENCE, Server, eventually},
    sessions::Room,
};

/// What took a worker or the memory of an older server: as a condition, and in a command.
const ENDLESS: [&str; 3] = [
    r#"{"needs": "ask", "if": "2 in ([1] * 9000000000000)", "command": ["true"]}"#,
    r#"{"needs": "ask", "command": ["true", "${{ ['x' * 100000] * 9000000 }}"]}"#,
    r#"{"needs": "ask", "command": ["true"], "env": {"A": "${{ [[1] * 100000] * 9000000 == [] }}"}}"#,
];

/// A definition whose step `after` is this.
fn with(after: &str) -> String {
    format!(
        r#"{{"name":"A run","steps":{{"after":{after},"ask":{{"approval":{{"message":"go on?"}},"needs":"before"}},"before":{{"command":["true"]}}}}}}"#
    )
}

/// Posts a text as it is: no library spells its numbers anew.
async fn post(room: &Room, path: &str, body: String) -> Response {
    let body = Some(("application/json", body.into()));
    let url = room.server.url();
    let asked = http::request(Method::POST, &url, path, Some(&room.token), body);
    tokio::time::timeout(PATIENCE, asked).await.expect("in time").expect("an answer")
}

async fn start(room: &Room, definition: &str, inputs: &str) -> Response {
    let definition = Value::from(definition);
    let body = format!(r#"{{"projectId":"{}","definition":{definition},"inputs":{inputs}}}"#, room.project);
    post(room, "/api/workflows/runs", body).await
}

/// Runs to the end: the state.
async fn run(room: &Room, definition: &str, inputs: &str) -> Value {
    let begun = start(room, definition, inputs).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    ended(&room.server, &room.token, begun.json()["runId"].as_str().expect("an id")).await
}

async fn ended(server: &Server, token: &str, id: &str) -> Value {
    let path = format!("/api/workflows/runs/{id}");
    eventually("the end of the run", async || !server.get(&path, token).await.json()["endedAt"].is_null()).await;
    server.get(&path, token).await.json()
}

fn step<'a>(state: &'a Value, id: &str) -> &'a Value {
    let steps = state["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["stepId"] == id).unwrap_or_else(|| panic!("{id}: {state}"))
}

#[tokio::test]
async fn what_would_never_end_is_refused_at_once_and_nothing_is_evaluated_for_it() {
    let room = Room::open("").await;
    let before = room.server.memory();
    for after in ENDLESS {
        let body = json!({"projectId": room.project, "definition": with(after)}).to_string();
        let verdict = post(&room, "/api/workflows/validate", body).await;
        assert_eq!((verdict.status, &verdict.json()["valid"]), (200, &json!(false)), "{}", verdict.text());
        let reason = verdict.json()["flaws"][0]["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("calculates a"), "{reason}");
        assert_eq!(start(&room, &with(after), "{}").await.status, 422);
    }
    assert!(room.server.memory() < before + (64 << 20), "it took no memory");
}

#[tokio::test]
async fn a_run_of_an_older_version_that_cannot_be_evaluated_fails_alone_and_the_server_starts() {
    // This one is no more in the language: its run ends at the start. The others go on to the step that fails.
    let gone = r#"{"needs": "ask", "if": "'abc'[1:] == 'bc'", "command": ["true"]}"#;
    for after in ENDLESS.into_iter().chain([gone]) {
        let made = unpack("v0.1.0", Lies::Elsewhere);
        let run = made.expected["waitingRun"].as_str().expect("an id").to_owned();
        let log = Connection::open(made.home.path().join("data/log.db")).expect("opens");
        let definition = with(after);
        let replaced = log
            .execute(
                "UPDATE message SET data = json_set(data, '$.definition', ?1)
                 WHERE type = 'workflow.run.started' AND json_extract(data, '$.runId') = ?2",
                [&definition, &run],
            )
            .expect("replaces");
        let folded = log
            .execute(
                "UPDATE state SET bytes = CAST(json_set(CAST(bytes AS TEXT), '$.definition', ?1) AS BLOB)
                 WHERE channel = (SELECT id FROM channel WHERE name = 'workflow:run:' || ?2)",
                [&definition, &run],
            )
            .expect("replaces");
        assert_eq!((replaced, folded), (1, 1));
        drop(log);
        std::fs::write(made.home.path().join("tidings.toml"), "").expect("writes");
        let mut server = Server::start_in(made.home, &[]);
        for _ in 0..2 {
            let token = server.admin();
            let path = format!("/api/workflows/runs/{run}");
            let completed = format!("/api/workflows/runs/{}", made.expected["completedRun"].as_str().expect("an id"));
            assert_eq!(
                server.get(&completed, &token).await.json()["status"],
                "completed",
                "the others are as they were"
            );
            if after == gone {
                let state = ended(&server, &token, &run).await;
                let error = &state["error"];
                assert_eq!(error["code"], "definition_invalid", "{state}");
                assert!(error["message"].as_str().is_some_and(|why| why.contains("no parts of texts")), "{error}");
            } else {
                assert_eq!(server.get(&path, &token).await.json()["status"], "waiting");
            }
            server.kill();
            server.start_again();
        }
        let token = server.admin();
        if after != gone {
            let approve = format!("/api/workflows/runs/{run}/steps/ask/approve");
            assert_eq!(server.post(&approve, &token, json!({"decision": "approved"})).await.status, 200);
            let state = ended(&server, &token, &run).await;
            let error = &step(&state, "after")["error"];
            assert_eq!(error["code"], "expression_failed", "{state}");
            assert!(error["message"].as_str().is_some_and(|why| why.contains("calculates a")), "{error}");
        }
        assert!(server.memory() < 512 << 20, "it took no memory");
    }
}

/// Prints each of its arguments, and a variable, in a line.
const PRINTS: &str = r#"
inputs:
  version: 3.10
  flag: true
  given:
  number: {type: number}
  text: {type: string, default: 1e3}
env: {COMMON: "${{ inputs.number }}"}
steps:
  gives:
    matrix: {v: [3.10, 1e3, -0, true, 0644, 12345678901234567890]}
    command: [sh, -c, 'printf "%s\n" "$@" "$OWN" "$COMMON"', sh, "${{ matrix.v }}", 3.10, "${{ 3.10 }}", "v${{ inputs.version }}",
      "${{ inputs.flag }}", "${{ inputs.given }}", "${{ inputs.text ~ '!' }}"]
    env: {OWN: 3.10}
"#;

#[tokio::test]
async fn a_scalar_keeps_the_spelling_of_its_source_wherever_it_becomes_a_text() {
    let mut room = Room::open("").await;
    let begun = start(&room, PRINTS, r#"{"given": 2.50, "number": 1E2}"#).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let id = begun.json()["runId"].as_str().expect("an id").to_owned();
    let check = async |room: &Room, id: &str| {
        let state = ended(&room.server, &room.token, id).await;
        let values = ["3.10", "1e3", "-0", "true", "0644", "12345678901234567890"];
        for (place, value) in values.into_iter().enumerate() {
            let step = step(&state, &format!("gives.{}", place + 1)).clone();
            if value == "-0" {
                // It begins as an option does, and the definition's author wrote it.
                assert_eq!(step["status"], "completed", "{step}");
            }
            let rest = "3.10\n3.10\nv3.10\ntrue\n2.50\n1e3!\n3.10\n1E2\n";
            assert_eq!(step["tail"], format!("{value}\n{rest}"), "{step}");
        }
    };
    check(&room, &id).await;
    // From the log, as it was told.
    room.server.kill();
    room.server.start_again();
    let state = room.server.get(&format!("/api/workflows/runs/{id}"), &room.token).await.text();
    for spelled in [r#""given":2.50"#, r#""number":1E2"#, r#""version":3.10"#, r#""v":1e3"#, r#""v":-0"#] {
        assert!(state.contains(spelled), "{spelled}: {state}");
    }
    let path = format!("/api/workflows/runs/{id}/rerun");
    let again = post(&room, &path, "{}".to_owned()).await;
    assert_eq!(again.status, 201, "{}", again.text());
    check(&room, again.json()["runId"].as_str().expect("an id")).await;
}

const TYPED: &str = r#"
inputs:
  deploy: false
  level: {type: number, default: 1}
  name: {type: string, default: x}
  stage: {type: choice, options: [test, live], default: test}
  any: {default: }
steps: {s: {if: inputs.deploy, command: [echo, deployed]}}
"#;

#[tokio::test]
async fn inputs_are_held_to_their_types_at_a_start_over_every_door() {
    let room = Room::open("").await;
    let wrong = [
        (r#"{"deploy": "false"}"#, "deploy", "is true or false"),
        (r#"{"deploy": 0}"#, "deploy", "is true or false"),
        (r#"{"level": "1"}"#, "level", "is a number"),
        (r#"{"name": 1}"#, "name", "is a text"),
        (r#"{"stage": "prod"}"#, "stage", "is one of these texts: test, live"),
        (r#"{"stage": true}"#, "stage", "is one of these texts: test, live"),
        (r#"{"any": [1]}"#, "any", "a text, a number or a flag"),
        (r#"{"any": null}"#, "any", "a text, a number or a flag"),
        (r#"{}"#, "any", "has to be given"),
    ];
    let watcher = crate::watcher::Watcher::connect(&room.server, &room.token).await;
    for (inputs, name, why) in wrong {
        let mut inputs: Value = serde_json::from_str(inputs).expect("JSON");
        if name != "any" {
            inputs["any"] = json!("x");
        }
        let refused = start(&room, TYPED, &inputs.to_string()).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid_data")), "{}", refused.text());
        let field = format!("inputs.{name}");
        assert!(refused.json()["fields"][&field].as_str().is_some_and(|told| told.contains(why)), "{}", refused.text());
        let asked = json!({"projectId": room.project, "definition": TYPED, "inputs": inputs});
        let answer = watcher.ask("workflow.run.start", asked).await;
        assert!(answer["error"]["fields"][&field].as_str().is_some_and(|told| told.contains(why)), "{answer}");
    }
    for (inputs, status) in
        [(r#"{"any": 1}"#, "skipped"), (r#"{"any": true, "deploy": true, "stage": "live"}"#, "completed")]
    {
        let state = run(&room, TYPED, inputs).await;
        assert_eq!(step(&state, "s")["status"], status, "{state}");
    }
    let runs = room.server.get("/api/workflows/runs", &room.token).await.json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "nothing else was started: {runs}");
}

/// What comes of the step `s` of a run in which `a` gives `n=9`, `ok=false` and `word=x`.
async fn comes_of(room: &Room, rest: &str) -> Result<Value, String> {
    let definition = format!(
        "inputs: {{any: }}\nsteps:\n  a: {{command: [sh, -c, 'for o in n=9 ok=false word=x; do echo output $o >> $WORKFLOW_REPORT; done']}}\n  \
         s: {{needs: a, {rest}}}\n"
    );
    let begun = start(room, &definition, r#"{"any": "9"}"#).await;
    if begun.status != 201 {
        return Err(begun.json()["fields"]["definition"].as_str().expect("flaws").to_owned());
    }
    let state = ended(&room.server, &room.token, begun.json()["runId"].as_str().expect("an id")).await;
    Ok(step(&state, "s").clone())
}

#[tokio::test]
async fn a_text_is_neither_a_number_nor_a_condition_and_what_to_write_instead_is_said() {
    let room = Room::open("").await;
    let seen = [
        ("if: steps.a.outputs.n > 10, command: [ls]", "write int(steps.a.outputs.n) > 10"),
        ("if: steps.a.outputs.ok, command: [ls]", "write steps.a.outputs.ok == 'true'"),
        ("if: steps.a.outputs.n == 9, command: [ls]", "write int(steps.a.outputs.n) == 9"),
        ("if: steps.a.status, command: [ls]", "has a text as a condition"),
        ("command: [echo, '${{ steps.a.outputs.n + 1 }}']", "write int(steps.a.outputs.n) + 1"),
    ];
    for (rest, why) in seen {
        let refused = comes_of(&room, rest).await.expect_err(rest);
        assert!(refused.starts_with("line 4: ") && refused.contains(why), "{refused}");
    }
    // Nothing is said of this input: what it is comes out when it is evaluated.
    let found = [
        ("if: inputs.any > 10, command: [ls]", "write int(inputs.any) > 10"),
        ("if: inputs.any, command: [ls]", "write inputs.any == 'true'"),
        ("if: int(steps.a.outputs.word) > 1, command: [ls]", "no whole number"),
        ("command: [echo, '${{ inputs.any * 2 }}']", "calculates a text * a number"),
        ("command: [echo, '${{ 1 // (int(inputs.any) - 9) }}']", "divides by zero"),
        ("approval: {message: '${{ steps.a.outputs.none }}'}", "has no value"),
    ];
    for (rest, why) in found {
        let step = comes_of(&room, rest).await.unwrap_or_else(|flaws| panic!("{rest}: {flaws}"));
        assert_eq!(
            (&step["status"], &step["error"]["code"]),
            (&json!("failed"), &json!("expression_failed")),
            "{step}"
        );
        assert!(step["error"]["message"].as_str().is_some_and(|told| told.contains(why)), "{step}");
    }
    let right = [
        ("if: int(steps.a.outputs.n) > 10, command: [ls]", "skipped"),
        ("if: int(steps.a.outputs.n) < 10 and steps.a.outputs.ok == 'false', command: [ls]", "completed"),
        ("if: bool(steps.a.outputs.ok), command: [ls]", "skipped"),
        ("if: inputs.any == '9', command: [ls]", "completed"),
    ];
    for (rest, status) in right {
        let step = comes_of(&room, rest).await.unwrap_or_else(|flaws| panic!("{rest}: {flaws}"));
        assert_eq!(step["status"], status, "{rest}: {step}");
    }
}

#[tokio::test]
async fn what_the_expressions_of_a_step_make_is_bounded_and_its_server_stays() {
    let room = Room::open("").await;
    let long = "x".repeat(60 << 10);
    let joined = vec!["inputs.long"; 20].join(" ~ ");
    let definition = |part: &str| format!("inputs: {{long: }}\nsteps: {{s: {{command: [echo, \"{part}\"]}}}}\n");
    let inputs = json!({"long": long}).to_string();
    let state = run(&room, &definition(&format!("${{{{ {joined} }}}}")), &inputs).await;
    let error = &step(&state, "s")["error"];
    assert_eq!(error["code"], "expression_failed", "{error}");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("more than 1 MiB")), "{error}");
    let state = run(&room, &definition("${{ inputs.long ~ inputs.long ~ inputs.long }}"), &inputs).await;
    let error = &step(&state, "s")["error"];
    assert!(error["message"].as_str().is_some_and(|why| why.contains("128 KiB")), "{error}");
    let state = run(&room, &definition("${{ inputs.long ~ inputs.long }}"), &inputs).await;
    assert_eq!(step(&state, "s")["status"], "completed", "what the system takes is given to it");
}
