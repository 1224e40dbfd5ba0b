//! What git does for people, behind both walls: it works as at a desk.
//!
//! Guarantees: every remote is a folder of the test's, or nobody.
//! They are not the tests of attacks: those are in `behind_walls`.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    grounds::{Grounds, desk},
    server::{Server, eventually},
    sessions::Room,
};

const FILES: &str = "[git]\nprotocols = [\"file\"]\n[run]\nset = { GIT_CONFIG_GLOBAL = \"/dev/null\" }\n";

/// A bare repository with what the project's has.
fn remote_of(grounds: &Grounds, home: &Path) -> String {
    let bare = home.join("bare.git").to_string_lossy().into_owned();
    grounds.git(&["clone", "--quiet", "--bare", ".", &bare]);
    grounds.git(&["remote", "add", "origin", &format!("file://{bare}")]);
    bare
}

/// Whether a text stands in a file of a folder.
fn mentions(folder: &Path, text: &str) -> bool {
    folder.read_dir().expect("a folder").flatten().any(|entry| {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            return mentions(&path, text);
        }
        kind.is_file() && String::from_utf8_lossy(&fs::read(&path).expect("reads")).contains(text)
    })
}

#[tokio::test]
async fn everything_that_git_does_works_behind_both_walls_in_a_repository_of_either_kind() {
    for kind in ["sha1", "sha256"] {
        let (home, shadows) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let config =
            FILES.replace("[git]\n", &format!("[git]\nshadow_dir = \"{}\"\n", shadows.path().join("s").display()));
        let at = Grounds::open(&config, &["--object-format", kind]).await;
        let bare = remote_of(&at, home.path());
        // Whoever commits is who the repository says, and what is followed stands in its configuration.
        at.done("checkout", json!({"branch": "topic", "create": true})).await;
        at.write("a.txt", "two\n");
        at.done("add", json!({"paths": ["a.txt"]})).await;
        at.done("commit", json!({"message": "second"})).await;
        assert_eq!(at.git(&["log", "-1", "--format=%an <%ae>"]), "Grace <grace@example.com>");
        at.done("push", json!({"setUpstream": true})).await;
        assert_eq!(at.git(&["rev-parse", "--abbrev-ref", "topic@{upstream}"]), "origin/topic");
        // Somebody else works, too.
        let other = home.path().join("other");
        desk(home.path(), &["clone", "--quiet", &bare, "other"]);
        desk(&other, &["checkout", "--quiet", "topic"]);
        fs::write(other.join("b.txt"), "b\n").expect("writes");
        desk(&other, &["add", "--all"]);
        desk(&other, &["commit", "--quiet", "--message", "theirs"]);
        desk(&other, &["push", "--quiet", "origin", "topic", "topic:extra"]);
        at.done("fetch", json!({"prune": true})).await;
        let pulled = at.done("pull", json!({})).await;
        assert_eq!(pulled["head"], desk(&other, &["rev-parse", "HEAD"]));
        at.git(&["pack-refs", "--all"]);
        at.done("checkout", json!({"branch": "extra"})).await;
        assert_eq!(at.git(&["config", "branch.extra.merge"]), "refs/heads/extra");
        // Two lines that do not fit.
        at.write("a.txt", "extra\n");
        at.done("commit", json!({"message": "extra", "all": true})).await;
        at.done("checkout", json!({"branch": "topic"})).await;
        at.write("a.txt", "topic\n");
        at.done("commit", json!({"message": "topic", "all": true})).await;
        for (name, input) in [("merge", json!({"rev": "extra"})), ("rebase", json!({"onto": "extra"}))] {
            assert_eq!(at.fails(name, input.clone()).await, "conflict");
            at.done(name, json!({"resume": "abort"})).await;
            assert_eq!(at.fails(name, input).await, "conflict");
            at.write("a.txt", &format!("{name}\n"));
            at.done("add", json!({"paths": ["a.txt"]})).await;
            at.done(name, json!({"resume": "continue"})).await;
            at.git(&["reset", "--quiet", "--hard", "topic@{1}"]);
        }
        at.git(&["checkout", "--quiet", "topic"]);
        at.write("new.txt", "new\n");
        at.done("stash", json!({"action": "push", "untracked": true, "message": "aside"})).await;
        assert!(!at.root().join("new.txt").exists());
        at.done("stash", json!({"action": "pop"})).await;
        at.done("add", json!({"paths": ["."]})).await;
        at.done("unstage", json!({"paths": ["new.txt"]})).await;
        assert_eq!(at.read("status", json!({})).await["counts"]["untracked"], 1);
        // A working tree of its own.
        at.done("worktree_add", json!({"name": "tree", "branch": "tree", "create": true})).await;
        let tree = at.root().join(".worktrees/tree");
        let data = at.root().canonicalize().expect("there").join(".git/worktrees/tree");
        assert_eq!(fs::read_to_string(tree.join(".git")).expect("reads"), format!("gitdir: {}\n", data.display()));
        assert_eq!(desk(&tree, &["rev-parse", "--abbrev-ref", "HEAD"]), "tree");
        assert_eq!(at.fails("worktree_add", json!({"name": "again", "branch": "topic"})).await, "exists");
        let listed = at.read("worktrees", json!({})).await;
        let paths: Vec<&Value> = listed["worktrees"].as_array().expect("trees").iter().map(|it| &it["path"]).collect();
        let root = at.root().canonicalize().expect("there");
        assert_eq!(paths, [&json!(root), &json!(root.join(".worktrees/tree"))]);
        at.done("worktree_remove", json!({"name": "tree"})).await;
        at.git(&["gc", "--quiet"]);
        at.git(&["fsck", "--strict"]);
        for name in ["diff", "log", "branches", "status"] {
            at.read(name, json!({})).await;
        }
        let trace = shadows.path().to_string_lossy().into_owned();
        assert!(!mentions(at.root(), &trace), "a shadow is named by what stays");
        let count = || shadows.path().join("s").read_dir().expect("the folder stays").count();
        eventually("the end of all shadows", async || count() == 0).await;
    }
}

#[tokio::test]
async fn what_is_cloned_is_filled_and_follows_its_remote_also_where_it_is_shallow_or_empty() {
    for kind in ["sha1", "sha256"] {
        let home = tempfile::tempdir().expect("a directory");
        let source = home.path().join("source");
        fs::create_dir(&source).expect("makes");
        desk(&source, &["init", "--quiet", "--initial-branch=main", "--object-format", kind]);
        let at = Grounds::around(Room::open(FILES).await).await;
        let url = format!("file://{}", source.display());
        at.done("clone", json!({"url": url})).await;
        for text in ["one", "two"] {
            fs::write(source.join("a.txt"), text).expect("writes");
            desk(&source, &["add", "--all"]);
            desk(&source, &["commit", "--quiet", "--message", text]);
        }
        desk(&source, &["branch", "side", "HEAD~1"]);
        for (input, expected, commits) in [
            (json!({"url": url}), "two", "2"),
            (json!({"url": url, "depth": 1}), "two", "1"),
            (json!({"url": url, "branch": "side"}), "one", "1"),
        ] {
            let at = Grounds::around(Room::open(FILES).await).await;
            at.done("clone", input).await;
            assert_eq!(fs::read_to_string(at.root().join("a.txt")).expect("filled"), expected);
            assert_eq!(at.git(&["rev-list", "--count", "HEAD"]), commits);
            assert_eq!(at.git(&["status", "--porcelain"]), "");
            at.done("fetch", json!({})).await;
            at.done("pull", json!({})).await;
            assert_eq!(at.git(&["rev-list", "--count", "HEAD"]), commits);
            assert_eq!(at.git(&["rev-parse", "--show-object-format"]), kind);
        }
    }
}

#[tokio::test]
async fn a_repository_within_is_left_as_it_is_by_add_and_commit() {
    let at = Grounds::open(FILES, &[]).await;
    let within = at.root().join("within");
    fs::create_dir(&within).expect("makes");
    desk(&within, &["init", "--quiet"]);
    let commit = |text: &str| {
        fs::write(within.join("x"), text).expect("writes");
        desk(&within, &["add", "--all"]);
        desk(&within, &["commit", "--quiet", "--message", text]);
        desk(&within, &["rev-parse", "HEAD"])
    };
    let first = commit("first");
    at.git(&["-c", "advice.addEmbeddedRepo=false", "add", "within"]);
    at.git(&["commit", "--quiet", "--message", "within"]);
    commit("second");
    let known = || at.git(&["ls-files", "--stage", "within"]);
    for (name, input) in [("add", json!({"paths": ["."]})), ("commit", json!({"message": "more", "all": true}))] {
        at.write("a.txt", name);
        at.done(name, input).await;
        assert!(known().contains(&first), "{name}: {}", known());
    }
    assert_eq!(at.git(&["show", "HEAD:a.txt"]), "commit");
    at.done("add", json!({"paths": ["within"]})).await;
    assert!(known().contains(&first));
}

#[tokio::test]
async fn the_operators_own_filter_is_run_where_it_is_listed_and_is_said_to_be_refused_where_not() {
    for (programs, works) in [("[\"tr\"]", true), ("[]", false)] {
        let home = tempfile::tempdir().expect("a directory");
        let global = home.path().join("gitconfig");
        fs::write(&global, "[filter \"up\"]\n\tclean = tr a-z A-Z\n\tsmudge = tr A-Z a-z\n\trequired = true\n")
            .expect("writes");
        let set = format!("[run]\nset = {{ GIT_CONFIG_GLOBAL = \"{}\" }}\n", global.display());
        let at = Grounds::open(&format!("[git]\nprograms = {programs}\n{set}"), &[]).await;
        at.write(".gitattributes", "*.up filter=up\n");
        at.write("x.up", "word\n");
        if works {
            at.done("add", json!({"paths": ["."]})).await;
            at.done("commit", json!({"message": "up"})).await;
            assert_eq!(at.git(&["show", "HEAD:x.up"]), "WORD");
            let status = at.read("status", json!({})).await;
            assert_eq!(status["files"], json!([]), "{status}");
        } else {
            assert_eq!(at.fails("add", json!({"paths": ["."]})).await, "program_refused");
        }
    }
}

#[tokio::test]
async fn another_user_that_programs_run_as_sees_the_shadow_and_makes_the_repositorys_files() {
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root runs programs as another user");
        return;
    }
    const NOBODY: u32 = 65534;
    let room = Room::open("[run]\nuser = \"nobody\"\nset = { GIT_CONFIG_GLOBAL = \"/dev/null\" }\n").await;
    chown(room.root.path(), Some(NOBODY), Some(NOBODY)).expect("gives");
    fs::set_permissions(room.root.path(), fs::Permissions::from_mode(0o755)).expect("permits");
    let at = Grounds::around(room).await;
    let init =
        "git init -q -b main . && git config user.name N && git config user.email n@example.com && echo a > a.txt";
    let id = at.room.start(init).await;
    assert_eq!(at.room.has_ended(&id).await["exitCode"], 0, "{}", at.room.output(&id).await);
    at.done("add", json!({"paths": ["."]})).await;
    at.done("commit", json!({"message": "first"})).await;
    at.done("worktree_add", json!({"name": "tree"})).await;
    for name in ["status", "log", "diff", "worktrees"] {
        at.read(name, json!({})).await;
    }
    for path in [".git/index", ".git/logs/HEAD", ".worktrees/tree/.git", ".worktrees/tree/a.txt"] {
        assert_eq!(at.root().join(path).metadata().expect(path).uid(), NOBODY, "{path}");
    }
}

#[tokio::test]
async fn behind_a_wrapper_git_works_without_the_kernels_wall_and_with_its_shadow() {
    let tools = tempfile::tempdir().expect("a directory");
    let wrapper = tools.path().join("box");
    // As a wrapper does that is to show the folder, whatever it runs.
    let shown = tools.path().join("shown");
    let line = format!("#!/bin/sh\ntest -d {} || exit 125\nexec \"$@\"\n", shown.display());
    fs::write(&wrapper, line).expect("writes");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("permits");
    let config = format!("[run]\nwrapper = [\"{}\"]\n[git]\nshadow_dir = \"{}\"\n", wrapper.display(), shown.display());
    let at = Grounds::open(&config, &[]).await;
    at.write(".git/info/attributes", "*.txt diff=evil filter=evil\n");
    for name in ["diff.evil.textconv", "filter.evil.clean"] {
        at.git(&["config", name, &format!("touch {}/ran; cat", at.root().display())]);
    }
    at.write("a.txt", "two\n");
    at.read("diff", json!({})).await;
    at.done("add", json!({"paths": ["."]})).await;
    at.done("commit", json!({"message": "second"})).await;
    assert!(!at.root().join("ran").exists());
    let id = at.room.start("echo after").await;
    at.room.has_ended(&id).await;
    assert_eq!(at.room.output(&id).await, "after\n", "what is no git finds the folder, too");
}

#[tokio::test]
async fn shadows_of_a_killed_server_are_gone_after_the_next_start() {
    let shadows = tempfile::tempdir().expect("a directory");
    let folder = shadows.path().join("shadows");
    let config = format!("[git]\nprotocols = [\"http\"]\nshadow_dir = \"{}\"\n", folder.display());
    let mut at = Grounds::open(&config, &[]).await;
    // A remote that takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let url = format!("http://{}/never.git", silent.local_addr().expect("an address"));
    at.git(&["remote", "add", "origin", &url]);
    at.read("fetch", json!({})).await;
    let connected = tokio::task::spawn_blocking(move || silent.accept().map(|(stream, _)| (silent, stream)));
    let _kept = connected.await.expect("waits").expect("git connects");
    // Somebody else's.
    fs::create_dir_all(folder.join("work/of")).expect("makes");
    let count = || folder.read_dir().map_or(0, Iterator::count);
    assert!(count() > 1);
    at.room.server.kill();
    assert!(count() > 1);
    at.room.server.start_again();
    assert_eq!(count(), 1, "{}", at.room.server.said());
    assert!(folder.join("work/of").is_dir());
}

#[tokio::test]
async fn a_tree_that_a_killed_server_left_half_made_is_made_anew() {
    let at = Grounds::open("", &[]).await;
    at.done("worktree_add", json!({"name": "tree"})).await;
    at.write(".worktrees/tree/.git", "gitdir: /tmp/tidings-git-gone/1-1/worktrees/tree\n");
    at.write(".git/worktrees/tree/locked", "initializing");
    fs::remove_file(at.root().join(".worktrees/tree/a.txt")).expect("removes");
    let start = json!({"projectId": at.room.project, "command": ["git", "status", "--porcelain"], "worktree": {"name": "tree"}});
    let started = at.room.server.post("/api/sessions", &at.room.token, start).await;
    assert_eq!(started.status, 201, "{}", started.text());
    let id = started.json()["sessionId"].as_str().expect("an id").to_owned();
    assert_eq!(at.room.has_ended(&id).await["exitCode"], 0);
    assert_eq!(at.room.output(&id).await, "", "a tree in order");
    assert!(at.root().join(".worktrees/tree/a.txt").exists());
}

#[tokio::test]
async fn nothing_is_run_for_git_that_lies_in_a_project_whatever_the_path_says() {
    for unconfined in [false, true] {
        let config = format!(
            "[git]\nunconfined = {unconfined}\n[run]\nset = {{ PATH = \".:/usr/local/bin:/usr/bin:/bin\", \
             GIT_AUTHOR_NAME = \"Ada\", GIT_AUTHOR_EMAIL = \"a@x\", GIT_COMMITTER_NAME = \"Ada\", \
             GIT_COMMITTER_EMAIL = \"a@x\" }}\n"
        );
        let at = Grounds::around(Room::around(Server::start(&config)).await).await;
        desk(at.root(), &["init", "--quiet", "--initial-branch=main"]);
        for name in ["git", "sh", "mkdir", "ssh"] {
            at.write(name, "#!/bin/sh\n: > ran\n");
            fs::set_permissions(at.root().join(name), fs::Permissions::from_mode(0o755)).expect("permits");
        }
        at.read("status", json!({})).await;
        at.done("add", json!({"paths": ["."]})).await;
        at.done("commit", json!({"message": "first"})).await;
        at.done("worktree_add", json!({"name": "tree"})).await;
        desk(at.root(), &["remote", "add", "origin", "ssh://localhost:1/x"]);
        at.fails("fetch", json!({})).await;
        assert!(!at.root().join("ran").exists() && !at.root().join(".worktrees/tree/ran").exists(), "{unconfined}");
    }
}
