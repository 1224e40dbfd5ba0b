//! What steps of workflows give to the next ones: whole, or refused with the reason.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of how a report is read, which stand beside its code.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    agents::{ASKED, CLAUDE, INIT, agent},
    server::eventually,
    sessions::Room,
};

const PAGE: &str = include_str!("../../docs/WORKFLOWS.md");

/// Gives an output over many lines: its name, how many lines, and how long each is with its end.
const GIVE: &str = r#"
line=$(head -c $(($3 - 1)) /dev/zero | tr '\0' x)
{
  echo "output $1<<END"
  for n in $(seq $2); do printf '%s\n' "$line"; done
  echo END
} >> $WORKFLOW_REPORT
"#;

/// Starts a run: its id.
async fn begin(room: &Room, definition: &str) -> String {
    let body = json!({"projectId": room.project, "definition": definition});
    let started = room.server.post("/api/workflows/runs", &room.token, body).await;
    assert_eq!(started.status, 201, "{}", started.text());
    started.json()["runId"].as_str().expect("an id").to_owned()
}

/// The state of a run that has ended.
async fn ended(room: &Room, run: &str) -> Value {
    let path = format!("/api/workflows/runs/{run}");
    eventually("the end of the run", async || !room.server.get(&path, &room.token).await.json()["endedAt"].is_null())
        .await;
    room.server.get(&path, &room.token).await.json()
}

fn step<'a>(state: &'a Value, id: &str) -> &'a Value {
    state["steps"].as_array().expect("steps").iter().find(|step| step["stepId"] == id).expect("the step")
}

/// With which code a step failed, and why.
fn failure<'a>(state: &'a Value, id: &str) -> (&'a str, &'a str) {
    let error = &step(state, id)["error"];
    (error["code"].as_str().unwrap_or_default(), error["message"].as_str().unwrap_or_default())
}

fn written(root: &TempDir, file: &str) -> String {
    std::fs::read_to_string(root.path().join(file)).expect("was written")
}

#[tokio::test]
async fn a_long_line_and_many_lines_reach_the_next_step_whole() {
    let room = Room::open("").await;
    let lines = "one\n\n  two = 2\noutput x=1\nlast";
    std::fs::write(room.root.path().join("lines"), format!("{lines}\n")).expect("writes");
    // 64 KiB with the words before it: the longest line that there is.
    let definition = r#"
steps:
  long: {command: [sh, -c, 'printf "output a=%s\n" "$(head -c 65527 /dev/zero | tr "\0" x)" >> $WORKFLOW_REPORT']}
  many: {command: [sh, -c, '{ echo "output text<<E N D"; cat lines; echo "E N D"; } >> $WORKFLOW_REPORT']}
  read: {needs: long, stdin: "${{ steps.long.outputs.a }}", command: [sh, -c, "cat > read"]}
  told:
    needs: many
    env: {TEXT: "${{ steps.many.outputs.text }}"}
    command: [sh, -c, 'printf %s "$TEXT" > told; cat >> told']
"#;
    let state = ended(&room, &begin(&room, definition).await).await;
    assert_eq!(state["status"], "completed", "{state}");
    assert_eq!(written(&room.root, "read"), "x".repeat(65_527));
    assert_eq!(written(&room.root, "told"), lines, "and nothing is read where nothing was given");
    assert_eq!(step(&state, "many")["outputs"], json!({"text": lines}));
}

#[tokio::test]
async fn the_lines_of_the_page_give_what_they_say() {
    let lines = PAGE.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    let room = Room::open("").await;
    std::fs::write(room.root.path().join("notes.md"), "# Notes\n\n- one\n").expect("writes");
    let definition = json!({"steps": {"one": {"command": ["sh", "-c", lines]}}}).to_string();
    let state = ended(&room, &begin(&room, &definition).await).await;
    assert_eq!(step(&state, "one")["outputs"], json!({"version": "1.4.2", "notes": "# Notes\n\n- one"}), "{state}");
}

#[tokio::test]
async fn outputs_beyond_a_bound_fail_their_step_and_say_which_bound_it_was() {
    let room = Room::open("").await;
    std::fs::write(room.root.path().join("give.sh"), GIVE).expect("writes");
    // Their lines with their ends are 256 KiB and one: the last end is none of the value, the name is one byte.
    let table = [
        ("fits", "sh give.sh a 64 4096", ""),
        ("line", r#"printf "output a=%s\n" "$(head -c 65528 /dev/zero | tr "\0" x)" >> $WORKFLOW_REPORT"#, "64 KiB"),
        ("many", "sh give.sh a 64 4096; echo output b= >> $WORKFLOW_REPORT", "256 KiB together: with 'b'"),
        ("much", "sh give.sh a 65 4096", "256 KiB together: with 'a'"),
        ("count", "for n in $(seq 65); do echo output n$n= >> $WORKFLOW_REPORT; done", "at most 64 outputs"),
        ("odd", "echo output a-b=1 >> $WORKFLOW_REPORT", "output NAME=VALUE"),
        ("open", r#"printf "output a<<END\none\n" >> $WORKFLOW_REPORT"#, "'a' has no end"),
    ];
    let steps =
        table.map(|(name, line, _)| (name.to_owned(), json!({"command": ["sh", "-c", line], "continueOnError": true})));
    let definition = json!({"steps": serde_json::Map::from_iter(steps)}).to_string();
    let state = ended(&room, &begin(&room, &definition).await).await;
    for (name, _, why) in table {
        let (code, message) = failure(&state, name);
        let expected = if why.is_empty() { "" } else { "outputs_invalid" };
        assert!(code == expected && message.contains(why), "{name}: {code} {message}");
        assert_eq!(step(&state, name)["outputs"].is_null(), !why.is_empty(), "{name}: nothing is cut");
    }
}

#[tokio::test]
async fn the_outputs_of_a_run_have_a_bound_together_which_holds_over_a_repetition_too() {
    let room = Room::open("").await;
    std::fs::write(room.root.path().join("give.sh"), GIVE).expect("writes");
    // Four of them are 1,000,000 bytes and a few.
    let definition = r#"
steps:
  a: {command: [sh, give.sh, out, "5", "50000"]}
  b: {needs: a, command: [sh, give.sh, out, "5", "50000"]}
  c: {needs: b, command: [sh, give.sh, out, "5", "50000"]}
  d: {needs: c, command: [sh, give.sh, out, "5", "50000"]}
  e: {needs: d, command: [sh, give.sh, out, "5", "50000"]}
"#;
    let run = begin(&room, definition).await;
    let first = ended(&room, &run).await;
    let again = |from: &'static str| {
        let path = format!("/api/workflows/runs/{run}/rerun");
        let room = &room;
        async move {
            let begun = room.server.post(&path, &room.token, json!({"from": from})).await;
            assert_eq!(begun.status, 201, "{}", begun.text());
            ended(room, begun.json()["runId"].as_str().expect("an id")).await
        }
    };
    for (what, state) in [("at first", first), ("from its end", again("e").await), ("from before", again("b").await)] {
        let (code, message) = failure(&state, "e");
        assert!(code == "outputs_invalid" && message.contains("1 MiB together"), "{what}: {code} {message}");
        for name in ["a", "b", "c", "d"] {
            let out = step(&state, name)["outputs"]["out"].as_str().map(str::len);
            assert_eq!(out, Some(5 * 50_000 - 1), "{what}: {name}");
        }
    }
}

/// A text of so many bytes of which no part is like another.
fn answer(bytes: usize) -> String {
    let mut text: String = (0..bytes / 20).map(|n| format!("line {n:08} “ü”\n")).collect();
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// What plays an agent that says this, in the format of each adapter: its name, its flags, its script.
fn agents(said: &str) -> [(&'static str, &'static [&'static str], String); 3] {
    let claude = json!({"type": "result", "subtype": "success", "is_error": false, "result": said, "session_id": "s"});
    let item = json!({"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": said}});
    let pieces = said.as_bytes().chunks(1000).map(|_| ()).count();
    let cut = |n: usize| said.floor_char_boundary((n * 1000).min(said.len()));
    let piece =
        |n: usize| json!({"type": "message", "role": "assistant", "content": said[cut(n)..cut(n + 1)], "delta": true});
    let pieces: String = (0..=pieces).map(|n| format!("> {}\n", piece(n))).collect();
    [
        ("claude-code", &CLAUDE, format!("{ASKED}\n{INIT}\n> {claude}\n")),
        (
            "codex",
            &[],
            format!(
                "expect look\n> {}\n> {item}\n> {}\n",
                json!({"type": "thread.started", "thread_id": "t"}),
                json!({"type": "turn.completed"})
            ),
        ),
        (
            "gemini",
            &[],
            format!(
                "expect look\n> {}\n{pieces}> {}\n",
                json!({"type": "init", "session_id": "s"}),
                json!({"type": "result", "status": "success"})
            ),
        ),
    ]
}

/// A room in which `fits` says this and `beyond` something longer, in the format of one adapter.
async fn speaking(place: usize, fits: &str, beyond: &str) -> (Room, TempDir) {
    let (folder, mut config) = (tempfile::tempdir().expect("a directory"), String::new());
    for (name, said) in [("fits", fits), ("beyond", beyond)] {
        let (adapter, flags, script) = agents(said)[place].clone();
        let path = folder.path().join(format!("{name}.script"));
        std::fs::write(&path, script).expect("writes");
        let stdin = if flags.is_empty() { "close" } else { "open" };
        config += &agent(name, adapter, stdin, &path, flags);
    }
    (Room::open(&config).await, folder)
}

#[tokio::test]
async fn an_agents_answer_reaches_the_next_step_whole_or_fails_its_own() {
    let (fits, beyond) = (answer(200 * 1024), answer(300 * 1024));
    let definition = r#"
steps:
  fits: {session: {agent: fits, prompt: look}}
  beyond: {session: {agent: beyond, prompt: look}}
  read: {needs: fits, stdin: "${{ steps.fits.outputs.result }}", command: [sh, -c, "cat > read"]}
  argument: {needs: fits, command: [echo, "${{ steps.fits.outputs.result }}"]}
  variable: {needs: fits, env: {TEXT: "${{ steps.fits.outputs.result }}"}, command: ["true"]}
"#;
    for place in 0..3 {
        let (room, _folder) = speaking(place, &fits, &beyond).await;
        let state = ended(&room, &begin(&room, definition).await).await;
        let what = agents("")[place].0;
        assert_eq!(step(&state, "fits")["status"], "completed", "{what}: {}", step(&state, "fits")["error"]);
        assert!(written(&room.root, "read") == fits, "{what}: it is another text");
        let (code, why) = failure(&state, "beyond");
        assert!(code == "outputs_invalid" && why.contains("256 KiB"), "{what}: {code} {why}");
        for (name, called) in [("argument", "a part of the command"), ("variable", "variable")] {
            let (code, why) = failure(&state, name);
            assert!(
                code == "expression_failed" && why.contains(called) && why.contains("128 KiB"),
                "{what}: {code} {why}"
            );
        }
        // Whoever reads the snapshot of the session is told that it has the beginning only, and where the rest is.
        let session = step(&state, "fits")["sessionId"].as_str().expect("an id");
        let turn = room.state(session).await["conversation"]["turn"].clone();
        let (shown, seq) = (turn["result"].as_str().expect("a text"), turn["seq"].as_u64().expect("a number"));
        assert!(turn["truncated"] == true && fits.starts_with(shown) && shown.len() <= 2048, "{what}: {turn}");
        let path = format!("/api/channels/session:{session}/events?after={}&limit=1", seq - 1);
        let event = room.server.get(&path, &room.token).await.json()["events"][0].clone();
        assert!(event["type"] == "session.turn_completed" && event["data"]["result"] == json!(fits), "{what}");
    }
}
