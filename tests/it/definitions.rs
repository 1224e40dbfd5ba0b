//! Definitions of workflows that are not what they were: files that are swapped while they are read, and stored ones
//! that the server of today refuses.
//!
//! Guarantees: nothing is written outside the directories of a test.
//! They are not the tests of what a definition may say, which stand beside its code.

use std::{
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use tidings_core::fault;

use crate::{
    server::{FAULTS, Server, eventually},
    sessions::Room,
};

async fn start(room: &Room, definition: &str) -> String {
    let body = json!({"projectId": room.project, "definition": definition});
    let started = room.server.post("/api/workflows/runs", &room.token, body).await;
    assert_eq!(started.status, 201, "{}", started.text());
    started.json()["runId"].as_str().expect("an id").to_owned()
}

async fn state(room: &Room, run: &str) -> Value {
    room.server.get(&format!("/api/workflows/runs/{run}"), &room.token).await.json()
}

fn step<'a>(state: &'a Value, id: &str) -> &'a Value {
    state["steps"].as_array().expect("steps").iter().find(|step| step["stepId"] == id).expect("the step")
}

#[tokio::test]
async fn a_definition_that_is_swapped_with_a_link_while_it_is_read_tells_nothing_of_what_lies_outside() {
    let (room, outside) = (
        Room::open("[workflow]\nmax_per_user = 0\nmax_per_project = 0\n").await,
        tempfile::tempdir().expect("a directory"),
    );
    let at = |name: &str| room.root.path().join(name);
    std::fs::create_dir(at("in")).expect("makes");
    std::fs::write(at("in/w.yml"), "steps: {ours: {command: ['true']}}").expect("writes");
    std::fs::write(outside.path().join("w.yml"), "hidden-outside: hidden-outside\n").expect("writes");
    symlink(outside.path().join("w.yml"), at("in/other")).expect("links");
    symlink(outside.path(), at("out")).expect("links");
    let over = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (over, root) = (over.clone(), room.root.path().to_owned());
        let swap = move |one: &str, other: &str| {
            renameat_with(CWD, root.join(one), CWD, root.join(other), RenameFlags::EXCHANGE).expect("swaps");
        };
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                swap("in/w.yml", "in/other");
                swap("in/w.yml", "in/other");
                swap("in", "out");
                swap("in", "out");
            }
        })
    };
    let (mut ours, mut told) = (0, Vec::new());
    for n in 0..400 {
        let body = json!({"projectId": room.project, "file": "in/w.yml"});
        let path = if n % 8 == 0 { "/api/workflows/runs" } else { "/api/workflows/validate" };
        let answer = room.server.post(path, &room.token, body).await;
        ours += usize::from(answer.status == 201 || answer.json()["valid"] == true);
        told.push(answer.text());
    }
    over.store(true, Ordering::Relaxed);
    swapping.join().expect("ends");
    let leaked: Vec<&String> = told.iter().filter(|text| text.contains("hidden-outside")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    assert!(ours > 0, "it is read in between: {told:?}");
    assert!(told.iter().any(|text| text.contains("leads out of the project")), "{told:?}");
}

/// Puts other words, of the same length, into the definitions that the log of a server holds.
fn rewrite(server: &Server, words: &[(&str, &str)]) {
    let sql = Connection::open(server.data_dir().join("log.db")).expect("opens");
    for (from, to) in words {
        assert_eq!(from.len(), to.len());
        let update = "UPDATE message SET data = replace(data, ?1, ?2) WHERE type = 'workflow.run.started'";
        assert!(sql.execute(update, [from, to]).expect("is changed") > 0);
    }
    let forget = "DELETE FROM state WHERE channel IN (SELECT id FROM channel WHERE name LIKE 'workflow:run:%')";
    sql.execute(forget, []).expect("is forgotten");
}

#[tokio::test]
async fn a_start_survives_definitions_that_are_refused_by_now_and_only_their_runs_end() {
    let mut room = Room::open("").await;
    let asks = "steps: {ask: {approval: {message: well}}, then: {needs: ask, command: ['true']}}";
    let busy = "steps: {busy: {command: [sleep, '600'], retries: 3}, odd: {command: ['true'], timeout: 10m}}";
    let computes = "steps: {ask: {approval: {message: a}}, then: {needs: ask, if: '1 == 1  ', command: ['true']}}";
    let (fine, refused, computed) = (start(&room, asks).await, start(&room, busy).await, start(&room, computes).await);
    eventually("all are under way", async || {
        let waits = |state: &Value| step(state, "ask")["status"] == "waiting";
        let busy = step(&state(&room, &refused).await, "busy")["status"] == "running";
        busy && waits(&state(&room, &fine).await) && waits(&state(&room, &computed).await)
    })
    .await;
    room.server.kill();
    rewrite(&room.server, &[("timeout: 10m", "timeuot: 10m"), ("1 == 1  ", "range(9)")]);
    room.server.start_again();
    for (run, why) in [(&refused, "'timeuot' is not a key"), (&computed, "range(9)")] {
        eventually("its end", async || !state(&room, run).await["endedAt"].is_null()).await;
        let state = state(&room, run).await;
        let (code, message) = (&state["error"]["code"], state["error"]["message"].as_str().expect("a text"));
        assert!(state["status"] == "failed" && code == "definition_invalid" && message.contains(why), "{state}");
        assert!(state["steps"].as_array().expect("steps").iter().all(|step| !step["endedAt"].is_null()), "{state}");
    }
    let was_busy = state(&room, &refused).await;
    assert_eq!(step(&was_busy, "busy")["error"]["code"], "definition_invalid", "and it is not tried again");
    // Others go on, and new ones start.
    let path = format!("/api/workflows/runs/{fine}/steps/ask/approve");
    let answer = room.server.post(&path, &room.token, json!({"decision": "approved"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let new = start(&room, "steps: {one: {command: ['true']}}").await;
    for run in [&fine, &new] {
        eventually("its end", async || state(&room, run).await["status"] == "completed").await;
    }
    // The next start has nothing left to end.
    room.server.stop();
    room.server.start_again();
    assert_eq!(state(&room, &refused).await["error"]["code"], "definition_invalid");
}

#[tokio::test]
async fn a_panic_over_a_stored_definition_ends_its_run_and_the_start_goes_on() {
    if !fault::COMPILED {
        panic!("this test needs a debug build, or the feature faults");
    }
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("tidings.toml"), "").expect("writes");
    std::fs::write(home.path().join("faults"), "").expect("writes");
    let mut room = Room::around(Server::start_in(home, &[(FAULTS, "faults")])).await;
    let asks = "steps: {ask: {approval: {message: well}}, then: {needs: ask, if: success, command: ['true']}}";
    for (point, code) in [("workflow.plan", "definition_invalid"), ("workflow.compute", "expression_failed")] {
        let runs = [start(&room, asks).await, start(&room, asks).await];
        for run in &runs {
            eventually("the question", async || step(&state(&room, run).await, "ask")["status"] == "waiting").await;
        }
        room.server.kill();
        std::fs::write(room.server.home().join("faults"), format!("{point} panic\n")).expect("writes");
        room.server.start_again();
        let codes = async || {
            let [one, other] = [state(&room, &runs[0]).await, state(&room, &runs[1]).await];
            [one["error"]["code"].clone(), other["error"]["code"].clone()]
        };
        eventually("one of them ended", async || codes().await.contains(&json!(code))).await;
        let (codes, fine) = (codes().await, Value::Null);
        assert!(codes.contains(&fine), "{point}: {codes:?}");
        let left = &runs[usize::from(codes[0] != fine)];
        let path = format!("/api/workflows/runs/{left}/steps/ask/approve");
        assert_eq!(room.server.post(&path, &room.token, json!({"decision": "approved"})).await.status, 200, "{point}");
        eventually("its end", async || state(&room, left).await["status"] == "completed").await;
    }
}
