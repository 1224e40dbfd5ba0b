//! What others on the machine see of a server: the modes of its files, and its log.
//!
//! Guarantees: the real program; every file of its data directory is looked at, and its whole log.
//! They are not the tests of what the configuration shows: see `cli`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tidings_client::Polling;

use crate::{
    server::{Server, eventually, tidings},
    watcher::Watcher,
};

/// A directory and all that is in it.
fn everything(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).expect("reads").map(|entry| entry.expect("an entry")) {
        match entry.file_type().expect("a type").is_dir() {
            true => found.extend(everything(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[tokio::test]
async fn what_the_server_makes_is_its_owners_alone_whatever_the_umask() {
    let home = tempfile::tempdir().expect("a directory");
    fs::create_dir(home.path().join("project")).expect("makes");
    let before = ["/bin/sh", "-c", "umask 000; exec \"$0\" \"$@\""].map(str::to_owned);
    let server = Server::start_within(home, &before);
    let admin = server.admin();
    let body = json!({ "name": "p", "root": server.home().join("project") });
    let project = server.post("/api/projects", &admin, body).await.json()["id"].clone();
    let shell = server.post("/api/shells", &admin, json!({ "projectId": project, "command": ["cat"] })).await;
    assert_eq!(shell.status, 201, "{}", shell.text());
    let run = server.data_dir().join("run");
    eventually("a program is remembered", async || everything(&run).len() > 1).await;
    for path in everything(&server.data_dir()) {
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[tokio::test]
async fn a_data_directory_that_everybody_may_write_to_or_look_into_is_told_of() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    fs::create_dir(&data).expect("makes");
    let output = |arguments: &[&str]| {
        let output = tidings(home.path()).args(arguments).output().expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (look, write) = ("everybody may look into the data directory data", "everybody may put files of their own");
    for (mode, told) in [
        (0o700, ""),
        (0o750, ""),
        (0o770, ""),
        (0o705, look),
        (0o755, look),
        (0o702, write),
        (0o1777, write),
        (0o777, write),
    ] {
        fs::set_permissions(&data, Permissions::from_mode(mode)).expect("is set");
        let (code, shown, said) = output(&["check"]);
        assert!(code == Some(0) && shown.contains(told), "{mode:o}: {shown}{said}");
        assert_eq!(shown.contains("the data directory data"), !told.is_empty(), "{mode:o}: {shown}");
    }
    let (server, warning) = (Server::start_in(home, &[]), write);
    eventually("the warning", async || server.said().contains(warning)).await;
}

#[tokio::test]
async fn no_token_and_no_password_is_in_the_log_whatever_its_filter() {
    for filter in ["trace", "trace,tungstenite=trace,socketioxide=trace,engineioxide=trace,hyper=trace"] {
        let server = Server::start(&format!("[log_output]\nfilter = \"{filter}\"\n"));
        let password = server.password().to_owned();
        let login = json!({ "username": "admin", "password": password });
        let first = server.post("/api/auth/login", "", login).await.json();
        let refresh = json!({ "refreshToken": first["refreshToken"] });
        let next = server.post("/api/auth/refresh", "", refresh).await.json();
        let secret = |value: &Value| value.as_str().expect("a text").to_owned();
        let token = secret(&next["token"]);
        let wrong = "a-wrong-password";
        let change = json!({ "current": wrong, "new": "another-long-password" });
        assert_ne!(server.post("/api/auth/password", &token, change).await.status, 200);
        let watcher = Watcher::connect(&server, &token).await;
        watcher.done("auth.refresh", json!({ "token": first["token"] })).await;
        let polling = Polling::open(&server.endpoint()).await.expect("opens");
        assert_eq!(polling.send(&[&format!("40{{\"token\":\"{token}\"}}")]).await.expect("an answer").status, 200);
        let told = polling.poll().await.expect("an answer").concat();
        assert!(told.contains("40{"), "{told}");
        let sid = polling.sid().to_owned();
        let said = server.said();
        let secrets = [
            ("the password", password),
            ("a wrong password", wrong.to_owned()),
            ("a new password", "another-long-password".to_owned()),
            ("the first token", secret(&first["token"])),
            ("the token", token),
            ("the refresh token", secret(&first["refreshToken"])),
            ("the next refresh token", secret(&next["refreshToken"])),
            ("the session of polling", sid),
        ];
        for (name, secret) in secrets {
            assert!(!said.contains(&secret), "{name} is in the log with {filter}");
        }
        assert!(said.contains("started"), "{said}");
    }
}
