//! A kernel without Landlock, against the real binary: what needs a wall is refused, and what does not goes on.
//!
//! Guarantees: the system calls of Landlock are answered to the server as an older kernel answers them, by a filter of
//! its own thread's; everything else is the running kernel's.
//! They are not the tests of walls, which need a kernel that has them.

use std::{collections::BTreeMap, env::consts::ARCH, fs, thread};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;

use crate::{
    grounds::{Grounds, desk},
    server::{Server, tidings},
    sessions::Room,
};

/// `landlock_create_ruleset`, which has this number on every machine.
const CREATE_RULESET: i64 = 444;
/// There is no such system call.
const ENOSYS: u32 = 38;

/// Does something in a thread, for whose programs the kernel has no Landlock.
fn without_landlock<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let calls = BTreeMap::from([(CREATE_RULESET, Vec::new())]);
    let arch = ARCH.try_into().expect("a machine with filters");
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), arch).expect("a filter");
    let filter: BpfProgram = filter.try_into().expect("compiles");
    let inside = || {
        apply_filter(&filter).expect("is put up");
        act()
    };
    thread::scope(|scope| scope.spawn(inside).join().expect("it is done"))
}

/// A project with a repository, of a server on such a kernel.
async fn grounds(config: &str) -> Grounds {
    let server = without_landlock(|| Server::start(config));
    let at = Grounds::around(Room::around(server).await).await;
    at.git(&["init", "--quiet", "--initial-branch=main"]);
    at.write("a.txt", "one\n");
    at.commit("first");
    at
}

#[test]
fn a_sandbox_that_the_kernel_cannot_hold_ends_the_start_and_the_check() {
    for config in ["[run]\nsandbox = \"data\"\n", "[agents.a]\ncommand = [\"sh\"]\nsandbox = \"project\"\n"] {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("tidings.toml"), config).expect("writes");
        for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["check"]] {
            let output = without_landlock(|| tidings(home.path()).args(words).output().expect("runs"));
            let said = String::from_utf8(output.stderr).expect("text");
            assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
            assert!(said.contains("sandbox = ") && said.contains("this kernel has no Landlock"), "{words:?}: {said}");
        }
        assert!(!home.path().join("data/log.db").exists(), "nothing was begun");
    }
}

#[tokio::test]
async fn git_is_refused_where_no_wall_would_hold_it_and_everything_else_works() {
    let at = grounds("").await;
    assert!(at.room.server.said().contains("git is not run: this kernel has no Landlock"), "{}", at.room.server.said());
    for (name, input) in [
        ("status", json!({})),
        ("show", json!({"rev": "HEAD"})),
        ("add", json!({"paths": ["."]})),
        ("commit", json!({"message": "x", "all": true})),
        ("worktree_add", json!({"name": "tree"})),
    ] {
        let answer = at.ask(name, input).await;
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(answer["error"]["code"], "unavailable", "{name}: {answer}");
        assert!(said.contains("Landlock") && said.contains("git.unconfined"), "{name}: {said}");
    }
    assert_eq!(at.git(&["status", "--porcelain"]), "", "nothing came of it");
    let id = at.room.start("echo works").await;
    at.room.has_ended(&id).await;
    assert_eq!(at.room.output(&id).await, "works\n");
}

#[tokio::test]
async fn a_clone_is_refused_before_anything_of_it_is_made() {
    let server = without_landlock(|| Server::start("[git]\nprotocols = [\"file\"]\n"));
    let at = Grounds::around(Room::around(server).await).await;
    let source = tempfile::tempdir().expect("a directory");
    desk(source.path(), &["init", "--quiet"]);
    let (_, end) = at.operate("clone", json!({"url": format!("file://{}", source.path().display())})).await;
    assert_eq!(end["code"], "spawn_failed", "{end}");
    assert!(end["message"].as_str().is_some_and(|said| said.contains("Landlock")), "{end}");
    assert_eq!(at.root().read_dir().expect("a folder").count(), 0);
}

#[tokio::test]
async fn git_that_may_be_unconfined_works_and_its_shadow_holds_alone() {
    let at = grounds("[git]\nunconfined = true\n[run]\nset = { GIT_CONFIG_GLOBAL = \"/dev/null\" }\n").await;
    let said = at.room.server.said();
    assert!(said.contains("git.unconfined = true: no wall keeps git"), "{said}");
    at.write(".git/info/attributes", "*.txt diff=evil filter=evil\n");
    for name in ["diff.evil.textconv", "filter.evil.clean"] {
        at.git(&["config", name, &format!("touch {}/ran; cat", at.root().display())]);
    }
    for (name, value) in [("user.name", "Grace"), ("user.email", "grace@example.com")] {
        at.git(&["config", name, value]);
    }
    at.write("a.txt", "two\n");
    let diff = at.read("diff", json!({})).await;
    assert!(diff["patch"].as_str().is_some_and(|patch| patch.contains("+two")), "{diff}");
    at.done("add", json!({"paths": ["."]})).await;
    at.done("commit", json!({"message": "second"})).await;
    assert!(!at.root().join("ran").exists());
}
