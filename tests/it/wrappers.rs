//! What stands before programs (`run.wrapper`), and what of a program's own reaches it: nothing.
//!
//! Guarantees: the wrapper is a script that notes what it sees, its variables and its arguments, and runs what it is
//! given, as a sandbox would.
//! It is not a sandbox.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{server::eventually, sessions::Room};

/// What somebody chooses: names that govern whoever has them, and a value that no list of processes may show.
const SECRET: &str = "it's $HOME \"hunter2\"\n`id`\\";
const GOVERNING: [&str; 5] = ["LD_LIBRARY_PATH", "BASH_ENV", "ENV", "PYTHONPATH", "PERL5OPT"];

const WRAPPER: &str = "#!/bin/sh\nroot=$1\nshift\n{ env; printf '%s\\n' \"$@\"; } >> \"$root/seen\"\nexec \"$@\"\n";

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permits");
}

/// A server with the wrapper on its own path, and a project whose folders hold one of the same name.
async fn wrapped() -> (Room, TempDir) {
    let tools = tempfile::tempdir().expect("a directory");
    script(&tools.path().join("box"), WRAPPER);
    // What is relative on a path is relative to where a program begins.
    let path = format!("theirs:.:{}:/usr/local/bin:/usr/bin:/bin", tools.path().display());
    let room = Room::open(&format!("[run]\nwrapper = [\"box\", \"{{root}}\"]\nset = {{ PATH = \"{path}\" }}\n")).await;
    for theirs in ["box", "theirs/box"] {
        script(&room.root.path().join(theirs), "#!/bin/sh\n: > pwned\n");
    }
    (room, tools)
}

fn chosen(room: &Room) -> Value {
    let theirs = format!("{}:/usr/bin:/bin", room.root.path().join("theirs").display());
    let mut chosen = json!({"PATH": theirs, "CHOSEN": SECRET});
    for name in GOVERNING {
        chosen[name] = json!("/theirs");
    }
    chosen
}

/// The wrapper saw the server's variables and none of these; the program has them as they are.
async fn judge(room: &Room, told: PathBuf) {
    let root = room.root.path();
    let seen = fs::read_to_string(root.join("seen")).expect("the wrapper was run");
    assert!(!root.join("pwned").exists(), "the project's own file was run as the wrapper");
    let lines: Vec<&str> = seen.lines().collect();
    assert!(
        lines.contains(&"TERM=xterm-256color") || lines.iter().any(|it| it.starts_with("WORKFLOW_REPORT=")),
        "{seen}"
    );
    for name in GOVERNING.iter().chain(&["CHOSEN"]) {
        assert!(!lines.iter().any(|line| line.starts_with(&format!("{name}="))), "{name}: {seen}");
    }
    assert!(!seen.contains("hunter2") && !seen.contains("theirs:/usr/bin"), "{seen}");
    let told = fs::read_to_string(told).expect("the program told");
    let told: Vec<&str> = told.split('\0').collect();
    let chosen = chosen(room);
    for (name, value) in chosen.as_object().expect("variables") {
        let expected = format!("{name}={}", value.as_str().expect("a text"));
        assert!(told.contains(&expected.as_str()), "{expected:?}: {told:?}");
    }
}

/// Tells the environment in a file that is there at once.
const TELL: [&str; 3] = ["sh", "-c", "env -0 > telling && mv telling told"];

#[tokio::test]
async fn what_somebody_chose_for_a_terminal_reaches_its_program_and_not_the_wrapper() {
    let (room, _tools) = wrapped().await;
    let open = json!({"projectId": room.project, "command": TELL, "env": chosen(&room)});
    let opened = room.server.post("/api/shells", &room.token, open).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let told = room.root.path().join("told");
    eventually("the program to tell", async || told.exists()).await;
    judge(&room, told).await;
}

#[tokio::test]
async fn what_a_workflow_chose_reaches_its_steps_program_and_not_the_wrapper() {
    let (room, _tools) = wrapped().await;
    let mut env = chosen(&room);
    env["WORKFLOW_ATTEMPT"] = json!("theirs");
    // Each of the definition and of the step has some.
    let all = json!({"BASH_ENV": env.as_object_mut().and_then(|env| env.remove("BASH_ENV"))});
    let report = "env -0 > told && echo output done=$WORKFLOW_ATTEMPT >> $WORKFLOW_REPORT";
    let definition = json!({"env": all, "steps": {"tell": {"command": ["sh", "-c", report], "env": env}}});
    let begun = json!({"projectId": room.project, "definition": definition});
    let begun = room.server.post("/api/workflows/runs", &room.token, begun).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let path = format!("/api/workflows/runs/{}", begun.json()["runId"].as_str().expect("an id"));
    let state = async || room.server.get(&path, &room.token).await.json();
    eventually("the end of the run", async || !state().await["endedAt"].is_null()).await;
    let step = state().await["steps"][0].clone();
    assert_eq!((&step["status"], &step["outputs"]["done"]), (&json!("completed"), &json!("1")), "{step}");
    judge(&room, room.root.path().join("told")).await;
}

#[tokio::test]
async fn a_wrapper_is_never_found_in_the_project() {
    for wrapper in ["./box", "theirs/box", "no-such-box"] {
        let room = Room::open(&format!("[run]\nwrapper = [\"{wrapper}\"]\nset = {{ PATH = \".:theirs\" }}\n")).await;
        for theirs in ["box", "theirs/box", "no-such-box"] {
            script(&room.root.path().join(theirs), "#!/bin/sh\n: > pwned\n");
        }
        let id = room.start("true").await;
        let state = room.has_ended(&id).await;
        assert_eq!(state["error"]["code"], "spawn_failed", "{wrapper}: {state}");
        assert!(state["error"]["message"].as_str().is_some_and(|why| why.contains("run.wrapper")), "{state}");
        assert!(!room.root.path().join("pwned").exists(), "{wrapper}");
    }
}
