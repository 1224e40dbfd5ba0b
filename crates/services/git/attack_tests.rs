//! Repositories that mean harm, against each wall alone, against both, and without any: then the program runs, which
//! shows that the attack is one.
//!
//! Guarantees: git is real; what an attack runs leaves a mark, and touches nothing else.
//! They are not the tests of what a client can ask for: those meet the real server.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    GitConfig,
    execute::{Bounds, Finished, Git, Printed},
    place::{Paths, Purpose, Repository},
};
use crate::{
    programs::{Environment, Programs, ProgramsConfig},
    redaction::{Redaction, RedactionConfig},
};

/// A project with a repository, and a program in it that leaves a mark.
struct Ground {
    _home: TempDir,
    root: PathBuf,
    data: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let real = home.path().canonicalize().expect("there");
        let ground = Self { root: real.join("project"), data: real.join("data"), _home: home };
        for folder in [&ground.root, &ground.data, &ground.root.join("marks")] {
            fs::create_dir_all(folder).expect("makes");
        }
        ground.git(&["init", "--quiet", "--initial-branch=main", "."]);
        ground.write(".gitignore", "/marks\n/evil\n/sub\n");
        ground.write("a.txt", "one\n");
        let evil = ground.root.join("evil");
        let script = format!("#!/bin/sh\n: > {}/ran\ncat 2>/dev/null\n", ground.root.join("marks").display());
        fs::write(&evil, script).expect("writes");
        fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).expect("permits");
        ground.commit("first");
        ground
    }

    /// git as a person runs it at a desk.
    fn git_in(&self, folder: &str, words: &[&str]) {
        let mut git = Command::new("git");
        git.args(words).current_dir(self.root.join(folder)).env_clear().envs(person());
        let done = git.output().expect("git runs");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn git(&self, words: &[&str]) {
        self.git_in(".", words);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("makes");
        fs::write(path, text).expect("writes");
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// A setting of the repository's own.
    fn set(&self, name: &str, value: &str) {
        self.git(&["config", "--file", ".git/config", name, value]);
    }

    fn evil(&self) -> String {
        self.root.join("evil").to_string_lossy().into_owned()
    }

    /// A repository within, whose own configuration is evil, and which the index knows.
    fn nest(&self) {
        fs::create_dir(self.root.join("within")).expect("makes");
        self.git_in("within", &["init", "--quiet", "--initial-branch=main", "."]);
        self.write("within/x.txt", "x\n");
        self.git_in("within", &["add", "--all"]);
        self.git_in("within", &["commit", "--quiet", "--message", "within"]);
        self.git(&["-c", "advice.addEmbeddedRepo=false", "add", "within"]);
        self.git(&["commit", "--quiet", "--message", "nested"]);
        self.write("within/.git/info/attributes", "* filter=evil diff=evil\n");
        for (name, value) in [("filter.evil.clean", self.evil()), ("diff.evil.textconv", self.evil())] {
            self.git(&["config", "--file", "within/.git/config", name, &value]);
        }
        // Of the same length: git has to look at what is in it.
        self.write("within/x.txt", "y\n");
    }

    /// Resolves once the program has run: some that git waits for would wait for git.
    async fn has_run(&self) {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !self.root.join("marks/ran").exists() {
            looks.tick().await;
        }
    }

    fn ran(&self) -> bool {
        self.root.join("marks").read_dir().expect("a folder").count() > 0
    }
}

fn person() -> BTreeMap<String, String> {
    let names = ["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Ada".to_owned()));
    let mails = ["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "ada@example.com".to_owned()));
    let rest = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ];
    let rest = rest.map(|(name, value)| (name.to_owned(), value.to_owned()));
    names.into_iter().chain(mails).chain(rest).collect()
}

/// Which walls stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walls {
    kernel: bool,
    shadow: bool,
}

const NONE: Walls = Walls { kernel: false, shadow: false };
const KERNEL: Walls = Walls { kernel: true, shadow: false };
const SHADOW: Walls = Walls { kernel: false, shadow: true };
const BOTH: Walls = Walls { kernel: true, shadow: true };

impl Ground {
    fn server(&self, walls: Walls) -> Git {
        let mut programs = ProgramsConfig::new(self.data.clone());
        let mut variables = person();
        variables.insert("TMPDIR".to_owned(), self.root.join("marks").to_string_lossy().into_owned());
        programs.env = Environment::new(&[], [], &variables);
        // What git says is not looked at, and compiling every pattern for each run takes longer than all of them.
        let redaction = RedactionConfig { enabled: false, patterns: Vec::new() };
        let redaction = Arc::new(Redaction::new(&redaction).expect("no pattern"));
        let shadow_dir = Some(self.data.join("shadows"));
        let mut config = GitConfig { unconfined: !walls.kernel, shadow_dir, ..GitConfig::new(redaction) };
        config.protocols = ["https", "ssh", "file"].map(str::to_owned).to_vec();
        if walls.kernel {
            config.protocols.pop();
        }
        Git::new(Programs::new(programs).expect("ready"), config)
    }

    /// Runs git as the server does, behind these walls alone.
    async fn run(&self, walls: Walls, purpose: Purpose, words: &[&str]) -> Finished {
        let git = self.server(walls);
        let mut place = git.repository(&self.root, purpose).await.expect("a repository");
        if let Repository::Here(here) = &mut place.repository
            && !walls.shadow
        {
            here.shadow = None;
        }
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let running = git.start(&place, purpose, &words, Paths::Patterns).await.expect("starts");
        let bounds = Bounds { grace: Duration::from_secs(1), timeout: Duration::from_secs(60) };
        bounds.attend(running, Printed::Collect(1 << 20), self.has_run(), &mut |_| ()).await.expect("ends")
    }
}

/// What somebody leaves in a repository, and the command that it is for.
struct Attack {
    name: &'static str,
    prepare: fn(&Ground),
    purpose: Purpose,
    words: &'static [&'static str],
    /// Whether it needs the repository's own configuration.
    configured: bool,
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "an external diff",
        prepare: |ground| {
            ground.set("diff.external", &ground.evil());
            ground.write("a.txt", "two\n");
        },
        purpose: Purpose::Change,
        words: &["diff", "--ext-diff"],
        configured: true,
    },
    Attack {
        name: "a conversion to text",
        prepare: |ground| {
            ground.write(".git/info/attributes", "*.txt diff=evil\n");
            ground.set("diff.evil.textconv", &ground.evil());
        },
        purpose: Purpose::Change,
        words: &["show", "--textconv", "HEAD"],
        configured: true,
    },
    Attack {
        name: "the pager's setting of another program: an alias",
        prepare: |ground| ground.set("alias.remote-ssh", &format!("!{}", ground.evil())),
        purpose: Purpose::Change,
        words: &["remote-ssh"],
        configured: true,
    },
    Attack {
        name: "a filter",
        prepare: |ground| {
            ground.write(".git/info/attributes", "*.txt filter=evil\n");
            ground.set("filter.evil.clean", &ground.evil());
            ground.write("a.txt", "two\n");
        },
        purpose: Purpose::Change,
        words: &["add", "--all"],
        configured: true,
    },
    Attack {
        name: "a filter under a name that is no text",
        prepare: |ground| {
            fs::write(ground.root.join(".git/info/attributes"), b"*.txt filter=\xff\n").expect("writes");
            let mut config = fs::read(ground.root.join(".git/config")).expect("reads");
            config.extend_from_slice(b"[filter \"\xff\"]\n\tclean = ");
            config.extend_from_slice(ground.evil().as_bytes());
            fs::write(ground.root.join(".git/config"), config).expect("writes");
            ground.write("a.txt", "two\n");
        },
        purpose: Purpose::Change,
        words: &["add", "--all"],
        configured: true,
    },
    Attack {
        name: "an included file",
        prepare: |ground| {
            ground.write(".git/more", &format!("[diff]\n\texternal = {}\n", ground.evil()));
            ground.set("include.path", "more");
            ground.write("a.txt", "two\n");
        },
        purpose: Purpose::Change,
        words: &["diff", "--ext-diff"],
        configured: true,
    },
    Attack {
        name: "the configuration of a working tree",
        prepare: |ground| {
            ground.set("extensions.worktreeConfig", "true");
            ground.write(".git/config.worktree", &format!("[diff]\n\texternal = {}\n", ground.evil()));
            ground.write("a.txt", "two\n");
        },
        purpose: Purpose::Change,
        words: &["diff", "--ext-diff"],
        configured: true,
    },
    Attack {
        name: "a program that signs",
        prepare: |ground| {
            ground.set("commit.gpgSign", "true");
            ground.set("gpg.program", &ground.evil());
        },
        purpose: Purpose::Change,
        words: &["commit", "--allow-empty", "--message", "signed"],
        configured: true,
    },
    Attack {
        name: "a program that gives a key to sign with",
        prepare: |ground| {
            ground.set("commit.gpgSign", "true");
            ground.set("gpg.format", "ssh");
            ground.set("gpg.ssh.defaultKeyCommand", &ground.evil());
        },
        purpose: Purpose::Change,
        words: &["commit", "--allow-empty", "--message", "signed"],
        configured: true,
    },
    Attack {
        name: "a driver of merges",
        prepare: |ground| {
            ground.git(&["checkout", "--quiet", "-b", "other"]);
            ground.write("a.txt", "theirs\n");
            ground.commit("theirs");
            ground.git(&["checkout", "--quiet", "main"]);
            ground.write("a.txt", "ours\n");
            ground.commit("ours");
            ground.write(".git/info/attributes", "*.txt merge=evil\n");
            ground.set("merge.evil.driver", &format!("{} %A", ground.evil()));
        },
        purpose: Purpose::Change,
        words: &["merge", "--no-edit", "other"],
        configured: true,
    },
    Attack {
        name: "the other end of a remote",
        prepare: |ground| {
            ground.git(&["clone", "--quiet", "--bare", ".", ".git/bare"]);
            ground.set("remote.origin.url", &ground.root.join(".git/bare").to_string_lossy());
            ground.set("remote.origin.uploadpack", &ground.evil());
        },
        purpose: Purpose::Reach,
        words: &["fetch", "origin"],
        configured: true,
    },
    Attack {
        name: "a helper for an address",
        prepare: |ground| {
            ground.set("remote.origin.url", "ssh::x");
            ground.set("alias.remote-ssh", &format!("!{}", ground.evil()));
        },
        purpose: Purpose::Reach,
        words: &["fetch", "origin"],
        configured: true,
    },
    Attack {
        name: "a helper for a remote",
        prepare: |ground| {
            ground.set("remote.origin.url", "x");
            ground.set("alias.remote-ssh", &format!("!{}", ground.evil()));
            ground.set("remote.origin.vcs", "ssh");
        },
        purpose: Purpose::Reach,
        words: &["push", "origin", "HEAD"],
        configured: true,
    },
    Attack {
        name: "a filter of a repository within",
        prepare: Ground::nest,
        purpose: Purpose::Change,
        words: &["add", "--all"],
        configured: false,
    },
    Attack {
        name: "a conversion to text of a repository within",
        prepare: |ground| {
            ground.nest();
            ground.git_in("within", &["-c", "filter.evil.clean=", "commit", "--quiet", "--all", "--message", "more"]);
        },
        purpose: Purpose::Change,
        words: &["diff", "--submodule=diff"],
        configured: false,
    },
    Attack {
        name: "a program that a rebase is to run",
        prepare: |ground| {
            ground.write("a.txt", "two\n");
            ground.commit("second");
            let mut git = Command::new("git");
            git.args(["rebase", "--quiet", "--interactive", "HEAD~1"]).current_dir(&ground.root).env_clear();
            git.envs(person()).env("GIT_SEQUENCE_EDITOR", "sed -i 1ibreak");
            assert!(git.status().expect("git runs").success());
            ground.write(".git/rebase-merge/git-rebase-todo", &format!("exec {}\n", ground.evil()));
        },
        purpose: Purpose::Change,
        words: &["rebase", "--continue"],
        configured: false,
    },
];

#[tokio::test]
async fn every_attack_is_one_and_each_wall_holds_it_alone() {
    for Attack { name, prepare, purpose, words, configured } in ATTACKS {
        for walls in [NONE, KERNEL, SHADOW] {
            if walls == SHADOW && !configured {
                continue;
            }
            let ground = Ground::new();
            prepare(&ground);
            let finished = ground.run(walls, *purpose, words).await;
            assert_eq!(ground.ran(), walls == NONE, "{name}, {walls:?}: {}", finished.said);
        }
    }
}

/// The program that the kernel starts others with: git cannot be run without it, and it runs any file.
fn loader() -> String {
    let places =
        ["/lib64", "/lib"].map(Path::new).into_iter().flat_map(|folder| folder.read_dir().into_iter().flatten());
    let names = places.flatten().map(|entry| entry.path().to_string_lossy().into_owned());
    names.into_iter().find(|path| path.contains("/ld-linux") || path.contains("/ld-musl")).expect("a loader")
}

#[tokio::test]
async fn what_needs_no_other_program_starts_none_whatever_may_be_run() {
    let words: [&[&str]; 2] = [&["show", "--textconv", "HEAD"], &["diff", "--ext-diff", "HEAD~1"]];
    for (purpose, runs) in [(Purpose::Change, true), (Purpose::Alone, false)] {
        let ground = Ground::new();
        // A program that leaves a file where temporary ones are, called with a file of the repository.
        fs::copy("/usr/bin/mktemp", ground.root.join("tool.txt")).expect("copies");
        ground.commit("a program");
        ground.write(".git/info/attributes", "*.txt diff=evil\n");
        ground.set("diff.evil.textconv", &loader());
        for words in words {
            ground.run(KERNEL, purpose, words).await;
        }
        assert_eq!(ground.ran(), runs, "{purpose:?}: the kernel's list of programs does not hold this");
        assert!(!ground.run(BOTH, purpose, words[0]).await.said.contains("cannot"), "and nothing needs it");
    }
}

/// An unfinished rebase whose strategy leads to `git grep`, and from there to the loader with a file of the repository.
fn strategy_that_leads_elsewhere(ground: &Ground) {
    let rebased = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(words).current_dir(&ground.root).env_clear().envs(person());
        assert!(git.env("GIT_SEQUENCE_EDITOR", "sed -i 1ibreak").status().expect("git runs").success());
    };
    let id = |name: &str| {
        let said = Command::new("git").args(["rev-parse", name]).current_dir(&ground.root).output().expect("git runs");
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    ground.git(&["checkout", "--quiet", "-b", "topic"]);
    ground.write("topic.txt", "one\n");
    ground.commit("topic");
    ground.git(&["checkout", "--quiet", "main"]);
    ground.write("other.txt", "one\n");
    ground.commit("other");
    ground.git(&["checkout", "--quiet", "topic"]);
    rebased(&["rebase", "--quiet", "--interactive", "main"]);
    let (base, head) = (id("main~1"), id("main"));
    let mut tool = fs::read("/usr/bin/mktemp").expect("reads");
    tool.extend(format!("\n{base}\n").bytes());
    fs::create_dir_all(ground.root.join(&head)).expect("makes");
    fs::create_dir_all(ground.root.join("git-merge-x")).expect("makes");
    fs::write(ground.root.join(head).join("tool"), tool).expect("writes");
    let core = Command::new("git").arg("--exec-path").output().expect("git runs");
    let core = String::from_utf8_lossy(&core.stdout).trim().to_owned();
    let up = "../".repeat(ground.root.components().count());
    ground.write(".git/rebase-merge/strategy", &format!("x/{up}{}/git-grep\n", core.trim_start_matches('/')));
    ground.write(".git/rebase-merge/strategy_opts", &format!(" '--untracked' '--open-files-in-pager={}'\n", loader()));
}

#[tokio::test]
async fn what_goes_on_by_files_of_the_repository_starts_no_other_program_also_where_objects_are_missing() {
    for (purpose, runs) in [(Purpose::Change, true), (Purpose::Resume, false)] {
        let ground = Ground::new();
        strategy_that_leads_elsewhere(&ground);
        for (name, value) in [("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "origin")] {
            ground.set(name, value);
        }
        let finished = ground.run(BOTH, purpose, &["rebase", "--continue"]).await;
        assert_eq!(ground.ran(), runs, "{purpose:?}: {}", finished.said);
    }
}

#[tokio::test]
async fn a_repository_that_changes_while_git_runs_reads_nothing_of_another_project() {
    let ground = Ground::new();
    let secret = ground.data.join("secret");
    fs::create_dir_all(&secret).expect("makes");
    fs::write(secret.join("hidden.txt"), "hidden\n").expect("writes");
    let git = ground.server(BOTH);
    let place = git.repository(&ground.root, Purpose::Read).await.expect("a repository");
    // After the look: the folder of its objects leads to that of another.
    fs::rename(ground.root.join(".git/objects"), secret.join("objects")).expect("moves");
    std::os::unix::fs::symlink(secret.join("objects"), ground.root.join(".git/objects")).expect("links");
    let shown = git.read(&place, &["show", "HEAD"], 1 << 20).await.expect("ends");
    assert!(!shown.status.success() && shown.printed.is_empty(), "{}", String::from_utf8_lossy(&shown.printed));
    // And so does a file that git reads as one of its own.
    fs::remove_file(ground.root.join(".git/objects")).expect("removes");
    fs::rename(secret.join("objects"), ground.root.join(".git/objects")).expect("moves");
    fs::rename(ground.root.join(".git/index"), secret.join("index")).expect("moves");
    std::os::unix::fs::symlink(secret.join("index"), ground.root.join(".git/index")).expect("links");
    let listed = git.read(&place, &["ls-files"], 1 << 20).await.expect("ends");
    assert!(!listed.status.success() && listed.printed.is_empty(), "{}", listed.said);
    assert!(git.repository(&ground.root, Purpose::Read).await.is_err(), "and the next look refuses it");
}

#[tokio::test]
async fn a_configuration_that_appears_while_git_runs_is_not_read() {
    let ground = Ground::new();
    let git = ground.server(SHADOW);
    let place = git.repository(&ground.root, Purpose::Change).await.expect("a repository");
    ground.set("diff.external", &ground.evil());
    ground.set("extensions.worktreeConfig", "true");
    ground.write(".git/config.worktree", &format!("[diff]\n\texternal = {}\n", ground.evil()));
    ground.write(".git/commondir", ".\n");
    ground.write("a.txt", "two\n");
    let shown = git.run(&place, Purpose::Change, &["diff", "--ext-diff"], 1 << 20).await.expect("ends");
    assert!(shown.status.success() && !ground.ran(), "{}", shown.said);
    assert!(String::from_utf8_lossy(&shown.printed).contains("+two"));
}
