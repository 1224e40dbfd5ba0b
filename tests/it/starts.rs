//! Starting on what is there: the directory of the version before, and how much a start costs.
//!
//! Guarantees: `data/log-3.db` is the log of a server of the schema 3, as `kill -9` left it, with everything of
//! each kind once open and once ended. A change of what is stored gets another such file, and its test here.
//! It is not the test of each step of the schema: that is the log's.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    server::{Server, eventually, notes, tidings},
    watcher::Watcher,
};

/// What is in `data/log-3.db`.
const PROJECT: &str = "01a22a3ca45070c08aede4d1a0b9d9eb";
const SESSIONS: [&str; 2] = ["01a22a3ca4677055a8a5d2cd07456abd", "01a22a3ca4d07611a2c267d2e041ed56"];
const TERMINALS: [&str; 2] = ["01a22a3ca50976759a042d1a07667996", "01a22a3ca56571be981471cbe9345b66"];
const RUNS: [&str; 2] = ["01a22a3ca601723183d294ff6620fe1b", "01a22a3ca68172ab944bf5c2a7ea366b"];

/// A home whose data directory has this log.
fn home(log: &[u8]) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    std::fs::create_dir(&data).expect("is made");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("is set");
    std::fs::write(data.join("log.db"), log).expect("writes");
    std::fs::set_permissions(data.join("log.db"), std::fs::Permissions::from_mode(0o600)).expect("is set");
    home
}

async fn events(server: &Server, token: &str, channel: &str) -> Vec<Value> {
    let path = format!("/api/channels/{channel}/events?after=0&limit=1000");
    server.get(&path, token).await.json()["events"].as_array().expect("events").clone()
}

/// How everything in the log is: what it says of itself, and how many messages it has.
async fn all(server: &Server, token: &str) -> Vec<(Value, Value, usize)> {
    let mut all = Vec::new();
    let kinds = [
        ("/api/sessions", "session", SESSIONS),
        ("/api/shells", "shell:terminal", TERMINALS),
        ("/api/workflows/runs", "workflow:run", RUNS),
    ];
    for (path, channel, ids) in kinds {
        for id in ids {
            let state = server.get(&format!("{path}/{id}"), token).await.json();
            let count = events(server, token, &format!("{channel}:{id}")).await.len();
            all.push((state["status"].clone(), state["error"]["code"].clone(), count));
        }
    }
    all
}

#[tokio::test]
async fn a_log_of_the_schema_before_starts_and_what_was_open_in_it_is_ended_or_goes_on() {
    let mut server = Server::start_in(home(include_bytes!("data/log-3.db")), &[]);
    let token = server.admin();
    let found = all(&server, &token).await;
    let status: Vec<(&Value, &Value)> = found.iter().map(|(status, code, _)| (status, code)).collect();
    let (stopped, none) = (json!("server_stopped"), Value::Null);
    let expected = [
        (json!("completed"), &none),
        (json!("error"), &stopped),
        (json!("exited"), &none),
        (json!("error"), &stopped),
        (json!("completed"), &none),
        (json!("waiting"), &none),
    ];
    assert_eq!(status, expected.iter().map(|(status, code)| (status, *code)).collect::<Vec<_>>());
    let outside = server.get("/api/sessions/outside-ended", &token).await.json();
    assert_eq!((&outside["status"], &outside["counts"]["messages"]), (&json!("completed"), &json!(302)));
    assert_eq!(events(&server, &token, "session:outside-ended").await.len(), 302, "every message is there");
    let project = server.get(&format!("/api/projects/{PROJECT}"), &token).await.json();
    assert_eq!((&project["name"], &project["root"]), (&json!("old"), &json!("/opt")));
    // What was ended once is not ended again, after a stop and after a kill.
    for kill in [false, true] {
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        server.start_again();
        assert_eq!(all(&server, &token).await, found);
    }
    let approve = format!("/api/workflows/runs/{}/steps/ask/approve", RUNS[1]);
    let answer = server.post(&approve, &token, json!({"decision": "approved"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("the end of the run that waited", async || {
        server.get(&format!("/api/workflows/runs/{}", RUNS[1]), &token).await.json()["status"] == "completed"
    })
    .await;
}

#[test]
fn a_saved_state_that_no_function_brings_to_this_version_ends_the_start_by_its_name() {
    // The state of one channel is of version 99, and every message of it is trimmed.
    let home = home(include_bytes!("data/log-3-unreadable.db"));
    for _ in 0..2 {
        let ended = tidings(home.path()).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && !String::from_utf8_lossy(&ended.stdout).contains("listening"), "{said}");
        for name in ["session:outside-ended", "version 99", "reads version 2", "back-up"] {
            assert!(said.contains(name), "{said}");
        }
    }
}

/// So many come back at once.
const CROWD: usize = 100;

#[tokio::test]
async fn a_crowd_that_comes_back_with_a_snapshot_after_a_restart_causes_one_fold() {
    let mut server = Server::start("");
    let token = server.admin();
    server.publish(&token, notes("shown", 1..=200)).await;
    server.kill();
    server.start_again();
    // The start has folded what was there; this is in no state yet.
    server.publish(&token, notes("shown", 201..=201)).await;
    let before = server.metric("tidings_state_folds_total").await;
    let mut watchers = Vec::new();
    for _ in 0..CROWD {
        watchers.push(Watcher::connect(&server, &token).await);
    }
    let mut crowd = JoinSet::new();
    for mut watcher in watchers {
        crowd.spawn(async move {
            watcher.done("subscribe", json!({"channel": "session:shown", "snapshot": true})).await;
            watcher.of_type("channel.snapshot").await
        });
    }
    while let Some(shown) = crowd.join_next().await {
        let data = shown.expect("is shown")["data"].clone();
        assert_eq!((&data["seq"], &data["snapshot"]["counts"]["messages"]), (&json!(201), &json!(201)));
    }
    let folds = server.metric("tidings_state_folds_total").await - before;
    assert_eq!(folds, 1.0);
}

/// How many sessions have ended before a start. For figures:
/// `STARTS_ENDED=100000 cargo test --test it a_start_folds -- --nocapture`.
const ENDED: &str = match option_env!("STARTS_ENDED") {
    Some(ended) => ended,
    None => "200",
};
/// So many wait to be folded when they have ended; of more at once, the next start folds the rest.
const WAITING: usize = 10_000;

/// The events of so many sessions that somebody else ran, and that have ended.
fn sessions(first: usize, count: usize) -> Value {
    let both = |n: usize| {
        let id = format!("ended-{n:06}");
        let started = json!({"type": "session.started", "data": {"sessionId": id, "title": "t"}});
        [started, json!({"type": "session.completed", "data": {"sessionId": id, "exitCode": 0}})]
    };
    (first..first + count).flat_map(both).collect()
}

/// Starts it again: how long that took, in milliseconds, and how many states were folded.
async fn start(server: &mut Server) -> (u128, f64) {
    let before = Instant::now();
    server.start_again();
    let took = before.elapsed().as_millis();
    (took, server.metric("tidings_state_folds_total").await)
}

#[tokio::test]
async fn a_start_folds_what_is_open_and_nothing_of_what_has_ended() {
    let count: usize = ENDED.parse().expect("a number");
    let mut server = Server::start("[log]\ndurability = \"process\"\n");
    let token = server.admin();
    server.stop();
    let (on_nothing, folds) = start(&mut server).await;
    assert_eq!(folds, 0.0);
    for first in (0..count).step_by(50) {
        server.publish(&token, sessions(first, 50)).await;
    }
    if count <= WAITING {
        let all = async || server.metric("tidings_state_folds_total").await >= count as f64;
        eventually("that each was folded when it had ended", all).await;
        server.kill();
        assert_eq!(start(&mut server).await.1, 0.0, "after a kill");
    } else {
        server.stop();
        let (took, folds) = start(&mut server).await;
        println!("a start after more of them at once than can wait: {took} ms, {folds} states folded");
    }
    server.stop();
    let (took, folds) = start(&mut server).await;
    println!("a start on nothing: {on_nothing} ms, with {count} ended sessions: {took} ms");
    assert_eq!(folds, 0.0);
    let state = server.get("/api/sessions/ended-000000", &token).await.json();
    assert_eq!((&state["status"], &state["exitCode"]), (&json!("completed"), &json!(0)));
}

#[test]
fn a_link_in_the_data_directory_is_not_followed_and_what_it_leads_to_stays_as_it_is() {
    let home = tempfile::tempdir().expect("a directory");
    let mut server = Server::start_in(home, &[]);
    server.stop();
    let (data, victim) = (server.data_dir(), server.home().join("victim"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    for name in ["lock", "signing.key", "users.db", "log.db", "run"] {
        let (own, kept) = (data.join(name), data.join("kept"));
        std::fs::rename(&own, &kept).expect("is moved");
        if name == "run" {
            std::fs::create_dir(server.home().join("elsewhere")).expect("is made");
            std::fs::set_permissions(server.home().join("elsewhere"), PermissionsExt::from_mode(0o755))
                .expect("is set");
            std::os::unix::fs::symlink(server.home().join("elsewhere"), &own).expect("is linked");
        } else {
            std::fs::write(&victim, "precious").expect("writes");
            std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o644)).expect("is set");
            std::os::unix::fs::symlink(&victim, &own).expect("is linked");
        }
        let output = tidings(server.home()).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&format!("data/{name}")) && said.contains("is a symbolic link"), "{name}: {said}");
        if name == "run" {
            assert_eq!(mode(&server.home().join("elsewhere")), 0o755);
        } else {
            assert_eq!(std::fs::read_to_string(&victim).expect("reads"), "precious", "{name}");
            assert_eq!(mode(&victim), 0o644, "{name}");
        }
        std::fs::remove_file(&own).expect("is removed");
        std::fs::rename(&kept, &own).expect("is moved back");
    }
    server.start_again();
}
