//! Repositories that mean harm, against the real binary: nothing of theirs is run, and nothing of another's is read.
//!
//! Guarantees: whatever an attack runs leaves a mark in a folder of its project.
//! They are not the tests of each wall alone: those are beside the service.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    grounds::{Grounds, desk},
    watcher::Watcher,
};

/// All that a client can ask of a repository without changing it.
fn reads() -> Vec<(&'static str, Value)> {
    vec![
        ("status", json!({})),
        ("diff", json!({})),
        ("diff", json!({"from": "HEAD"})),
        ("diff", json!({"staged": true})),
        ("diff", json!({"from": "HEAD~1", "to": "HEAD"})),
        ("log", json!({})),
        ("show", json!({"rev": "HEAD"})),
        ("branches", json!({})),
        ("worktrees", json!({})),
    ]
}

/// A repository in which everything that can name a program names one.
struct Trap(Grounds);

impl Trap {
    async fn set(config: &str) -> Self {
        let trap = Self(Grounds::open(config, &[]).await);
        trap.0.write(".gitignore", "/evil\n/marks\n/bare\n");
        let evil = trap.evil();
        fs::create_dir(trap.0.root().join("marks")).expect("makes");
        fs::write(&evil, format!("#!/bin/sh\n: > {}/marks/$$\ncat\n", trap.0.root().display())).expect("writes");
        fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).expect("permits");
        // A program as a file of the repository: the loader runs it, whoever may run that.
        fs::copy("/usr/bin/mktemp", trap.0.root().join("tool.bin")).expect("copies");
        trap.nest();
        trap.0.write("a.txt", "two\n");
        trap.0.commit("second");
        trap.configure();
        trap.0.write("a.txt", "three\n");
        // Of the same length: git has to look at what is in it.
        trap.0.write("within/x.txt", "y\n");
        trap
    }

    fn evil(&self) -> String {
        self.0.root().join("evil").to_string_lossy().into_owned()
    }

    /// A repository within, which the index knows, and whose configuration is its own.
    fn nest(&self) {
        let within = self.0.root().join("within");
        fs::create_dir(&within).expect("makes");
        desk(&within, &["init", "--quiet", "--initial-branch=main"]);
        self.0.write("within/x.txt", "x\n");
        desk(&within, &["add", "--all"]);
        desk(&within, &["commit", "--quiet", "--message", "within"]);
        self.0.write(".gitmodules", "[submodule \"within\"]\n\tpath = within\n\turl = ./within\n\tignore = none\n");
    }

    fn configure(&self) {
        let (evil, root) = (self.evil(), self.0.root());
        for config in [root.join(".git"), root.join("within/.git")] {
            let attributes = "*.txt filter=evil diff=evil merge=evil\n*.md filter=\u{1F980}\n*.bin diff=tool\n";
            fs::create_dir_all(config.join("info")).expect("makes");
            fs::write(config.join("info/attributes"), attributes).expect("writes");
            let settings = [
                ("core.fsmonitor", evil.as_str()),
                ("core.sshCommand", &evil),
                ("core.pager", &evil),
                ("core.editor", &evil),
                ("core.askPass", &evil),
                ("core.gitProxy", &evil),
                ("sequence.editor", &evil),
                ("diff.external", &evil),
                ("diff.submodule", "diff"),
                ("diff.evil.command", &evil),
                ("diff.evil.textconv", &evil),
                ("filter.evil.clean", &evil),
                ("filter.evil.smudge", &evil),
                ("filter.evil.process", &evil),
                ("filter.evil.required", "true"),
                ("merge.evil.driver", &evil),
                ("commit.verbose", "true"),
                ("commit.gpgSign", "true"),
                ("gpg.program", &evil),
                ("gpg.ssh.defaultKeyCommand", &evil),
                ("gpg.format", "ssh"),
                ("log.showSignature", "true"),
                ("pager.log", &evil),
                ("interactive.diffFilter", &evil),
                ("submodule.within.ignore", "none"),
                ("submodule.within.update", "!evil"),
                ("submodule.recurse", "true"),
                ("protocol.ext.allow", "always"),
                ("core.worktree", "/etc"),
                ("include.path", "more"),
                ("extensions.worktreeConfig", "true"),
            ];
            let file = config.join("config").to_string_lossy().into_owned();
            for (name, value) in settings {
                desk(root, &["config", "--file", &file, name, value]);
            }
            desk(root, &["config", "--file", &file, "credential.helper", &format!("!{evil}")]);
            desk(root, &["config", "--file", &file, "alias.remote-ssh", &format!("!{evil}")]);
            desk(root, &["config", "--file", &file, "diff.tool.textconv", &loader()]);
            let mut bytes = fs::read(config.join("config")).expect("reads");
            bytes.extend_from_slice(b"[filter \"\xff\"]\n\tclean = ");
            bytes.extend_from_slice(evil.as_bytes());
            bytes.push(b'\n');
            fs::write(config.join("config"), bytes).expect("writes");
            let more = format!("[core]\n\thooksPath = {0}/hooks\n[diff]\n\texternal = {evil}\n", config.display());
            fs::write(config.join("more"), &more).expect("writes");
            fs::write(config.join("config.worktree"), &more).expect("writes");
            fs::create_dir_all(config.join("hooks")).expect("makes");
            for hook in HOOKS {
                fs::copy(&evil, config.join("hooks").join(hook)).expect("copies");
            }
        }
        fs::write(
            root.join(".git/info/attributes"),
            b"*.txt filter=evil diff=evil merge=evil\n*.odd filter=\xff\n*.bin diff=tool\n",
        )
        .expect("writes");
        self.0.write("b.odd", "odd\n");
    }

    /// Nothing was run.
    fn is_whole(&self, after: &str) {
        let ran: Vec<_> = self.0.root().join("marks").read_dir().expect("a folder").flatten().collect();
        assert!(ran.is_empty(), "{after} ran something");
    }
}

const HOOKS: [&str; 12] = [
    "pre-commit",
    "commit-msg",
    "prepare-commit-msg",
    "post-commit",
    "post-checkout",
    "pre-merge-commit",
    "post-merge",
    "pre-push",
    "pre-rebase",
    "post-rewrite",
    "post-index-change",
    "reference-transaction",
];

/// The program that the kernel starts others with.
fn loader() -> String {
    let entries = ["/lib64", "/lib"].map(fs::read_dir).into_iter().flatten().flatten().flatten();
    let paths = entries.map(|entry| entry.path().to_string_lossy().into_owned());
    paths.into_iter().find(|path| path.contains("/ld-linux") || path.contains("/ld-musl")).expect("a loader")
}

const TEMPORARY: &str = "[run]\nset = { GIT_CONFIG_GLOBAL = \"/dev/null\" }\n";

#[tokio::test]
async fn no_viewer_runs_a_program_of_a_repository_or_of_one_within_it() {
    let trap = Trap::set(TEMPORARY).await;
    let room = &trap.0.room;
    let members = format!("/api/projects/{}/members", room.project);
    room.server.post(&members, &room.token, json!({"userId": "eve", "membership": "viewer"})).await;
    let eve = Watcher::connect(&room.server, &room.server.token("eve", &[])).await;
    for (name, mut input) in reads() {
        input["projectId"] = json!(room.project);
        let answer = eve.done(&format!("git.{name}"), input).await;
        trap.is_whole(name);
        assert!(!answer.to_string().contains("root:x:0"), "{answer}");
    }
    let status = trap.0.read("status", json!({})).await;
    let paths: Vec<&str> =
        status["files"].as_array().expect("files").iter().filter_map(|it| it["path"].as_str()).collect();
    assert!(paths.contains(&"a.txt") && paths.contains(&"b.odd"), "it is read all the same: {status}");
}

#[tokio::test]
async fn no_operation_runs_a_program_of_a_repository_or_of_one_within_it() {
    let trap = Trap::set(TEMPORARY).await;
    let at = &trap.0;
    at.done("add", json!({"paths": ["."]})).await;
    trap.is_whole("add");
    at.done("commit", json!({"message": "third"})).await;
    at.write("a.txt", "four\n");
    at.done("commit", json!({"message": "fourth", "all": true})).await;
    at.fails("commit", json!({"message": "nothing"})).await;
    trap.is_whole("commit");
    at.write("a.txt", "five\n");
    at.done("stash", json!({"action": "push", "untracked": true})).await;
    at.done("stash", json!({"action": "pop"})).await;
    at.done("unstage", json!({"paths": ["a.txt"]})).await;
    at.done("commit", json!({"message": "fifth", "all": true, "amend": true})).await;
    trap.is_whole("stash");
    at.done("checkout", json!({"branch": "other", "create": true, "from": "HEAD~1"})).await;
    at.write("a.txt", "theirs\n");
    at.done("commit", json!({"message": "theirs", "all": true})).await;
    trap.is_whole("checkout");
    assert_eq!(at.fails("merge", json!({"rev": "main"})).await, "conflict");
    at.write("a.txt", "both\n");
    at.done("add", json!({"paths": ["a.txt"]})).await;
    at.done("merge", json!({"resume": "continue"})).await;
    trap.is_whole("merge");
    at.done("worktree_add", json!({"name": "tree"})).await;
    at.done("worktree_remove", json!({"name": "tree", "force": true})).await;
    trap.is_whole("worktree");
}

#[tokio::test]
async fn git_is_started_from_git_with_no_repository_within_that_nothing_names() {
    let trap = Trap::set(TEMPORARY).await;
    let at = &trap.0;
    at.write(".gitmodules", "[submodule \"other\"]\n\tpath = elsewhere\n\turl = ./within\n");
    for (name, input) in [
        ("stash", json!({"action": "push"})),
        ("merge", json!({"rev": "HEAD~1"})),
        ("pull", json!({"remote": "origin"})),
    ] {
        assert_eq!(at.fails(name, input).await, "program_refused", "{name}");
        trap.is_whole(name);
    }
    assert_eq!(fs::read_to_string(at.root().join("a.txt")).expect("reads"), "three\n", "nothing was put aside");
}

#[tokio::test]
async fn no_remote_is_a_program_whoever_names_it() {
    let trap = Trap::set(TEMPORARY).await;
    let (at, evil) = (&trap.0, trap.evil());
    let remotes = [
        ("ssh::x", None),
        ("https::x", None),
        ("ext::sh -c true", None),
        ("ssh://localhost:1/x", Some(("uploadpack", evil.as_str()))),
        ("ssh://localhost:1/x", Some(("receivepack", evil.as_str()))),
        ("https://localhost:1/x", Some(("vcs", "ssh"))),
        ("https://localhost:1/x", Some(("proxy", evil.as_str()))),
    ];
    for (url, more) in remotes {
        at.git(&["config", "--file", ".git/config", "remote.origin.url", url]);
        if let Some((name, value)) = more {
            at.git(&["config", "--file", ".git/config", &format!("remote.origin.{name}"), value]);
        }
        for (name, input) in
            [("fetch", json!({})), ("pull", json!({"remote": "origin", "branch": "main"})), ("push", json!({}))]
        {
            let code = at.fails(name, input).await;
            assert!(!url.contains("::") || code == "protocol_not_allowed", "{name} {url}: {code}");
            trap.is_whole(&format!("{name} {url} {more:?}"));
        }
    }
}

#[tokio::test]
async fn no_rebase_goes_on_with_programs_in_its_list() {
    let grounds = Grounds::open(TEMPORARY, &[]).await;
    grounds.write("a.txt", "two\n");
    grounds.commit("second");
    let mark = grounds.root().join("ran");
    let stop = Command::new("git")
        .args(["rebase", "--quiet", "--interactive", "HEAD~1"])
        .current_dir(grounds.root())
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/nowhere"), ("GIT_SEQUENCE_EDITOR", "sed -i 1ibreak")])
        .status();
    assert!(stop.expect("git runs").success());
    for line in ["exec touch ran", "x touch ran", "  x\ttouch ran"] {
        grounds.write(".git/rebase-merge/git-rebase-todo", &format!("{line}\n"));
        assert_eq!(grounds.fails("rebase", json!({"resume": "continue"})).await, "program_refused", "{line}");
        assert!(!mark.exists(), "{line}");
    }
    grounds.write(".git/rebase-merge/git-rebase-todo", "noop\n");
    grounds.write(".git/rebase-merge/message-squash", "two\n");
    assert_eq!(grounds.fails("rebase", json!({"resume": "continue"})).await, "program_refused", "joined commits");
    fs::remove_file(grounds.root().join(".git/rebase-merge/message-squash")).expect("removes");
    grounds.done("rebase", json!({"resume": "continue"})).await;
}

#[tokio::test]
async fn a_rebase_goes_on_in_a_partial_clone_and_by_no_strategy_that_the_repository_names() {
    let grounds = Grounds::open(TEMPORARY, &[]).await;
    grounds.write("a.txt", "two\n");
    grounds.commit("second");
    grounds.git(&["branch", "topic"]);
    grounds.write("a.txt", "three\n");
    grounds.commit("third");
    grounds.git(&["checkout", "--quiet", "topic"]);
    grounds.write("a.txt", "four\n");
    grounds.commit("fourth");
    grounds.write("b.txt", "five\n");
    grounds.commit("fifth");
    for (name, value) in [("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "origin")] {
        grounds.git(&["config", "--file", ".git/config", name, value]);
    }
    assert_eq!(grounds.fails("rebase", json!({"onto": "main"})).await, "conflict");
    grounds.write("a.txt", "both\n");
    grounds.git(&["add", "a.txt"]);
    let strategy = grounds.root().join(".git/rebase-merge/strategy");
    let kept = fs::read(&strategy).ok();
    // What is still to be picked is left to a program of this name.
    grounds.write(".git/rebase-merge/strategy", "x/../program\n");
    assert_eq!(grounds.fails("rebase", json!({"resume": "continue"})).await, "program_refused");
    match kept {
        Some(kept) => fs::write(&strategy, kept).expect("writes"),
        None => fs::remove_file(&strategy).expect("removes"),
    }
    grounds.done("rebase", json!({"resume": "continue"})).await;
    let subjects = desk(grounds.root(), &["log", "--format=%s", "-3"]);
    assert_eq!(subjects.lines().collect::<Vec<_>>(), ["fifth", "fourth", "third"]);
}

#[tokio::test]
async fn no_answer_shows_what_another_repository_holds() {
    let secret = tempfile::tempdir().expect("a directory");
    desk(secret.path(), &["init", "--quiet", "--initial-branch=main"]);
    fs::write(secret.path().join("hidden.txt"), "hidden words\n").expect("writes");
    desk(secret.path(), &["add", "--all"]);
    desk(secret.path(), &["commit", "--quiet", "--message", "hidden message"]);
    let theirs = secret.path().join(".git");
    let id = desk(secret.path(), &["rev-parse", "HEAD"]);
    let leads = ["alternates", "objects", "refs", "HEAD", "packed-refs", "index", "commondir", "folder"];
    for lead in leads {
        let grounds = Grounds::open(TEMPORARY, &[]).await;
        let ours = grounds.root().join(".git");
        match lead {
            "alternates" => {
                let objects = theirs.join("objects");
                fs::write(ours.join("objects/info/alternates"), format!("{}\n", objects.display())).expect("writes");
                fs::write(ours.join("refs/heads/theirs"), format!("{id}\n")).expect("writes");
            }
            "commondir" => fs::write(ours.join("commondir"), format!("{}\n", theirs.display())).expect("writes"),
            "folder" => symlink(secret.path(), grounds.root().join("folder")).expect("links"),
            part => {
                let to = theirs.join(part);
                drop(fs::remove_dir_all(ours.join(part)).or_else(|_| fs::remove_file(ours.join(part))));
                symlink(to, ours.join(part)).expect("links");
            }
        }
        let mut asked = reads();
        asked.extend([
            ("show", json!({"rev": id})),
            ("show", json!({"rev": "theirs"})),
            ("log", json!({"rev": "theirs"})),
            ("diff", json!({"from": id})),
            ("diff", json!({"paths": ["folder/hidden.txt"]})),
        ]);
        for (name, input) in asked {
            let answer = grounds.ask(name, input.clone()).await.to_string();
            assert!(
                !answer.contains("hidden message") && !answer.contains("hidden words"),
                "{lead}, {name} {input}: {answer}"
            );
        }
        let added = grounds.ask("add", json!({"paths": ["folder/hidden.txt"]})).await;
        assert!(lead == "folder" || added["ok"] == false, "{lead}: {added}");
    }
}
