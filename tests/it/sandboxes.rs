//! What programs reach in their sandboxes (`run.sandbox`), in each kind of program: a session, a session in a terminal, a
//! terminal, a step.
//!
//! Guarantees: the program is a script that tries everything and tells what worked; nothing outside of the directories of
//! the test is written.
//! They are not the tests of the wall itself, which stand beside it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::getuid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    server::{Server, eventually, tidings},
    sessions::Room,
};

/// What is tried, by the sandboxes in which it works: `o`ff, `d`ata, `p`roject.
const TRIED: &[(&str, &str, &str)] = &[
    // What is the server's.
    ("the database", "o", "head -c 16 DATA/log.db"),
    ("the key", "o", "cat DATA/signing.key"),
    ("the folder", "o", "ls DATA"),
    ("a new file in it", "o", "echo x > DATA/new"),
    ("a change in it", "o", "echo x >> DATA/decoy"),
    ("a file of it cut off", "o", "truncate -s 1 DATA/decoy"),
    ("a file moved out of it", "o", "mv DATA/moved ROOT/moved"),
    ("a file of it linked", "o", "ln DATA/decoy ROOT/linked"),
    ("the configuration", "o", "cat HOME/tidings.toml"),
    ("the configuration written", "o", "echo >> HOME/tidings.toml"),
    ("the configuration replaced", "o", "cp -p HOME/tidings.toml HOME/copy && mv HOME/copy HOME/tidings.toml"),
    ("a secret that it names", "o", "cat HOME/secret"),
    ("the key by a link in the project", "o", "cat ROOT/to-data/signing.key"),
    ("the key by a link to it", "o", "cat ROOT/to-key"),
    ("the key through the system's list", "o", "cat /proc/self/root/DATA/signing.key"),
    ("the key through the server", "o", "cat /proc/$server/cwd/data/signing.key"),
    ("what the server was started with", "o", "test -n \"$(tr -d '\\0' < /proc/$server/environ)\""),
    ("the key by a program of a program", "o", "env sh -c 'sh -c \"exec cat DATA/signing.key\"'"),
    ("the key by the loader", "o", "/lib64/ld-linux-x86-64.so.2 /bin/cat DATA/signing.key"),
    // What is others'.
    ("another project's file", "od", "cat OTHER/file"),
    ("another project's file by a link", "od", "cat ROOT/to-other/file"),
    ("a file in another project", "od", "echo x > OTHER/new"),
    ("a program of another project", "od", "OTHER/tool"),
    ("a signal to a program outside", "od", "kill -0 $server"),
    ("the server's limits", "od", "prlimit --pid $server --core=0:0"),
    // What has to work.
    ("to read the project", "odp", "cat ROOT/own"),
    ("to write the project", "odp", "mkdir ROOT/a && echo x > ROOT/a/b && mv ROOT/a/b ROOT/c && rm -r ROOT/a ROOT/c"),
    ("to run a program of the project", "odp", "ROOT/tool"),
    ("a pipe of programs", "odp", "echo a | tr a b | grep b"),
    ("a limit of one's own", "odp", "ulimit -n 200 && prlimit --core=0"),
    ("the devices", "odp", "echo x > /dev/null && head -c 4 /dev/urandom | cat > /dev/null"),
    ("a temporary file", "odp", "made=$(mktemp) && echo x > $made && rm $made"),
    ("a temporary program", "odp", "made=$(mktemp -d) && cp /bin/true $made/t && $made/t && rm -r $made"),
    ("the system", "odp", "test -s /etc/passwd && ls /usr/bin && cat /proc/self/status"),
    ("shared memory", "odp", "made=$(mktemp -p /dev/shm) && rm $made"),
    ("a place of one's own from a list", "odp", "cat LISTED/file && LISTED/tool"),
    ("to write there", "od", "echo x > LISTED/new"),
    ("to change what is listed for that", "odp", "echo x > CHANGED/new && rm CHANGED/new"),
    ("git", "odp", "cd ROOT && git add own && git -c user.name=a -c user.email=a@b commit -qm x --allow-empty"),
];

/// The places of a test.
struct Places {
    room: Room,
    /// Where what is temporary goes.
    _temporary: TempDir,
    other: TempDir,
    listed: TempDir,
    changed: TempDir,
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permits");
}

fn run(dir: &Path, line: &[&str]) {
    let ran = Command::new(line[0]).args(&line[1..]).current_dir(dir).output().expect("runs");
    assert!(ran.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Directories with a file and a program.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(place.path().join("file"), "x").expect("writes");
    script(&place.path().join("tool"), "#!/bin/sh\n:\n");
    place
}

impl Places {
    /// A server with these lines in its configuration, and a project of git with links to what is not its own.
    async fn open(config: &str) -> Self {
        let (other, listed, changed, temporary) = (place(), place(), place(), place());
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("secret"), "s".repeat(40)).expect("writes");
        let text = format!(
            "drain_ms = 500\n[auth]\nsecret_file = {:?}\n[run]\nsandbox_read = [{:?}]\nsandbox_write = [{:?}]\nset = {{ TMPDIR = {:?} }}\n{config}",
            home.path().join("secret"),
            listed.path(),
            changed.path(),
            temporary.path()
        );
        fs::write(home.path().join("tidings.toml"), text).expect("writes");
        let room = Room::around(Server::start_in(home, &[])).await;
        let (root, data) = (room.root.path().to_owned(), room.server.data_dir());
        run(&root, &["git", "init", "-q", "-b", "main"]);
        fs::write(root.join("own"), "x").expect("writes");
        script(&root.join("tool"), "#!/bin/sh\n:\n");
        symlink(&data, root.join("to-data")).expect("a link");
        symlink(data.join("signing.key"), root.join("to-key")).expect("a link");
        symlink(other.path(), root.join("to-other")).expect("a link");
        Self { room, _temporary: temporary, other, listed, changed }
    }

    fn root(&self) -> &Path {
        self.room.root.path()
    }

    /// Writes the script that tries, and puts a file beside the server's own for what would change one. It tells in a
    /// file, of which it finds the name in its argument.
    fn prepare(&self) {
        let data = self.room.server.data_dir();
        fs::write(data.join("signing.key"), "k".repeat(40)).expect("writes");
        for decoy in ["decoy", "moved"] {
            fs::write(data.join(decoy), "decoy").expect("writes");
        }
        // What the kind before has made would be no new one.
        for made in [data.join("new"), self.other.path().join("new"), self.listed.path().join("new")] {
            if made.exists() {
                fs::remove_file(made).expect("is removed");
            }
        }
        let mut text = "server=$PPID\n".to_owned();
        for (what, _, line) in TRIED {
            let line = self.filled(line);
            text += &format!("if ( {line} ) >/dev/null 2>>$1.errors; then echo \"{what}\" >> $1.telling; fi\n");
        }
        text += "if [ -t 0 ] && echo > /dev/tty && echo > \"$(tty)\"; then echo 'the terminal' >> $1.telling; fi\n";
        text += "if [ \"$WORKFLOW_REPORT\" ] && echo output a=b >> $WORKFLOW_REPORT; then echo 'the report' >> $1.telling; fi\n";
        text += "rm -f ROOT/linked ROOT/moved\n".replace("ROOT", &self.root().to_string_lossy()).as_str();
        text += "mv $1.telling $1\n";
        script(&self.root().join("tries"), &text);
    }

    fn filled(&self, line: &str) -> String {
        let places = [
            ("DATA", self.room.server.data_dir()),
            ("HOME", self.room.server.home().to_owned()),
            ("ROOT", self.root().to_owned()),
            ("OTHER", self.other.path().to_owned()),
            ("LISTED", self.listed.path().to_owned()),
            ("CHANGED", self.changed.path().to_owned()),
        ];
        places.iter().fold(line.to_owned(), |line, (name, path)| line.replace(name, &path.to_string_lossy()))
    }

    async fn post(&self, path: &str, mut body: Value) {
        body["projectId"] = json!(self.room.project);
        let made = self.room.server.post(path, &self.room.token, body).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text());
    }

    /// What worked in a program of this kind; of an agent, it has a name.
    async fn worked(&self, kind: &str, name: &str) -> BTreeSet<String> {
        self.prepare();
        let told = self.root().join(format!("told-{}-{}", name.replace(' ', "-"), kind.len()));
        let (line, prompt) = (json!(["sh", "./tries", told]), told.display().to_string());
        match kind {
            "session" => self.post("/api/sessions", json!({"command": line})).await,
            "session in a terminal" => self.post("/api/sessions", json!({"command": line, "pty": true})).await,
            "terminal" => self.post("/api/shells", json!({"command": line})).await,
            "step" => {
                let steps = json!({"try": {"command": line}});
                self.post("/api/workflows/runs", json!({"definition": {"steps": steps}})).await;
            }
            "agent" => self.post("/api/sessions", json!({"agent": name, "prompt": prompt})).await,
            _ => self.post("/api/sessions", json!({"agent": name, "prompt": prompt, "pty": true})).await,
        }
        eventually("what was tried", async || told.exists()).await;
        fs::read_to_string(told).expect("reads").lines().map(str::to_owned).collect()
    }
}

/// What works in a sandbox, by its letter, for a program of this kind.
fn expected(letter: char, kind: &str, lacks: &str) -> BTreeSet<String> {
    let works = TRIED.iter().filter(|(_, works, _)| works.contains(letter)).map(|(what, ..)| (*what).to_owned());
    let mut works: BTreeSet<String> = works.collect();
    works.extend(kind.contains("terminal").then(|| "the terminal".to_owned()));
    works.extend((kind == "step").then(|| "the report".to_owned()));
    // What this machine does not have, and what its kernel does not hold yet.
    if !Path::new("/lib64/ld-linux-x86-64.so.2").exists() {
        works.remove("the key by the loader");
    }
    works.extend(lacks.contains("can be signalled").then(|| "a signal to a program outside".to_owned()));
    works.extend(lacks.contains("cut off").then(|| "a file of it cut off".to_owned()));
    works
}

/// What this kernel does not hold.
fn lacks() -> String {
    let home = tempfile::tempdir().expect("a directory");
    let output = tidings(home.path()).arg("check").output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find(|line| line.starts_with("# walls: this kernel has")).expect("Landlock is there");
    line.to_owned()
}

#[tokio::test]
async fn in_no_sandbox_but_off_a_program_reaches_what_is_the_servers_and_what_it_needs_works_in_each() {
    let lacks = lacks();
    for (sandbox, letter) in [("off", 'o'), ("data", 'd'), ("project", 'p')] {
        let places = Places::open(&format!("sandbox = \"{sandbox}\"\n")).await;
        for kind in ["session", "session in a terminal", "terminal", "step"] {
            assert_eq!(places.worked(kind, kind).await, expected(letter, kind, &lacks), "{sandbox}, {kind}");
        }
    }
}

#[tokio::test]
async fn an_agents_own_sandbox_counts_more_than_that_of_all() {
    let lacks = lacks();
    let agent = |name: &str, sandbox: &str| {
        let own = if sandbox.is_empty() { String::new() } else { format!("sandbox = \"{sandbox}\"\n") };
        format!("[agents.{name}]\ncommand = [\"sh\", \"./tries\", \"{{prompt}}\"]\n{own}")
    };
    for (all, plain) in [("off", 'o'), ("project", 'p')] {
        let agents =
            agent("open", "off") + &agent("fenced", "data") + &agent("walled", "project") + &agent("plain", "");
        let places = Places::open(&format!("sandbox = \"{all}\"\n{agents}")).await;
        for (name, letter) in [("open", 'o'), ("fenced", 'd'), ("walled", 'p'), ("plain", plain)] {
            for kind in ["agent", "agent in a terminal"] {
                let worked = places.worked(kind, name).await;
                assert_eq!(worked, expected(letter, kind, &lacks), "{all}, {name}, {kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_in_a_working_tree_of_its_own_works_with_git_in_its_sandbox() {
    let places = Places::open("sandbox = \"project\"\n").await;
    let as_somebody = "git -c user.name=a -c user.email=a@b";
    run(places.root(), &["sh", "-c", &format!("git add own && {as_somebody} commit -qm first")]);
    let line =
        format!("pwd; cat own; echo y > new && git add new && {as_somebody} commit -qm second && git log --format=%s");
    let body = json!({"projectId": places.room.project, "command": ["sh", "-c", line], "worktree": {"name": "w"}});
    let started = places.room.server.post("/api/sessions", &places.room.token, body).await;
    assert_eq!(started.status, 201, "{}", started.text());
    let id = started.json()["sessionId"].as_str().expect("an id").to_owned();
    let state = places.room.has_ended(&id).await;
    let output = places.room.output(&id).await;
    assert!(state["exitCode"] == 0 && output.ends_with("second\nfirst\n"), "{state} {output}");
    assert!(output.contains("/.worktrees/w\n"), "{output}");
}

#[tokio::test]
async fn a_program_that_its_sandbox_does_not_let_run_is_told_as_that() {
    let places = Places::open("sandbox = \"project\"\n").await;
    let body = json!({"projectId": places.room.project, "command": [places.other.path().join("tool")]});
    let started = places.room.server.post("/api/sessions", &places.room.token, body).await;
    let state = places.room.has_ended(started.json()["sessionId"].as_str().expect("an id")).await;
    assert_eq!(state["error"]["code"], "spawn_failed", "{state}");
    let message = state["error"]["message"].as_str().expect("a text");
    assert!(message.contains("run.sandbox_read"), "{message}");
}

/// A server with this sandbox, and where what is temporary goes.
async fn fenced(sandbox: &str) -> (Room, TempDir) {
    let temporary = tempfile::tempdir().expect("a directory");
    let set = format!("set = {{ TMPDIR = {:?} }}", temporary.path());
    (Room::open(&format!("[run]\nsandbox = \"{sandbox}\"\n{set}\n")).await, temporary)
}

#[tokio::test]
async fn a_program_in_a_sandbox_gains_no_privileges_and_mounts_nothing() {
    let (room, _temporary) = fenced("data").await;
    let id = room
        .start("cat /proc/self/status; mkdir m; mount -t tmpfs none m && echo mounted; mknod n b 7 0 && echo made")
        .await;
    room.has_ended(&id).await;
    let output = room.output(&id).await;
    assert!(output.contains("NoNewPrivs:\t1\n") && !output.contains("mounted") && !output.contains("made"), "{output}");
    let held = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(&format!("{name}:\t"))).expect("a line");
        u64::from_str_radix(line, 16).expect("a number")
    };
    // To load modules, to reach memory and devices, to trace, to mount, to make devices, and what came later.
    let dangerous = [16, 17, 19, 21, 27, 38, 39].iter().fold(0, |all, bit| all | 1 << bit);
    assert_eq!((held("CapEff") & dangerous, held("CapPrm") & dangerous), (0, 0), "{output}");
}

/// The folder for what is temporary, and who a program is.
async fn tells(room: &Room) -> (PathBuf, String) {
    let id = room
        .start("echo tmp=$TMPDIR; echo who=$(id -u); made=$(mktemp) && echo x > $made && echo x > own && echo done")
        .await;
    let state = room.has_ended(&id).await;
    let output = room.output(&id).await;
    assert!(output.contains("done\n"), "{state} {output}");
    let told = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).expect("a line").to_owned();
    (told("tmp=").into(), told("who="))
}

#[tokio::test]
async fn a_sandbox_goes_with_another_user_and_a_folder_that_somebody_else_put_there_is_refused() {
    let (elsewhere, temporary) = (place(), tempfile::tempdir().expect("a directory"));
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o1777)).expect("permits");
    let is_root = getuid().is_root();
    let user = if is_root { "user = \"nobody\"\n" } else { "" };
    let set = format!("set = {{ TMPDIR = {:?} }}\n", temporary.path());
    let room = Room::open(&format!("[run]\nsandbox = \"project\"\n{user}{set}")).await;
    if is_root {
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).expect("permits");
        chown(room.root.path(), Some(65534), Some(65534)).expect("gives");
    }
    let (folder, who) = tells(&room).await;
    let found = fs::symlink_metadata(&folder).expect("is there");
    assert!(folder.starts_with(temporary.path()) && found.is_dir() && found.mode() & 0o777 == 0o700, "{folder:?}");
    assert_eq!(found.uid().to_string(), who);
    assert_eq!(who == "65534", is_root);
    assert_eq!(tells(&room).await.0, folder, "it is the project's");
    let id = room.start(&format!("cat {}/file && echo read", elsewhere.path().display())).await;
    room.has_ended(&id).await;
    assert!(!room.output(&id).await.contains("read\n"));
    fs::remove_dir_all(&folder).expect("is removed");
    symlink(elsewhere.path(), &folder).expect("a link");
    let id = room.start("echo started").await;
    let state = room.has_ended(&id).await;
    let message = state["error"]["message"].as_str().expect("a text");
    assert!(message.contains("is not the folder of this server's programs"), "{message}");
    assert!(!room.output(&id).await.contains("started\n"));
}

#[tokio::test]
async fn each_project_has_a_temporary_folder_of_its_own() {
    let (room, _temporary) = fenced("project").await;
    let (folder, _) = tells(&room).await;
    let other = tempfile::tempdir().expect("a directory");
    let made = room.server.post("/api/projects", &room.token, json!({"name": "two", "root": other.path()})).await;
    let line = format!("echo tmp=$TMPDIR; ls {} && echo listed", folder.display());
    let body = json!({"projectId": made.json()["projectId"], "command": ["sh", "-c", line]});
    let started = room.server.post("/api/sessions", &room.token, body).await;
    let id = started.json()["sessionId"].as_str().expect("an id").to_owned();
    room.has_ended(&id).await;
    let output = room.output(&id).await;
    assert!(output.contains("tmp=/") && !output.contains(&format!("tmp={}\n", folder.display())), "{output}");
    assert!(!output.contains("listed\n"), "{output}");
}

#[tokio::test]
async fn no_program_has_a_file_that_the_server_was_started_with() {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("tidings.toml"), "").expect("writes");
    let kept = home.path().join("kept");
    let before = ["sh", "-c", "exec 9>>kept; exec \"$@\"", "sh"].map(str::to_owned);
    let room = Room::around(Server::start_within(home, &before)).await;
    let id = room.start("echo session >&9 || echo none").await;
    room.has_ended(&id).await;
    assert!(room.output(&id).await.contains("none\n"));
    let steps = json!({"try": {"command": ["sh", "-c", "echo step >&9 || touch none"]}});
    let body = json!({"projectId": room.project, "definition": {"steps": steps}});
    assert_eq!(room.server.post("/api/workflows/runs", &room.token, body).await.status, 201);
    eventually("the step", async || room.root.path().join("none").exists()).await;
    assert_eq!(fs::read_to_string(kept).expect("reads"), "");
}

/// What `tidings check` says of this configuration: whether it passes, and both of what it prints.
fn checked(config: &str) -> (bool, String) {
    let home = tempfile::tempdir().expect("a directory");
    fs::create_dir(home.path().join("data")).expect("a directory");
    let data = home.path().join("data").display().to_string();
    fs::write(home.path().join("tidings.toml"), config.replace("{data}", &data)).expect("writes");
    let output = tidings(home.path()).arg("check").output().expect("runs");
    let text = [output.stdout, output.stderr.clone()].concat();
    if !output.status.success() {
        let served = tidings(home.path()).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("runs");
        assert!(!served.status.success() && served.stderr == output.stderr, "the start refuses the same");
    }
    (output.status.success(), String::from_utf8(text).expect("text"))
}

#[test]
fn a_check_says_what_holds_and_refuses_a_sandbox_that_would_not() {
    let open = "can read the data directory";
    let (passes, off) = checked("");
    assert!(passes && off.contains(open) && off.contains("# walls: run.sandbox = off: "), "{off}");
    assert!(off.contains("# walls: this kernel has Landlock "), "{off}");
    let (passes, project) =
        checked("[run]\nsandbox = \"project\"\n[agents.a]\ncommand = [\"sh\"]\nsandbox = \"data\"\n");
    assert!(passes && !project.contains(open), "{project}");
    for line in ["# walls: run.sandbox = project: ", "# walls: agents.a.sandbox = data: "] {
        assert!(project.contains(line), "{line}\n{project}");
    }
    let (passes, agent) = checked("[run]\nsandbox = \"data\"\n[agents.a]\ncommand = [\"sh\"]\nsandbox = \"off\"\n");
    assert!(passes && agent.contains("# warning: agents.a.sandbox = off: "), "{agent}");
    for (config, key) in [
        ("[run]\nsandbox = \"data\"\nwrapper = [\"env\"]\n", "run.sandbox = data (tidings.toml): run.wrapper is"),
        (
            "[run]\nwrapper = [\"env\"]\n[agents.a]\ncommand = [\"sh\"]\nsandbox = \"project\"\n",
            "agents.a.sandbox = project (tidings.toml): run.wrapper is",
        ),
        ("[run]\nsandbox = \"project\"\nsandbox_write = [\"{data}/x\"]\n", "/data/x (tidings.toml): lies in"),
        ("[run]\nsandbox = \"projekt\"\n", "run.sandbox = \"projekt\" (tidings.toml): "),
    ] {
        let (passes, text) = checked(config);
        assert!(!passes && text.contains(key), "{config}\n{text}");
    }
}
