//! What is there after restarts: everything, in every namespace, by default; and what a file in the way means.
//!
//! Guarantees: the server is the real one, in a fresh directory, with the configuration that it has by default.
//! They are not tests of delivery: those are in `recovery`.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};

use crate::server::{Server, tidings};

/// Beyond any page (1,000), any ring in memory (1,024), and what the server keeps of its own (64).
const EACH: u64 = 2200;
/// Events in one request.
const BATCH: u64 = 200;

/// A domain by configuration alone, so that its namespace is among the others.
const DECLARED: &str = "[[domains]]\nname = \"build\"\nchannel = \"build:{buildId}\"\n";

/// A channel of each namespace that can be published to, with the type and the id of its events.
const CHANNELS: [(&str, &str, &str, &str); 6] = [
    ("user:x", "user.note", "userId", "x"),
    ("session:x", "session.note", "sessionId", "x"),
    ("project:x", "project.note", "projectId", "x"),
    ("shell:terminal:x", "shell.note", "terminalId", "x"),
    ("workflow:run:x", "workflow.note", "runId", "x"),
    ("build:x", "build.note", "buildId", "x"),
];

fn event((channel, event_type, key, id): (&str, &str, &str, &str), n: u64) -> Value {
    json!({"type": event_type, "channel": channel, "data": {key: id, "n": n}})
}

/// The whole history of a channel: the first number that is kept, and what the messages say.
async fn history(server: &Server, bearer: &str, channel: &str) -> (u64, Vec<u64>) {
    let (mut after, mut numbers, mut first) = (0, Vec::new(), None);
    loop {
        let path = format!("/api/channels/{channel}/events?after={after}&limit=1000");
        let page = server.get(&path, bearer).await.json();
        let begins = page["first"].as_u64().expect("a number");
        assert_eq!(*first.get_or_insert(begins), begins, "nothing goes meanwhile");
        let events = page["events"].as_array().expect("events");
        let Some(last) = events.last() else { return (begins, numbers) };
        after = last["seq"].as_u64().expect("a number");
        numbers.extend(events.iter().map(|event| event["data"]["n"].as_u64().expect("a number")));
    }
}

#[tokio::test]
async fn two_restarts_lose_nothing_in_any_namespace() {
    let mut server = Server::start(DECLARED);
    let bearer = server.admin();
    for of in CHANNELS {
        for from in (1..=EACH).step_by(usize::try_from(BATCH).expect("is small")) {
            let events = (from..from + BATCH).map(|n| event(of, n)).collect();
            let places = server.publish(&bearer, events).await;
            assert!(places.iter().all(|place| place["channel"] == of.0), "{places:?}");
        }
    }
    // Each life publishes once more, so that whatever follows a commit follows one.
    for life in 1..=3 {
        match life {
            1 => server.stop(),
            2 => server.kill(),
            _ => server.stop(),
        }
        server.start_again();
        let last = EACH + life;
        for of in CHANNELS {
            let place = server.publish(&bearer, json!([event(of, last)])).await;
            assert_eq!(place[0]["seq"], last, "{}", of.0);
        }
        for (channel, ..) in CHANNELS {
            let (first, numbers) = history(&server, &bearer, channel).await;
            assert_eq!(first, 1, "{channel} in life {life}");
            assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "{channel} in life {life}");
        }
    }
    let said = server.said();
    assert!(!said.contains("the log trimmed"), "{said}");
}

#[tokio::test]
async fn what_a_rule_takes_is_one_line_that_says_how_much_and_which() {
    let mut server = Server::start("[retention.user]\nmessages = 10\n");
    let bearer = server.admin();
    // In one commit, so that one sweep meets both.
    let of = |name: &'static str| {
        let channel = format!("user:{name}");
        (1..=50).map(move |n| event((&channel, "user.note", "userId", name), n))
    };
    server.publish(&bearer, of("a").chain(of("b")).collect()).await;
    let trimmed = async || {
        let page = server.get("/api/channels/user:b/events?after=0", &bearer).await.json();
        page["first"] == 41 && page["events"].as_array().is_some_and(|events| events.len() == 10)
    };
    crate::server::eventually("the older ones are gone", trimmed).await;
    server.stop();
    let said = server.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("the log trimmed")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    let figures = "channels=2 messages=80 rules=messages 80 without_a_rule=0";
    assert!(lines[0].contains("INFO") && lines[0].contains(figures), "{}", lines[0]);
}

/// Starts it where it cannot start: what it said.
fn refused(home: &Path) -> String {
    let mut command = tidings(home);
    let output = command.args(["serve", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).output().expect("runs");
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn an_empty_database_is_damage_and_not_a_first_start() {
    for name in ["log.db", "users.db"] {
        let mut server = Server::start("");
        let bearer = server.admin();
        server.publish(&bearer, json!([event(CHANNELS[0], 1)])).await;
        server.stop();
        let (file, kept) = (server.data_dir().join(name), server.data_dir().join("kept"));
        fs::rename(&file, &kept).expect("moves");
        fs::write(&file, "").expect("writes");
        let said = refused(server.home());
        assert!(said.contains(name) && said.contains("empty") && said.contains("back-up"), "{said}");
        assert_eq!(fs::metadata(&file).expect("is there").len(), 0, "it is left as it was");
        fs::rename(&kept, &file).expect("moves");
        server.start_again();
        assert_eq!(history(&server, &bearer, "user:x").await, (1, vec![1]), "the file itself was whole");
    }
}

#[tokio::test]
async fn what_is_in_the_way_in_the_data_directory_is_told_and_no_reason_not_to_start() {
    let mut server = Server::start("");
    let bearer = server.admin();
    server.publish(&bearer, json!([event(CHANNELS[0], 1)])).await;
    server.stop();
    let data = server.data_dir();
    fs::create_dir_all(data.join("run/stray/deep")).expect("a folder");
    fs::write(data.join("run/odd"), "not what the server writes").expect("writes");
    std::os::unix::fs::symlink("nowhere", data.join("run/link")).expect("a link");
    fs::remove_file(data.join("reserve")).expect("was there");
    fs::create_dir_all(data.join("reserve/mine")).expect("a folder");
    for name in ["stray", "log.db.bak", "log.db.new", "users.db.new", "users.db.new-wal", "signing.key.new"] {
        fs::write(data.join(name), "something").expect("writes");
    }
    server.start_again();
    assert_eq!(server.get("/health/ready", "").await.status, 200);
    server.publish(&bearer, json!([event(CHANNELS[0], 2)])).await;
    assert_eq!(history(&server, &bearer, "user:x").await, (1, vec![1, 2]));
    let said = server.said();
    assert!(said.contains("run/stray") && said.contains("the log has no reserve"), "{said}");
    assert!(data.join("run/stray/deep").is_dir() && data.join("reserve/mine").is_dir(), "what is not ours stays");
    server.stop();
}

#[tokio::test]
async fn a_first_start_that_cannot_listen_makes_nobody_and_the_next_one_says_the_password() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = taken.local_addr().expect("an address").to_string();
    let home = tempfile::tempdir().expect("a directory");
    let output =
        tidings(home.path()).args(["serve", "--listen", &address]).stdin(Stdio::null()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && !said.contains("password"), "{said}");
    let server = Server::start_in(home, &[]);
    let body = serde_json::json!({"username": "admin", "password": server.password()});
    let login =
        tidings_client::http::post_json(&server.url(), "/api/auth/login", None, &body).await.expect("an answer");
    assert_eq!(login.status, 200, "{}", login.text());
}
