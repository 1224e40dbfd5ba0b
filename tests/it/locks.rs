//! Locks of git, and names that are hard to read, against the real binary.
//!
//! Guarantees: a server is killed as `kill -9` does, in the middle of a real `git add`; what is left is looked at in
//! the repository itself.
//! They are not the tests of how locks are looked for: those stand beside `locks`.

use std::{
    fs::{self, File},
    path::Path,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    queue::{GIT, end_of, git, repository},
    server::eventually,
    sessions::Room,
};

/// Long enough to be in the middle of its staging for as long as a test takes.
const HUGE: u64 = 200 << 30;

/// Begins to stage a file that takes long, and waits until git is in the middle of it.
async fn staging(room: &Room) {
    File::create(room.root.path().join("huge")).and_then(|file| file.set_len(HUGE)).expect("a file with a hole");
    let path = format!("/api/projects/{}/git/add", room.project);
    let begun = room.server.post(&path, &room.token, json!({"paths": ["huge"]})).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let lock = room.root.path().join(".git/index.lock");
    eventually("the lock of git", async || lock.exists()).await;
}

/// The processes of git that work in a directory.
fn processes(root: &Path) -> Vec<i32> {
    let ids = fs::read_dir("/proc").expect("a list").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let works = |id: &i32| {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        let cwd = fs::read_link(format!("/proc/{id}/cwd")).ok();
        name.starts_with("git") && cwd.is_some_and(|cwd| cwd.starts_with(root))
    };
    ids.filter(works).collect()
}

/// Small files are staged after all.
async fn works_again(room: &Room) {
    let is_free = async || processes(room.root.path()).is_empty() && !room.root.path().join(".git/index.lock").exists();
    eventually("a repository that nobody holds", is_free).await;
    fs::write(room.root.path().join("small"), "s\n").expect("writes");
    let end = end_of(room, "add", json!({"paths": ["small"]})).await;
    assert_eq!(end["status"], "completed", "{end}");
}

#[tokio::test]
async fn a_killed_server_leaves_no_lock_behind_whether_its_git_can_still_be_asked_to_end_or_is_dead() {
    let mut room = repository(GIT).await;
    staging(&room).await;
    room.server.kill();
    assert!(!processes(room.root.path()).is_empty(), "git outlives the server");
    room.server.start_again();
    works_again(&room).await;

    staging(&room).await;
    room.server.kill();
    for id in processes(room.root.path()) {
        kill_process(Pid::from_raw(id).expect("an id"), Signal::KILL).expect("is killed");
    }
    eventually("the end of git", async || processes(room.root.path()).is_empty()).await;
    assert!(room.root.path().join(".git/index.lock").exists(), "git had no time to take it away");
    room.server.start_again();
    assert!(room.server.said().contains("a lock that git had left was taken away"));
    works_again(&room).await;
    assert_eq!(fs::read_dir(room.server.data_dir().join("git")).expect("a folder").count(), 0, "nothing is remembered");
}

#[tokio::test]
async fn git_that_is_killed_while_the_server_lives_leaves_no_lock_either() {
    let room = repository(GIT).await;
    staging(&room).await;
    for id in processes(room.root.path()) {
        kill_process(Pid::from_raw(id).expect("an id"), Signal::KILL).expect("is killed");
    }
    works_again(&room).await;
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_told_as_what_it_is_and_unlocking_takes_it_away_unless_it_is_held() {
    let room = repository(GIT).await;
    let lock = room.root.path().join(".git/index.lock");
    let unlock = async || {
        let path = format!("/api/projects/{}/git/unlock", room.project);
        room.server.post(&path, &room.token, json!({})).await
    };
    fs::write(room.root.path().join("a.txt"), "two\n").expect("writes");
    let held = File::create(&lock).expect("makes");
    let mut holder = std::process::Command::new("sleep").arg("600").stdin(held).spawn().expect("starts");
    let end = end_of(&room, "add", json!({"paths": ["."]})).await;
    let message = end["message"].as_str().expect("a message").to_owned();
    assert!(end["code"] == "locked" && message.contains(&format!("the process {} (sleep)", holder.id())), "{end}");
    let refused = unlock().await;
    assert!(refused.status == 409 && lock.exists(), "{}", refused.text());
    holder.kill().expect("is killed");
    holder.wait().expect("ends");
    // A stash says nothing of its own.
    for (command, input) in [("add", json!({"paths": ["."]})), ("stash", json!({"action": "push"}))] {
        let end = end_of(&room, command, input).await;
        let message = end["message"].as_str().expect("a message").to_owned();
        assert!(end["code"] == "locked" && message.contains(".git/index.lock is there since"), "{command}: {end}");
        assert!(message.contains("git.unlock") && lock.exists(), "{command}: {end}");
    }
    fs::write(room.root.path().join(".git/refs/heads/main.lock"), "").expect("writes");
    let unlocked = unlock().await;
    let mut removed: Vec<String> = serde_json::from_value(unlocked.json()["removed"].clone()).expect("paths");
    removed.sort();
    assert_eq!(
        (unlocked.status, removed.as_slice()),
        (200, &[".git/index.lock", ".git/refs/heads/main.lock"].map(str::to_owned)[..])
    );
    assert_eq!(end_of(&room, "commit", json!({"message": "second", "all": true})).await["status"], "completed");
    assert_eq!(unlock().await.json()["removed"], json!([]));
}

/// What a reading command answers.
async fn read(room: &Room, command: &str, input: Value) -> Value {
    let path = format!("/api/projects/{}/git/{command}", room.project);
    let answer = room.server.post(&path, &room.token, input).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn names_with_tabs_and_line_breaks_are_shown_and_taken_everywhere() {
    let room = repository(GIT).await;
    let names = ["tab\tin it", "line\nbreak", "\u{1b}[31mred", "folder\n/in\tit"];
    fs::create_dir(room.root.path().join("folder\n")).expect("makes");
    for name in names {
        fs::write(room.root.path().join(name), "one\n").expect("writes");
        assert_eq!(end_of(&room, "add", json!({"paths": [name]})).await["status"], "completed", "{name:?}");
    }
    let staged = |status: &Value| -> Vec<String> {
        let files = status["files"].as_array().expect("files").iter().filter(|file| file["staged"] == "added");
        let mut paths: Vec<String> = files.map(|file| file["path"].as_str().expect("a path").to_owned()).collect();
        paths.sort();
        paths
    };
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(staged(&read(&room, "status", json!({})).await), sorted);
    assert_eq!(end_of(&room, "unstage", json!({"paths": [names[1]]})).await["status"], "completed");
    assert_eq!(staged(&read(&room, "status", json!({})).await).len(), names.len() - 1);
    assert_eq!(end_of(&room, "add", json!({"paths": ["."]})).await["status"], "completed");
    assert_eq!(end_of(&room, "commit", json!({"message": "odd names"})).await["status"], "completed");
    for name in names {
        fs::write(room.root.path().join(name), "two\nthree\n").expect("writes");
        let diff = read(&room, "diff", json!({"paths": [name]})).await;
        assert_eq!(diff["files"], json!([{"path": name, "added": 2, "removed": 1}]));
        assert_eq!(read(&room, "log", json!({"paths": [name]})).await["commits"].as_array().expect("commits").len(), 1);
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/projects/{}/file?path={encoded}", room.project);
        let file = room.server.get(&path, &room.token).await.json();
        assert_eq!((&file["path"], &file["content"]), (&json!(name), &json!("two\nthree\n")));
    }
    let shown = read(&room, "show", json!({"rev": "HEAD"})).await;
    assert_eq!(shown["files"].as_array().expect("files").len(), names.len());
    let listed = room.server.get(&format!("/api/projects/{}/files?path=folder%0A", room.project), &room.token).await;
    assert_eq!(listed.json()["entries"][0]["name"], "in\tit");
}

#[tokio::test]
async fn unstaging_a_rename_by_its_shown_path_takes_both_halves() {
    let room = repository(GIT).await;
    fs::create_dir(room.root.path().join("sub")).expect("makes");
    for (to, paths) in
        [("b.txt", json!(["b.txt"])), ("sub/c.txt", json!(["./sub/"])), ("d\te.txt", json!(["d\te.txt"]))]
    {
        git(room.root.path(), &["mv", "a.txt", to]);
        let files = read(&room, "status", json!({})).await["files"].clone();
        assert_eq!(files, json!([{"path": to, "from": "a.txt", "staged": "renamed"}]));
        let end = end_of(&room, "unstage", json!({"paths": paths})).await;
        assert_eq!(end["status"], "completed", "{end}");
        assert_eq!(git(room.root.path(), &["diff", "--cached", "--name-status"]), "", "nothing of it is staged");
        fs::rename(room.root.path().join(to), room.root.path().join("a.txt")).expect("moves");
    }
}

#[tokio::test]
async fn repositories_in_repositories_are_told_as_what_they_are() {
    let room = repository(GIT).await;
    fs::create_dir(room.root.path().join("inner")).expect("makes");
    git(&room.root.path().join("inner"), &["init", "--quiet"]);
    let end = end_of(&room, "add", json!({"paths": ["inner"]})).await;
    assert_eq!(end["code"], "empty_repository", "{end}");
    assert!(end["output"].as_str().expect("an output").contains("inner"), "{end}");

    let source = tempfile::tempdir().expect("a directory");
    git(source.path(), &["init", "--quiet"]);
    git(source.path(), &["commit", "--quiet", "--allow-empty", "-m", "first"]);
    let from = source.path().display().to_string();
    git(room.root.path(), &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &from, "sub"]);
    let body = json!({"name": "sub", "root": room.root.path().join("sub")});
    let made = room.server.post("/api/projects", &room.token, body).await.json();
    let path = format!("/api/projects/{}/git/status", made["projectId"].as_str().expect("an id"));
    let refused = room.server.post(&path, &room.token, json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("conflict")));
    let message = refused.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("submodule") && message.contains(".git/modules/sub"), "{message}");
}
