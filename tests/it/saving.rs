//! Saving files as editors do, against the real binary and its real watch.
//!
//! Guarantees: what is told is applied as the page for clients says, whatever comes in one message and what in two.
//! They are not the tests of every order of changes: those are the model's, in the crate.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{sessions::Room, watcher::Watcher};

/// The names that a client knows, and those whose content it reads anew.
#[derive(Debug, Default)]
struct Kept {
    names: BTreeSet<String>,
    read: BTreeSet<String>,
}

impl Kept {
    fn apply(&mut self, message: &Value) {
        let changes = message["data"]["changes"].as_array().expect("changes");
        let text = |change: &Value, field: &str| change[field].as_str().unwrap_or_default().to_owned();
        let renamed = changes.iter().filter(|change| change["kind"] == "renamed");
        let mut froms: Vec<String> = renamed.map(|change| text(change, "from")).collect();
        froms.sort_by_key(|from| std::cmp::Reverse(from.len()));
        let mut moving: BTreeMap<String, Vec<String>> =
            froms.into_iter().map(|from| (from.clone(), self.take_out(&from))).collect();
        for change in changes {
            let path = text(change, "path");
            self.take_out(&path);
            if change["kind"] == "removed" {
                continue;
            }
            let came = moving.remove(&text(change, "from")).unwrap_or_else(|| vec![String::new()]);
            self.names.extend(came.into_iter().map(|rest| format!("{path}{rest}")));
            self.read.insert(path);
        }
    }

    /// Takes a name out, and those in it: the rest of each.
    fn take_out(&mut self, path: &str) -> Vec<String> {
        let is_in = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let (gone, names) = std::mem::take(&mut self.names).into_iter().partition(|name| is_in(name));
        self.names = names;
        gone.into_iter().map(|name: String| name[path.len()..].to_owned()).collect()
    }
}

/// A watched project with a file, and a client that knows it.
async fn watched() -> (Room, Watcher, Kept) {
    let room = Room::open("").await;
    fs::write(room.root.path().join("notes.txt"), "one\n").expect("writes");
    let watcher = Watcher::connect(&room.server, &room.token).await;
    watcher.done("subscribe", json!(format!("project:{}", room.project))).await;
    watcher.done("fs.watch", json!({"projectId": room.project})).await;
    let kept = Kept { names: BTreeSet::from(["notes.txt".to_owned()]), read: BTreeSet::new() };
    (room, watcher, kept)
}

/// Does something, and applies what is told until after it.
async fn told(room: &Room, watcher: &mut Watcher, kept: &mut Kept, mark: &str, act: impl FnOnce(&Path)) {
    act(room.root.path());
    fs::write(room.root.path().join(mark), "").expect("writes");
    let is_last = |message: &Value| {
        message["type"] == "fs.changed"
            && message["data"]["changes"].as_array().is_some_and(|all| all.iter().any(|it| it["path"] == mark))
    };
    for message in watcher.until(mark, is_last).await.iter().filter(|message| message["type"] == "fs.changed") {
        kept.apply(message);
    }
    kept.names.remove(mark);
}

/// How an editor saves.
type Save = fn(&Path);

#[tokio::test]
async fn a_file_that_is_saved_as_editors_do_is_there_and_read_anew() {
    let (room, mut watcher, mut kept) = watched().await;
    let saves: [(&str, Save); 3] = [
        ("vim.mark", |root| {
            fs::rename(root.join("notes.txt"), root.join("notes.txt~")).expect("renames");
            fs::write(root.join("notes.txt"), "two\n").expect("writes");
            fs::remove_file(root.join("notes.txt~")).expect("removes");
        }),
        ("aside.mark", |root| {
            fs::write(root.join("notes.tmp"), "three\n").expect("writes");
            fs::rename(root.join("notes.tmp"), root.join("notes.txt")).expect("renames");
        }),
        ("emacs.mark", |root| {
            fs::rename(root.join("notes.txt"), root.join("notes.txt~")).expect("renames");
            fs::write(root.join("notes.txt"), "four\n").expect("writes");
        }),
    ];
    for (mark, save) in saves {
        kept.read.clear();
        told(&room, &mut watcher, &mut kept, mark, save).await;
        assert!(kept.names.contains("notes.txt") && kept.read.contains("notes.txt"), "{mark}: {kept:?}");
    }
    assert_eq!(kept.names.iter().map(String::as_str).collect::<Vec<_>>(), ["notes.txt", "notes.txt~"]);
}

#[tokio::test]
async fn a_file_that_vim_itself_saves_is_there_and_read_anew() {
    // Debian's smallest one has another name, and not every command.
    let works = |name: &&str| {
        Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok_and(|done| done.success())
    };
    let name = ["vim", "vim.tiny"].into_iter().find(works).expect("vim is there: `cargo xtask test rust` installs it");
    let (room, mut watcher, mut kept) = watched().await;
    let save = |root: &Path| {
        let mut vim = Command::new(name);
        vim.args(["-u", "NONE", "-N", "-es", "-c", "s/^/hello /", "-c", "wq", "notes.txt"]);
        let done = vim.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).status().expect("runs");
        assert!(done.success());
        assert_eq!(fs::read_to_string(root.join("notes.txt")).expect("reads"), "hello one\n");
    };
    told(&room, &mut watcher, &mut kept, "mark", save).await;
    assert!(kept.read.contains("notes.txt"), "{kept:?}");
    assert_eq!(kept.names, BTreeSet::from(["notes.txt".to_owned()]));
}

#[tokio::test]
async fn a_folder_that_is_made_filled_and_renamed_at_once_is_told_with_what_is_in_it() {
    let (room, mut watcher, mut kept) = watched().await;
    let make = |root: &Path| {
        fs::create_dir_all(root.join("draft/deep")).expect("makes");
        fs::write(root.join("draft/deep/file"), "").expect("writes");
        fs::rename(root.join("draft"), root.join("final")).expect("renames");
    };
    told(&room, &mut watcher, &mut kept, "mark", make).await;
    let expected = ["final", "final/deep", "final/deep/file", "notes.txt"];
    assert_eq!(kept.names.iter().map(String::as_str).collect::<Vec<_>>(), expected, "and nothing of draft");
}
