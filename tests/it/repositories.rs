//! Repositories against the real binary: what becomes of operations and watches when the server stops.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of what git does: those are in tests/clients.

use serde_json::{Value, json};

use crate::{server::Server, sessions::Room, watcher::Watcher};

/// The ends of operations in a project's channel.
async fn ends(server: &Server, token: &str, project: &str) -> Vec<Value> {
    let path = format!("/api/channels/project:{project}/events?after=0&limit=1000");
    let events = server.get(&path, token).await.json()["events"].clone();
    let types = ["git.operation.completed", "git.operation.failed", "git.operation.cancelled"];
    let is_end = |event: &&Value| types.iter().any(|end| event["type"] == *end);
    events.as_array().expect("events").iter().filter(is_end).cloned().collect()
}

#[tokio::test]
async fn a_stop_in_order_ends_operations_and_watches_and_says_so() {
    let mut room = Room::open("drain_ms = 200\n[git]\nprotocols = [\"http\"]\n[run]\ngrace_ms = 500\n").await;
    // A remote that takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let url = format!("http://{}/never.git", silent.local_addr().expect("an address"));
    let watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!(format!("project:{}", room.project))).await;
    watcher.done("fs.watch", json!({"projectId": room.project})).await;
    let begun = watcher.done("git.clone", json!({"projectId": room.project, "url": url})).await;
    // It is in the middle of something once it has connected.
    let connected = tokio::task::spawn_blocking(move || silent.accept().map(|(stream, _)| (silent, stream)));
    let _kept = connected.await.expect("waits").expect("git connects");
    room.server.stop();
    room.server.start_again();
    let ends = ends(&room.server, &room.token, &room.project).await;
    let told: Vec<_> = ends.iter().map(|it| (&it["data"]["operationId"], &it["data"]["code"])).collect();
    assert_eq!(told, [(&begun["data"]["operationId"], &json!("server_stopped"))]);
}

#[tokio::test]
async fn whoever_loses_the_right_to_a_project_is_told_nothing_more_of_its_files() {
    let room = Room::open("[fs]\nlinger = \"0s\"\n").await;
    let (project, channel) = (&room.project, format!("project:{}", room.project));
    let members = format!("/api/projects/{project}/members");
    room.server.post(&members, &room.token, json!({"userId": "ada", "membership": "viewer"})).await;
    let ada = room.server.token("ada", &[]);
    let mut watcher = Watcher::connect(&room.server, &ada).await;
    watcher.done("subscribe", json!(channel)).await;
    watcher.done("fs.watch", json!({"projectId": project})).await;
    assert_eq!(watcher.refused("git.add", json!({"projectId": project, "paths": ["."]})).await, "forbidden");
    room.server.call(tidings_client::http::Method::DELETE, &format!("{members}/ada"), &room.token, None).await;
    watcher.of_type("channel.closed").await;
    for command in ["fs.watch", "fs.list", "git.status"] {
        assert_eq!(watcher.refused(command, json!({"projectId": project})).await, "forbidden", "{command}");
    }
}

#[tokio::test]
async fn a_remote_that_is_not_there_and_one_that_is_not_allowed_are_told_apart() {
    let room = Room::open("").await;
    let git = |arguments: &[&str]| {
        let who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"];
        let done = std::process::Command::new("git").args(who).args(arguments).current_dir(room.root.path()).output();
        assert!(done.expect("runs").status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
    git(&["remote", "add", "local", "file:///nowhere/at/all"]);
    let mut watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!(format!("project:{}", room.project))).await;
    for (command, remote, code) in [
        ("git.push", None, "remote_not_found"),
        ("git.push", Some("none"), "remote_not_found"),
        ("git.fetch", Some("none"), "remote_not_found"),
        ("git.push", Some("local"), "protocol_not_allowed"),
        ("git.fetch", Some("local"), "protocol_not_allowed"),
    ] {
        let mut input = json!({"projectId": room.project});
        if let Some(remote) = remote {
            input["remote"] = json!(remote);
        }
        let begun = watcher.done(command, input).await;
        let end = watcher.of_type("git.operation.failed").await;
        assert_eq!(end["data"]["operationId"], begun["data"]["operationId"], "{end}");
        assert_eq!(end["data"]["code"], code, "{command} {remote:?}: {end}");
    }
}
