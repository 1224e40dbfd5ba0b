//! Where projects may be: their directories, judged when they are registered and whenever they are used.
//!
//! Guarantees: nothing is written outside the directories of a test.
//! They are not the tests of paths inside a project: those are in tests/clients.

use std::{os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    server::{Server, eventually},
    watcher::Watcher,
};

/// Registers a directory: the status, the project, and why not.
async fn register(server: &Server, token: &str, root: &Path) -> (u16, String, String) {
    let made = server.post("/api/projects", token, json!({"name": "x", "root": root})).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (made.status, text(&made.json()["projectId"]), text(&made.json()["fields"]["root"]))
}

/// Starts it again with this as its configuration.
fn configured(server: &mut Server, config: &str) {
    server.stop();
    std::fs::write(server.home().join("tidings.toml"), config).expect("writes");
    server.start_again();
}

/// Directories, and links to some of them.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    for name in ["named/one", "named/two", "other"] {
        std::fs::create_dir_all(place.path().join(name)).expect("a directory");
    }
    symlink(place.path().join("other"), place.path().join("named/link")).expect("a link");
    symlink("/etc", place.path().join("to-etc")).expect("a link");
    place
}

#[tokio::test]
async fn a_root_is_where_the_configuration_lets_it_be_wherever_links_lead() {
    let (place, mut server) = (place(), Server::start(""));
    let admin = server.admin();
    for (root, why) in [
        ("/etc".into(), "lies in /etc"),
        ("/proc/1".into(), "lies in /proc"),
        ("/sys/kernel".into(), "lies in /sys"),
        ("/dev".into(), "lies in /dev"),
        (place.path().join("to-etc"), "lies in /etc"),
        (server.data_dir(), "data directory"),
        (server.home().to_owned(), "data directory"),
    ] {
        let (status, _, said) = register(&server, &admin, &root).await;
        assert!(status == 422 && said.contains(why), "{}: {status} {said}", root.display());
    }
    let roots = json!([place.path().join("named"), "/nowhere/at/all"]);
    configured(&mut server, &format!("[project]\nroots = {roots}\n"));
    eventually("a warning", async || server.said().contains("/nowhere/at/all is no directory")).await;
    assert_eq!(register(&server, &admin, &place.path().join("named/two")).await.0, 201);
    for outside in ["named/link", "other", ""] {
        let (status, _, why) = register(&server, &admin, &place.path().join(outside)).await;
        assert!(status == 422 && why.contains("beneath none of project.roots"), "{outside}: {status} {why}");
    }
}

/// Every kind of command that uses a project's directory.
fn uses() -> [(&'static str, Value); 11] {
    [
        ("session.start", json!({"command": ["true"]})),
        ("shell.open", json!({})),
        ("workflow.run.start", json!({"definition": {"steps": {"a": {"command": ["true"]}}}})),
        ("workflow.validate", json!({"file": "w.yml"})),
        ("git.status", json!({})),
        ("git.diff", json!({})),
        ("git.add", json!({"paths": ["."]})),
        ("git.clone", json!({"url": "https://127.0.0.1:1/a"})),
        ("fs.list", json!({})),
        ("fs.read", json!({"path": "a"})),
        ("fs.watch", json!({})),
    ]
}

/// A run in a project that waits for a person, and then starts a program: its path.
async fn waiting_run(server: &Server, token: &str, project: &str) -> String {
    let steps = json!({"ask": {"approval": {"message": "?"}}, "then": {"needs": "ask", "command": ["true"]}});
    let input = json!({"projectId": project, "definition": {"steps": steps}});
    let begun = server.post("/api/workflows/runs", token, input).await;
    let path = format!("/api/workflows/runs/{}", begun.json()["runId"].as_str().expect("an id"));
    eventually("a question", async || server.get(&path, token).await.json()["status"] == "waiting").await;
    path
}

#[tokio::test]
async fn a_root_that_was_registered_before_and_is_outside_by_now_is_refused_wherever_it_is_used() {
    let (place, mut server) = (place(), Server::start(""));
    let admin = server.admin();
    let (_, other, _) = register(&server, &admin, &place.path().join("other")).await;
    let (_, one, _) = register(&server, &admin, &place.path().join("named/one")).await;
    let runs = [waiting_run(&server, &admin, &other).await, waiting_run(&server, &admin, &one).await];
    configured(&mut server, &format!("[project]\nroots = {}\n", json!([place.path().join("named")])));
    let watcher = Watcher::connect(&server, &admin).await;
    for (name, mut input) in uses() {
        input["projectId"] = json!(other);
        let answer = watcher.ask(name, input).await;
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(answer["error"]["code"], "conflict", "{name}: {answer}");
        assert!(said.contains("beneath none of project.roots"), "{name}: {said}");
    }
    // It is shown, and can be removed.
    watcher.done("project.get", json!({"projectId": other})).await;
    watcher.done("project.remove", json!({"projectId": other})).await;
    watcher.done("fs.list", json!({"projectId": one})).await;
    // The run in it was ended with the reason, the other one goes on.
    let ended = server.get(&runs[0], &admin).await.json();
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("root_refused")), "{ended}");
    assert_eq!(server.get(&runs[1], &admin).await.json()["status"], "waiting");
    // One that became a link to somewhere else is judged by where it leads, also in the middle of a run.
    let named = place.path().join("named/one");
    std::fs::remove_dir(&named).expect("removes");
    symlink(place.path().join("other"), &named).expect("a link");
    assert_eq!(watcher.refused("fs.list", json!({"projectId": one})).await, "conflict");
    let approve = format!("{}/steps/ask/approve", runs[1]);
    assert_eq!(server.post(&approve, &admin, json!({"decision": "approved"})).await.status, 200);
    eventually("the end of the run", async || server.get(&runs[1], &admin).await.json()["status"] == "failed").await;
    let ended = server.get(&runs[1], &admin).await.json();
    assert_eq!(ended["steps"][1]["error"]["code"], "root_refused", "{ended}");
}

#[tokio::test]
async fn a_root_that_a_link_leads_to_by_now_is_another_directory_and_is_used_by_nothing() {
    let (place, server) = (place(), Server::start(""));
    let admin = server.admin();
    let (_, one, _) = register(&server, &admin, &place.path().join("named/one")).await;
    let (named, kept) = (place.path().join("named"), place.path().join("kept"));
    let watcher = Watcher::connect(&server, &admin).await;
    let refused = async |what: &str| {
        for (name, mut input) in uses() {
            input["projectId"] = json!(one);
            let answer = watcher.ask(name, input).await;
            let said = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(
                answer["error"]["code"] == "conflict" && said.contains("symbolic link"),
                "{what}, {name}: {answer}"
            );
        }
    };
    // Whoever works in the folder above, as in a project that this one is a working tree of, may move it.
    std::fs::rename(&named, &kept).expect("is moved");
    symlink(&kept, &named).expect("a link");
    refused("a folder above").await;
    std::fs::remove_file(&named).expect("is removed");
    std::fs::rename(&kept, &named).expect("is moved back");
    watcher.done("fs.list", json!({"projectId": one})).await;
    std::fs::remove_dir(named.join("one")).expect("is removed");
    symlink(place.path().join("other"), named.join("one")).expect("a link");
    refused("itself").await;
}

#[tokio::test]
async fn a_root_that_holds_the_configuration_or_a_secret_that_it_names_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    for folder in ["projects/one", "keys"] {
        std::fs::create_dir_all(home.path().join(folder)).expect("a directory");
    }
    std::fs::write(home.path().join("keys/secret"), "s".repeat(32)).expect("writes");
    // The data directory lies elsewhere: it is not why its home is refused.
    let data = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(data.path().join("data")).expect("a directory");
    symlink(data.path().join("data"), home.path().join("data")).expect("a link");
    std::fs::write(home.path().join("tidings.toml"), "[auth]\nsecret_file = \"keys/secret\"\n").expect("writes");
    let server = Server::start_in(home, &[]);
    let admin = server.admin();
    for (root, expected) in [("", 422), ("keys", 422), ("projects", 201), ("projects/one", 201)] {
        let made = server.post("/api/projects", &admin, json!({"name": "x", "root": server.home().join(root)})).await;
        assert_eq!(made.status, expected, "{root}: {}", made.text());
        let why = made.json()["fields"]["root"].as_str().unwrap_or_default().to_owned();
        assert!(expected == 201 || why.contains("holds the configuration"), "{root}: {why}");
    }
}
