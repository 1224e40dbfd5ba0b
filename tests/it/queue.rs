//! Operations on repositories against the real binary: their places, their order, and whoever waits for their ends.
//!
//! Guarantees: a repository is kept busy by a remote that takes a connection and never says a word, so that nothing
//! depends on how fast git is.
//! They are not the tests of what git does: those are in tests/clients.

use std::{net::TcpListener, path::Path, process::Command};

use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use tidings_client::http::{self, Response};

use crate::{
    server::{Server, eventually},
    sessions::Room,
    watcher::Watcher,
};

/// What git needs to know of whoever commits, and a way to a remote of the test's.
pub(crate) const GIT: &str = "[run]\ngrace_ms = 500\nset = { GIT_AUTHOR_NAME = \"Ada\", GIT_AUTHOR_EMAIL = \"a@x\", \
                              GIT_COMMITTER_NAME = \"Ada\", GIT_COMMITTER_EMAIL = \"a@x\", GIT_CONFIG_GLOBAL = \"/dev/null\" }\n\
                              [git]\nprotocols = [\"http\"]\n";

/// Runs git in a directory, outside of the server.
pub(crate) fn git(root: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Ada", "-c", "user.email=a@x", "-c", "commit.gpgsign=false"]).args(words);
    let output = command.current_dir(root).env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git is there");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A room around a repository with one commit of one file.
pub(crate) async fn repository(config: &str) -> Room {
    let room = Room::open(config).await;
    git(room.root.path(), &["init", "--quiet", "-b", "main"]);
    std::fs::write(room.root.path().join("a.txt"), "one\n").expect("writes");
    git(room.root.path(), &["add", "--all"]);
    git(room.root.path(), &["commit", "--quiet", "-m", "first"]);
    room
}

/// Asks for something, for whose end this is preferred.
async fn ask(room: &Room, command: &str, mut input: Value, prefer: Option<&str>) -> Response {
    input["projectId"] = json!(room.project);
    let endpoint = room.server.endpoint();
    let path = format!("/api/projects/{}/git/{command}", room.project);
    let mut request = Request::builder().method("POST").uri(path).header("host", endpoint.authority());
    request = request.header("authorization", format!("Bearer {}", room.token));
    request = request.header("content-type", "application/json");
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    let request = request.body(Full::new(input.to_string().into())).expect("a request");
    http::send(&endpoint, request).await.expect("an answer")
}

/// Asks for an operation: its id, and whether it waits.
async fn begin(room: &Room, command: &str, input: Value) -> (String, bool) {
    let answer = ask(room, command, input, None).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    (answer["operationId"].as_str().expect("an id").to_owned(), answer["queued"] == true)
}

/// Asks for an operation, and waits for its end.
pub(crate) async fn end_of(room: &Room, command: &str, input: Value) -> Value {
    let answer = ask(room, command, input, Some("wait=50")).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()["end"].clone()
}

/// What was told of operations, without progress: what, and of which.
async fn told(server: &Server, token: &str, project: &str) -> Vec<(String, String)> {
    let path = format!("/api/channels/project:{project}/events?after=0&limit=1000");
    let events = server.get(&path, token).await.json()["events"].clone();
    let of = |event: &Value| {
        let name = event["type"].as_str()?.strip_prefix("git.operation.")?.to_owned();
        let id = event["data"]["operationId"].as_str()?.to_owned();
        (name != "progress").then_some((event["data"]["code"].as_str().map_or(name, str::to_owned), id))
    };
    events.as_array().expect("events").iter().filter_map(of).collect()
}

/// Keeps the repository busy until it is cancelled or killed: the operation.
async fn busy(room: &Room) -> (String, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("listens");
    let url = format!("http://{}/never.git", silent.local_addr().expect("an address"));
    git(room.root.path(), &["remote", "add", "silent", &url]);
    let (id, queued) = begin(room, "fetch", json!({"remote": "silent"})).await;
    assert!(!queued);
    (id, silent)
}

#[tokio::test]
async fn what_is_asked_of_a_busy_repository_waits_and_is_done_in_its_order() {
    let room = repository(GIT).await;
    let (fetch, _silent) = busy(&room).await;
    std::fs::write(room.root.path().join("b.txt"), "b\n").expect("writes");
    let (add, add_waits) = begin(&room, "add", json!({"paths": ["b.txt"]})).await;
    let (commit, commit_waits) = begin(&room, "commit", json!({"message": "second"})).await;
    assert!(add_waits && commit_waits);
    let (dropped, _) = begin(&room, "stash", json!({"action": "drop"})).await;
    let state = room.server.get(&format!("/api/projects/{}", room.project), &room.token).await.json();
    let open = &state["git"]["operations"];
    assert_eq!((&open[&fetch]["queued"], &open[&add]["queued"]), (&Value::Null, &json!(true)), "{open}");
    assert!(room.server.metric("tidings_running{of=\"waiting_operation\"}").await == 3.0);
    for id in [&dropped, &fetch] {
        assert_eq!(ask(&room, "cancel", json!({"operationId": id}), None).await.status, 202);
    }
    let done = async || {
        told(&room.server, &room.token, &room.project).await.contains(&("completed".to_owned(), commit.clone()))
    };
    eventually("the end of the last", done).await;
    let told = told(&room.server, &room.token, &room.project).await;
    let of =
        |wanted: &str| told.iter().filter(|(_, id)| id == wanted).map(|(what, _)| what.as_str()).collect::<Vec<_>>();
    assert_eq!(of(&dropped), ["queued", "cancelled"]);
    assert_eq!(of(&fetch), ["started", "cancelled"]);
    assert_eq!(
        (of(&add), of(&commit)),
        (vec!["queued", "started", "completed"], vec!["queued", "started", "completed"])
    );
    let at =
        |what: &str, id: &str| told.iter().position(|told| *told == (what.to_owned(), id.to_owned())).expect("told");
    assert!(
        at("cancelled", &fetch) < at("started", &add) && at("completed", &add) < at("started", &commit),
        "{told:?}"
    );
    assert_eq!(git(room.root.path(), &["show", "--format=%s", "--name-only", "HEAD"]), "second\n\nb.txt\n");
}

#[tokio::test]
async fn what_waits_is_bounded_and_whoever_finds_no_place_is_told_when_to_come_back() {
    let bounds = "max_waiting_operations_per_project = 1\n";
    let room = repository(&format!("{GIT}{bounds}")).await;
    let (fetch, _silent) = busy(&room).await;
    let (_, waits) = begin(&room, "add", json!({"paths": ["."]})).await;
    assert!(waits);
    let refused = ask(&room, "add", json!({"paths": ["."]}), Some("wait=50")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("overloaded")), "{}", refused.text());
    assert_eq!(refused.json()["retryAfterMs"], 1000);
    assert!(room.server.metric("tidings_limited_total{limit=\"git_operations\"}").await >= 1.0);
    assert_eq!(told(&room.server, &room.token, &room.project).await.len(), 2, "nothing came of it");
    assert_eq!(ask(&room, "unlock", json!({}), None).await.status, 409, "something runs");
    ask(&room, "cancel", json!({"operationId": fetch}), None).await;
    let is_free = async || room.server.metric("tidings_running{of=\"waiting_operation\"}").await == 0.0;
    eventually("a place in line", is_free).await;
    assert_eq!(end_of(&room, "commit", json!({"message": "none"})).await["code"], "nothing_to_commit");
}

#[tokio::test]
async fn an_end_is_waited_for_as_long_as_was_asked_over_both_transports() {
    let room = repository(GIT).await;
    std::fs::write(room.root.path().join("a.txt"), "two\n").expect("writes");
    let committed =
        ask(&room, "commit", json!({"message": "second", "all": true}), Some("wait=50, respond-async")).await;
    assert_eq!((committed.status, committed.headers["preference-applied"].as_bytes()), (200, &b"wait=50"[..]));
    let head = git(room.root.path(), &["rev-parse", "HEAD"]);
    let end = &committed.json()["end"];
    assert_eq!(end, &json!({"status": "completed", "head": head.trim(), "branch": "main"}));
    let refused = ask(&room, "add", json!({"paths": ["a.txt"], "waitMs": 60_001}), None).await;
    assert_eq!((refused.status, refused.json()["fields"]["waitMs"].is_string()), (422, true), "{}", refused.text());

    let watcher = Watcher::connect(&room.server, &room.token).await;
    let failed = json!({"projectId": room.project, "branch": "none", "waitMs": 50_000, "commandId": "c1"});
    let failed = watcher.done("git.checkout", failed).await["data"].clone();
    assert_eq!((&failed["end"]["status"], &failed["end"]["code"]), (&json!("failed"), &json!("not_found")), "{failed}");
    assert!(failed["end"]["message"].is_string() && failed["end"]["output"].is_string());
    // How long is waited is no part of what is asked.
    let again = json!({"projectId": room.project, "branch": "none", "commandId": "c1"});
    assert_eq!(watcher.done("git.checkout", again).await["data"], failed);

    let (fetch, _silent) = busy(&room).await;
    let late = ask(&room, "add", json!({"paths": ["."], "waitMs": 1}), Some("wait=50")).await;
    assert_eq!((late.status, late.headers.get("preference-applied")), (202, None), "what the body says counts more");
    assert_eq!((&late.json()["queued"], &late.json()["end"]), (&json!(true), &Value::Null));
    let (waiting, cancelled) = tokio::join!(
        ask(&room, "commit", json!({"message": "third", "waitMs": 50_000}), None),
        ask(&room, "cancel", json!({"operationId": fetch}), None)
    );
    assert_eq!((waiting.status, cancelled.status), (200, 202));
    assert_eq!(waiting.json()["end"]["code"], "nothing_to_commit");
}

#[tokio::test]
async fn a_stop_and_a_kill_end_what_waits_and_whoever_waits_for_it() {
    let mut room = repository(&format!("drain_ms = 2000\n{GIT}")).await;
    let (fetch, _silent) = busy(&room).await;
    let (add, _) = begin(&room, "add", json!({"paths": ["."]})).await;
    let url = room.server.url();
    let (token, path) = (room.token.clone(), format!("/api/projects/{}/git/commit", room.project));
    let body = json!({"message": "third", "waitMs": 60_000});
    let asking = http::post_json(&url, &path, Some(&token), &body);
    let stopping = async {
        let waits = async || room.server.metric("tidings_running{of=\"waiting_operation\"}").await == 2.0;
        eventually("that it waits", waits).await;
        room.server.terminate();
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, &answer.json()["end"]["code"]), (200, &json!("server_stopped")), "{}", answer.text());
    room.server.has_stopped();
    room.server.start_again();
    let ends = async |room: &Room| {
        let told = told(&room.server, &room.token, &room.project).await;
        told.into_iter().filter(|(what, _)| what == "server_stopped").map(|(_, id)| id).collect::<Vec<_>>()
    };
    let mut expected = vec![fetch, add, answer.json()["operationId"].as_str().expect("an id").to_owned()];
    let mut ended = ends(&room).await;
    assert_eq!((expected.sort(), ended.sort()), ((), ()));
    assert_eq!(ended, expected);

    let (again, _) = begin(&room, "fetch", json!({"remote": "silent"})).await;
    let (waits, queued) = begin(&room, "add", json!({"paths": ["."]})).await;
    assert!(queued);
    for _ in 0..2 {
        room.server.kill();
        room.server.start_again();
    }
    expected.extend([again, waits]);
    let mut ended = ends(&room).await;
    assert_eq!((expected.sort(), ended.sort()), ((), ()));
    assert_eq!(ended, expected, "each has one end");
    let state = room.server.get(&format!("/api/projects/{}", room.project), &room.token).await.json();
    assert_eq!(state["git"]["operations"], json!({}));
}
