//! What one client can make the server hold and do, and that others do not notice.
//!
//! Guarantees: memory and files are those of the real process; everybody else is served meanwhile.
//! They are not the endings of connections: see `endings`.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use tidings_client::{ConnectError, Polling, Raw, http};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::timeout};

use crate::{
    server::{PATIENCE, Server, eventually, note},
    watcher::{Said, Watcher, answer, frame, raw, said},
};

const MIB: u64 = 1 << 20;

/// An event of so many bytes that no server knows, with an acknowledgement.
fn unknown(id: u64, bytes: usize) -> String {
    format!(r#"42{id}["nobody.knows",{{"filling":"{}"}}]"#, "x".repeat(bytes))
}

/// The highest figure of a metric until `over` is done.
async fn highest(server: &Server, metric: &str, over: impl Future<Output = ()>) -> (f64, u64) {
    let (mut held, mut memory) = (0.0_f64, 0);
    let mut over = std::pin::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return (held, memory),
            now = server.metric(metric) => (held, memory) = (held.max(now), memory.max(server.memory())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_megabytes_on_many_connections_costs_so_much_and_others_are_served() {
    // Its commands are taken so slowly that all of them wait.
    let limits = "[socket]\nrate_burst = 1\nrate_per_second = 1\nheld_bytes_per_user = \"16MiB\"\n";
    let server = Server::start(&format!("[log]\ndurability = \"process\"\n{limits}"));
    let (greedy, other) = (server.token("ada", &[]), server.token("bob", &["--role", "viewer"]));
    let watcher = Watcher::connect(&server, &other).await;
    let before = server.memory();
    let mut flood = JoinSet::new();
    // Four fill what one user may have waiting, and are ended after ten seconds; then the next four do.
    for _ in 0..12 {
        let mut client = raw(&server.endpoint(), &greedy).await;
        flood.spawn(async move {
            // 8 MiB each, as far as the server reads them; then it is to be ended.
            for id in 0..40 {
                if client.send_text(unknown(id, 200_000)).await.is_err() {
                    break;
                }
            }
            while frame(&mut client).await.is_some() {}
        });
    }
    let ended = async {
        eventually("that what waits is much", async || server.metric("tidings_held_bytes").await > 4e6).await;
        watcher.done("subscribe", json!("session:1")).await;
        assert_eq!(server.get("/api/auth/me", &greedy).await.status, 200);
        while flood.join_next().await.is_some() {}
    };
    let (held, memory) = highest(&server, "tidings_held_bytes", async {
        timeout(PATIENCE, ended).await.expect("each is ended");
    })
    .await;
    assert!(held <= 16e6 * 1.05, "held for one user: {held}");
    // All of it would be 96 MB.
    assert!(memory < before + 64 * MIB, "{} MiB, {} MiB before", memory / MIB, before / MIB);
    eventually("that everything is given back", async || server.metric("tidings_held_bytes").await == 0.0).await;
    assert!(server.metric("tidings_connections_ended_total{code=\"rate_limited\"}").await >= 1.0);
}

/// A project with a file of so many bytes.
async fn project_with_a_file(server: &Server, token: &str, root: &Path, bytes: usize) -> String {
    std::fs::write(root.join("large"), "x".repeat(bytes)).expect("writes");
    let made = server.post("/api/projects", token, json!({"name": "one", "root": root})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["projectId"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_for_much_and_reads_nothing_costs_so_much_and_gets_all_once_it_reads() {
    let server = Server::start("[log]\ndurability = \"process\"\n[socket]\nanswer_bytes = \"1MiB\"\n");
    let (admin, root) = (server.admin(), tempfile::tempdir().expect("a directory"));
    let project = project_with_a_file(&server, &admin, root.path(), 120_000).await;
    let mut lazy = raw(&server.endpoint(), &admin).await;
    let (before, all) = (server.memory(), 300);
    for id in 0..all {
        lazy.send_text(format!(r#"42{id}["fs.read",{{"projectId":"{project}","path":"large"}}]"#))
            .await
            .expect("sends");
    }
    eventually("that it is held back", async || server.metric("tidings_held_bytes").await > MIB as f64).await;
    let watcher = Watcher::connect(&server, &server.token("bob", &["--role", "viewer"])).await;
    watcher.done("subscribe", json!("session:1")).await;
    let held = server.metric("tidings_held_bytes").await;
    assert!(held < 3e6, "answers and questions that wait: {held}");
    // All of it would be 36 MB.
    let memory = server.memory();
    assert!(memory < before + 20 * MIB, "{} MiB, {} MiB before", memory / MIB, before / MIB);
    let mut answered = 0;
    while answered < all {
        if let Said::Answer(_, answer) = said(&frame(&mut lazy).await.expect("it is not ended")) {
            assert_eq!(answer["ok"], true, "{answer}");
            answered += 1;
        }
    }
    eventually("that everything is given back", async || server.metric("tidings_held_bytes").await == 0.0).await;
}

/// A client that asks over HTTP for something and never reads the answer.
async fn asks_and_reads_nothing(server: &Server, path: &str, bearer: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asks");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_http_that_nobody_reads_are_counted_and_refused_beyond_the_bound() {
    let limits = "[log]\ndurability = \"process\"\n[socket]\nheld_bytes_per_user = \"32MiB\"\n";
    let server = Server::start(limits);
    let (admin, content) = (server.admin(), "x".repeat(200_000));
    for n in 0..50 {
        let data = json!({"sessionId": "big", "type": "stdout", "content": content, "offset": n * 200_000});
        server.publish(&admin, json!([{"type": "session.stream_output", "data": data}])).await;
    }
    let (eve, bob) = (server.token("eve", &["--role", "viewer"]), server.token("bob", &["--role", "viewer"]));
    let before = server.memory();
    let mut lazy = Vec::new();
    for _ in 0..100 {
        lazy.push(asks_and_reads_nothing(&server, "/api/sessions/big/output", &eve).await);
    }
    let route = "tidings_http_requests_total{route=\"/api/sessions/{sessionId}/output\",status=";
    let answered = async || {
        let (all, refused) = (format!("{route}\"200\"}}"), format!("{route}\"429\"}}"));
        server.metric(&all).await + server.metric(&refused).await >= 100.0
    };
    let over = eventually("that all are answered or refused", answered);
    let (held, memory) = highest(&server, "tidings_held_bytes", over).await;
    // All of it would be 800 MB. Four are put together at once, of some 10 MB of messages each.
    assert!(held <= 33e6 && memory < before + 250 * MIB, "{held} held, {} MiB", (memory - before) / MIB);
    assert!(server.metric("tidings_held_refused_total{bound=\"user\",of=\"answers\"}").await > 0.0);
    assert_eq!(server.get("/api/sessions/big/output", &bob).await.status, 200, "who reads is served");
    drop(lazy);
    eventually("that all is given back", async || server.metric("tidings_held_bytes").await == 0.0).await;
}

#[tokio::test]
async fn filters_are_counted_for_their_user_as_long_as_their_subscriptions() {
    let server = Server::start("[socket]\nmailbox_bytes = \"4MiB\"\nheld_bytes_per_user = \"8MiB\"\n");
    let bearer = server.admin();
    let watcher = Watcher::connect(&server, &bearer).await;
    let filter = json!({"where": {"field": "x".repeat(15_000)}});
    let mut refused = None;
    for n in 0..600 {
        let answer = watcher.ask("subscribe", json!({"channel": format!("session:{n}"), "filter": filter})).await;
        if answer["ok"] != true {
            refused = Some((n, answer));
            break;
        }
    }
    let (kept, answer) = refused.expect("a bound");
    assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
    assert!((450..=560).contains(&kept), "{kept} filters of 15 KB are 8 MiB");
    watcher.done("unsubscribe", json!({"all": true})).await;
    watcher.done("subscribe", json!({"channel": "session:1", "filter": filter})).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_in_its_turn_and_never_kept() {
    let server = Server::start("[socket]\nrate_burst = 2\nrate_per_second = 1\n");
    let bearer = server.admin();
    let mut client = raw(&server.endpoint(), &bearer).await;
    client.send_text(unknown(1, 10)).await.expect("sends");
    for id in 2..4 {
        client.send_text(unknown(id, 900_000)).await.expect("sends");
    }
    // Nobody asked for an answer, and none comes; what is sent after it is answered.
    client.send_text(unknown(4, 300_000).replacen("424", "42", 1)).await.expect("sends");
    client.send_text(unknown(5, 10)).await.expect("sends");
    let mut codes = Vec::new();
    let mut most = 0.0_f64;
    while codes.len() < 4 {
        most = most.max(server.metric("tidings_held_bytes").await);
        if let Said::Answer(id, answer) = said(&frame(&mut client).await.expect("goes on")) {
            codes.push((id, answer["error"]["code"].as_str().expect("a code").to_owned()));
        }
    }
    let expected = [(1, "unknown_command"), (2, "too_large"), (3, "too_large"), (5, "unknown_command")];
    assert_eq!(codes, expected.map(|(id, code)| (id, code.to_owned())));
    // No more than the one that is just coming in.
    assert!(most < 950_000.0, "{most}");
    assert_eq!(server.metric("tidings_held_bytes").await, 0.0);
    assert_eq!(server.metric("tidings_refusals_total{code=\"too_large\"}").await, 3.0);
}

#[tokio::test]
async fn binary_attachments_and_what_comes_before_a_token_have_little_room() {
    let server = Server::start("");
    let bearer = server.admin();
    let mut client = raw(&server.endpoint(), &bearer).await;
    client.send_text(r#"451-1["publish",{"_placeholder":true,"num":0}]"#).await.expect("sends");
    client.send(tokio_tungstenite::tungstenite::Message::binary(vec![0; 1000])).await.expect("sends");
    assert_eq!(answer(&mut client, 1).await["error"]["code"], "bad_request");
    client.send_text(r#"4550-2["publish"]"#).await.expect("sends");
    for _ in 0..20 {
        // It ends somewhere on the way.
        drop(client.send(tokio_tungstenite::tungstenite::Message::binary(vec![0; 100_000])).await);
    }
    while frame(&mut client).await.is_some() {}
    let mut stranger = Raw::connect(&server.endpoint()).await.expect("connects");
    drop(stranger.send_text(format!("40{{\"token\":\"{}\"}}", "x".repeat(100_000))).await);
    while let Some(text) = frame(&mut stranger).await {
        assert!(text.starts_with('0'), "it is not even refused: {text}");
    }
    eventually("nobody left", async || server.metric("tidings_connections").await == 0.0).await;
}

#[tokio::test]
async fn sessions_by_polling_that_nobody_is_let_into_count_as_handshakes_until_they_are() {
    let server = Server::start("[socket]\nmax_handshakes = 3\n");
    let bearer = server.admin();
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(Polling::open(&server.endpoint()).await.expect("opens"));
    }
    assert_eq!(Polling::open(&server.endpoint()).await.map(drop), Err(ConnectError::Status(503)));
    assert_eq!(server.metric("tidings_handshakes_refused_total{reason=\"handshakes\"}").await, 1.0);
    let polling = opened.pop().expect("three");
    polling.send(&[&format!("40{}", json!({ "token": bearer }))]).await.expect("sends");
    eventually("that it is let in", async || server.metric("tidings_connections").await == 1.0).await;
    assert!(Polling::open(&server.endpoint()).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn requests_beyond_the_rate_are_refused_and_publishing_and_probes_are_not() {
    let server = Server::start("[http]\nrate_burst = 5\nrate_per_second = 1\n");
    let (admin, other) = (server.admin(), server.token("bob", &[]));
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(server.get("/api/auth/me", &admin).await);
    }
    let refused = statuses.last().expect("some");
    assert_eq!((statuses[0].status, refused.status), (200, 429), "{}", refused.text());
    assert_eq!(refused.json()["code"], "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(refused.json()["retryAfterMs"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)), "{}", refused.text());
    assert_eq!(server.get("/api/auth/me", &other).await.status, 200, "others are served");
    for n in 1..=50 {
        server.publish(&admin, note("1", n)).await;
        assert_eq!(server.get("/health/live", &admin).await.status, 200);
    }
    assert!(server.metric("tidings_limited_total{limit=\"requests\"}").await >= 1.0);
    assert!(server.metric("tidings_refusals_total{code=\"rate_limited\"}").await >= 1.0);
}

/// A program in the place of git that goes on once `go` is there, in the folder of the programs.
const SLOW_GIT: &str = r#"#!/bin/sh
while [ ! -e "$(dirname "$0")/go" ]; do sleep 0.05; done
PATH=/usr/local/bin:/usr/bin:/bin
export PATH
exec git "$@"
"#;

/// A git that waits: a script, which the wall before git would not let start anything.
fn slow_git(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("git");
    std::fs::write(&program, SLOW_GIT).expect("writes");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("marks");
    format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display())
}

fn repository(root: &Path) {
    let made = Command::new("git").args(["init", "--quiet"]).current_dir(root).status().expect("git is there");
    assert!(made.success());
}

#[tokio::test]
async fn commands_that_nobody_waits_for_any_more_count_as_their_users_until_they_end() {
    let (programs, root) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let path = slow_git(programs.path());
    let server = Server::start_with("[commands]\nmax_per_user = 4\n[git]\nunconfined = true\n", &[("PATH", &path)]);
    repository(root.path());
    let admin = server.admin();
    let project = project_with_a_file(&server, &admin, root.path(), 10).await;
    let ask = format!("/api/projects/{project}/git/branches");
    for number in 1..=4 {
        let (url, path, token) = (server.url(), ask.clone(), admin.clone());
        let mut asking = JoinSet::new();
        asking.spawn(async move { http::post_json(&url, &path, Some(&token), &json!({})).await });
        let count = f64::from(number);
        eventually("that it runs", async || server.metric("tidings_running{of=\"command\"}").await == count).await;
        // Whoever asked goes away.
        asking.shutdown().await;
    }
    let refused = server.post(&ask, &admin, json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("rate_limited")), "{}", refused.text());
    let watcher = Watcher::connect(&server, &admin).await;
    assert_eq!(watcher.refused("git.branches", json!({"projectId": project})).await, "rate_limited");
    let bob = server.token("bob", &["--role", "viewer"]);
    assert_eq!(server.get(&format!("/api/projects/{project}"), &bob).await.status, 200, "others are served");
    std::fs::write(programs.path().join("go"), "").expect("writes");
    eventually("their end", async || server.post(&ask, &admin, json!({})).await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reads_of_a_repository_at_once_run_a_few_programs_and_are_all_answered() {
    let server = Server::start("[commands]\nmax_per_user = 1000\n");
    let (admin, root) = (server.admin(), tempfile::tempdir().expect("a directory"));
    repository(root.path());
    let project = project_with_a_file(&server, &admin, root.path(), 10).await;
    let mut watchers = Vec::new();
    for _ in 0..4 {
        watchers.push(Watcher::connect(&server, &admin).await);
    }
    let before = server.open_files();
    let mut asking = JoinSet::new();
    for number in 0..200_usize {
        let client = &watchers[number % watchers.len()].client;
        let (event, limit) = if number % 2 == 0 { ("git.status", None) } else { ("git.log", Some(1 + number / 2)) };
        let mut asked = json!({"projectId": project});
        if let Some(limit) = limit {
            asked["limit"] = json!(limit);
        }
        asking.spawn(client.emit_with_ack(event, asked));
    }
    let (mut most, mut answers) = (0, Vec::new());
    let reading = async {
        loop {
            tokio::select! {
                done = asking.join_next() => match done {
                    Some(answer) => answers.push(answer.expect("asks").expect("an answer")),
                    None => return,
                },
                _ = server.get("/health/live", "") => most = most.max(server.open_files()),
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("all are answered");
    let wrong: Vec<&Value> = answers.iter().filter(|answer| answer["ok"] != true).collect();
    assert_eq!((answers.len(), wrong), (200, Vec::new()));
    assert!(most > before && most - before < 8 * 8, "{before} files before, {most} at most");
}

#[tokio::test]
async fn reads_beyond_those_that_may_wait_are_refused_and_no_answer_is_older_than_its_question() {
    let (programs, root) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let path = slow_git(programs.path());
    let limits = "[git]\nunconfined = true\nmax_reads = 1\nmax_reads_per_project = 1\nmax_waiting_reads = 1\n";
    let server = Server::start_with(limits, &[("PATH", &path)]);
    repository(root.path());
    let admin = server.admin();
    let project = project_with_a_file(&server, &admin, root.path(), 10).await;
    let [one, other] = [Watcher::connect(&server, &admin).await, Watcher::connect(&server, &admin).await];
    let asked = || json!({"projectId": project});
    let are_running = async |count: f64| {
        eventually("so many", async || server.metric("tidings_running{of=\"command\"}").await == count).await;
    };
    let mut asking = JoinSet::new();
    asking.spawn(one.client.emit_with_ack("git.status", asked()));
    are_running(1.0).await;
    asking.spawn(one.client.emit_with_ack("git.status", asked()));
    are_running(2.0).await;
    assert_eq!(other.refused("git.branches", asked()).await, "overloaded");
    // The same question as one that waits: they share the answer.
    asking.spawn(other.client.emit_with_ack("git.status", asked()));
    are_running(3.0).await;
    std::fs::write(root.path().join("new"), "").expect("writes");
    std::fs::write(programs.path().join("go"), "").expect("writes");
    for answer in timeout(PATIENCE, asking.join_all()).await.expect("all are answered") {
        let seen = answer.expect("an answer");
        assert_eq!(seen["data"]["files"].as_array().map(Vec::len), Some(2), "{seen}");
    }
    assert!(server.metric("tidings_limited_total{limit=\"git_reads\"}").await >= 1.0);
}

#[tokio::test]
async fn a_user_with_many_slow_reads_waiting_holds_up_itself_and_another_is_answered_after_a_few_turns() {
    let (programs, root) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let path = slow_git(programs.path());
    let limits =
        "[git]\nunconfined = true\nmax_reads = 1\nmax_reads_per_project = 1\nmax_waiting_reads_per_user = 20\n";
    let server = Server::start_with(limits, &[("PATH", &path)]);
    repository(root.path());
    let admin = server.admin();
    let project = project_with_a_file(&server, &admin, root.path(), 10).await;
    let (ada, bob) = (server.token("ada", &["--role", "viewer"]), server.token("bob", &["--role", "viewer"]));
    let [ada, bob] = [Watcher::connect(&server, &ada).await, Watcher::connect(&server, &bob).await];
    let are_running = async |count: f64| {
        eventually("so many", async || server.metric("tidings_running{of=\"command\"}").await == count).await;
    };
    let (heard, mut order) = tokio::sync::mpsc::channel(64);
    let mut asking = JoinSet::new();
    let mut ask = |who: &Watcher, name: String, event: &str, more: Value| {
        let (heard, mut asked) = (heard.clone(), more);
        asked["projectId"] = json!(project);
        let answer = who.client.emit_with_ack(event, asked);
        asking.spawn(async move {
            let answer = answer.await.expect("an answer");
            assert_eq!(answer["ok"], true, "{name}: {answer}");
            heard.send(name).await.expect("the test listens");
        });
    };
    // One reads, and so many wait as may; the last of them asks what the other one will ask, too.
    for number in 0..20 {
        ask(&ada, format!("ada {number}"), "git.diff", json!({}));
    }
    are_running(20.0).await;
    ask(&ada, "ada status".to_owned(), "git.status", json!({}));
    are_running(21.0).await;
    let limited = "tidings_limited_total{limit=\"git_reads\"}";
    let before = server.metric(limited).await;
    assert_eq!(ada.refused("git.branches", json!({"projectId": project})).await, "overloaded");
    assert_eq!(server.metric(limited).await, before + 1.0);
    ask(&bob, "bob status".to_owned(), "git.status", json!({}));
    are_running(22.0).await;
    ask(&bob, "bob branches".to_owned(), "git.branches", json!({}));
    are_running(23.0).await;
    std::fs::write(programs.path().join("go"), "").expect("writes");
    let mut seen = Vec::new();
    while seen.len() < 23 {
        seen.push(timeout(PATIENCE, order.recv()).await.expect("all are answered").expect("a name"));
    }
    let place = |name: &str| seen.iter().position(|seen| seen == name).expect("answered");
    // It reads what began before, and then turns go round; both who wait for the status get one answer.
    assert!(place("bob status") <= 3 && place("bob branches") <= 5, "{seen:?}");
    assert!(place("ada status") <= 3, "who asks the same is answered with it: {seen:?}");
    let of_ada: Vec<&String> = seen.iter().filter(|name| name.starts_with("ada ") && *name != "ada status").collect();
    let in_order: Vec<String> = (0..20).map(|number| format!("ada {number}")).collect();
    assert_eq!(of_ada, in_order.iter().collect::<Vec<_>>(), "each user's own are answered in their order");
    while let Some(asked) = asking.join_next().await {
        asked.expect("is answered");
    }
}
