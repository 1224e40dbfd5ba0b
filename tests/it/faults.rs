//! Tasks that die and stops that hang, in the real server: each worker is made to panic while it serves.
//!
//! Guarantees: nothing that was acknowledged is missing or doubled, whatever panicked; what cannot go on ends the
//! server with a name; a signal ends it, whatever hangs.
//! They need the faults of a debug build: see `tidings_core::fault`.

use std::{fs::File, io::Write, net::TcpStream, path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_client::{
    Client, Follow, Follower, Item, Start,
    http::{self, Method},
    token,
};
use tidings_core::fault;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    server::{FAULTS, PATIENCE, Server, eventually, found, note, notes, tidings_with_faults},
    sessions::{Room, is_running},
    watcher::Watcher,
};

/// So many channels are followed: each of the fan-out's workers has some.
const CHANNELS: usize = 8;

/// Arms a fault, in a server that is in this directory.
fn arm(home: &Path, line: &str) {
    let mut file = File::options().append(true).open(home.join("faults")).expect("opens");
    file.write_all(format!("{line}\n").as_bytes()).expect("writes");
}

/// A directory for a server with faults, and the variable that names their file.
fn home(config: &str) -> (TempDir, [(&'static str, &'static str); 1]) {
    if !fault::COMPILED {
        panic!("this test needs a debug build, or the feature faults");
    }
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("tidings.toml"), config).expect("writes");
    std::fs::write(home.path().join("faults"), "").expect("writes");
    (home, [(FAULTS, "faults")])
}

fn start(config: &str) -> Server {
    let (home, environment) = home(config);
    Server::start_in(home, &environment)
}

/// How often something panicked; none if the server cannot be asked now.
async fn panics(url: &str, task: &str) -> Option<f64> {
    let text = http::get(url, "/metrics", None).await.ok()?.text();
    let name = format!("tidings_panics_total{{task=\"{task}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    Some(line.map_or(0.0, |figure| figure.parse().expect("a number")))
}

async fn has_panicked(server: &Server, task: &str, times: f64) {
    let url = server.url();
    eventually(&format!("{times} panics of {task}"), async || {
        panics(&url, task).await.is_some_and(|count| count >= times)
    })
    .await;
}

/// A server that is published to, and followers of all its channels.
struct Load {
    server: Server,
    bearer: String,
    /// How many events each channel has.
    rounds: u64,
    all: watch::Sender<Option<u64>>,
    followers: JoinSet<(Vec<u64>, Vec<String>)>,
}

impl Load {
    fn begin() -> Self {
        let server = start("");
        let (bearer, all) = (server.admin(), watch::Sender::new(None));
        let mut followers = JoinSet::new();
        for channel in 0..CHANNELS {
            let follow = Follow::new(format!("session:load-{channel}"), Start::Oldest);
            let follower = Follower::new(&server.url(), token(&bearer), vec![follow]).expect("a URL");
            followers.spawn(follow_all(follower, all.subscribe()));
        }
        Self { server, bearer, rounds: 0, all, followers }
    }

    /// An event more in each channel; sent again until it is acknowledged.
    async fn round(&mut self) {
        self.rounds += 1;
        let event = |channel: usize| {
            let mut event = note(&format!("load-{channel}"), self.rounds);
            event["id"] = json!(format!("{channel}-{}", self.rounds));
            event
        };
        let events: Value = (0..CHANNELS).map(event).collect();
        let (url, bearer) = (self.server.url(), &self.bearer);
        found("an acknowledged round", async || {
            let body = Some(("application/json", events.to_string().into()));
            let answer = http::request(Method::POST, &url, "/api/events", Some(bearer), body).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Somebody who comes, reads, asks and goes. What a fault does to it is its own affair.
    async fn visit(&self) {
        let (url, bearer) = (self.server.url(), Some(self.bearer.as_str()));
        let heartbeat = json!({"type": "session.heartbeat", "data":
            {"sessionId": "load-0", "phase": "working", "elapsedMs": 1, "silentMs": 1}});
        let root = json!({"name": "none", "root": "/no/such/directory"});
        drop(http::get(&url, "/api/channels/session:load-0/events?after=0", bearer).await);
        drop(http::post_json(&url, "/api/projects", bearer, &root).await);
        drop(http::post_json(&url, "/api/events", bearer, &heartbeat).await);
        let Ok(client) = Client::connect(&url, token(&self.bearer)).await else { return };
        let once = format!("once-{}", self.rounds);
        let publish = json!({"channel": "session:aside", "type": "session.note", "data": {"sessionId": "aside"}});
        let all = tokio::join!(
            client.emit_with_ack("session.list", json!({})),
            client.emit_with_ack("subscribe", json!({"channel": "session:load-0", "since": {"seq": 0}})),
            client.emit_with_ack("publish", publish),
            client.emit_with_ack("project.register", json!({"commandId": once, "name": "none", "root": "/no/such"})),
        );
        drop(all);
        client.close().await;
    }

    /// Goes on until what was armed has panicked.
    async fn survives(&mut self, line: &str, task: &str) {
        let url = self.server.url();
        let before = found("the figures", async || panics(&url, task).await).await;
        arm(self.server.home(), line);
        let going_on = async {
            loop {
                self.round().await;
                self.visit().await;
                if panics(&url, task).await.is_some_and(|count| count > before) {
                    return;
                }
            }
        };
        timeout(PATIENCE, going_on).await.unwrap_or_else(|_| panic!("{line}: it never happened"));
        self.round().await;
    }

    /// The end: each follower has everything, once and in order.
    async fn has_come_whole(mut self) -> Server {
        self.round().await;
        self.all.send_replace(Some(self.rounds));
        let expected: Vec<u64> = (1..=self.rounds).collect();
        while let Some(followed) = timeout(PATIENCE, self.followers.join_next()).await.expect("all is delivered") {
            let (numbers, told) = followed.expect("follows to the end");
            assert_eq!(numbers, expected);
            assert!(told.is_empty(), "{told:?}");
        }
        self.server
    }
}

/// Follows a channel until it has as many events as are said to be all: their numbers, and what else was told.
async fn follow_all(mut follower: Follower, mut all: watch::Receiver<Option<u64>>) -> (Vec<u64>, Vec<String>) {
    let (mut numbers, mut told) = (Vec::new(), Vec::new());
    while all.borrow_and_update().is_none_or(|all| numbers.last() != Some(&all)) {
        let item = tokio::select! {
            item = follower.next() => item.expect("goes on").expect("goes on"),
            changed = all.changed() => {
                changed.expect("the load says when it ends");
                continue;
            }
        };
        match item {
            Item::Message(message) if message.seq.is_some() => numbers.extend(message.seq),
            Item::Message(_)
            | Item::Connected
            | Item::Absent { .. }
            | Item::Disconnected { .. }
            | Item::Live { .. } => {}
            other => told.push(format!("{other:?}")),
        }
    }
    (numbers, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_panics_is_counted_and_delivery_goes_on_without_a_hole() {
    let mut load = Load::begin();
    let beside = ["hub.sweep", "auth.follow", "telemetry.upkeep"];
    beside.iter().for_each(|point| arm(load.server.home(), &format!("{point} panic")));
    for (line, task) in [
        ("hub.fanout panic", "hub.fanout"),
        ("hub.fanout panic 1 3", "hub.fanout"),
        ("hub.drain panic", "hub.drain"),
        ("hub.drain panic 3", "hub.drain"),
        ("sink.hub panic", "sink.hub"),
        ("sink.bus panic", "sink.bus"),
        ("states.draft panic", "states.draft"),
        ("bus.listener panic", "bus.listener"),
        ("log.writer panic", "log.writer"),
        ("log.announce panic", "log.writer"),
        ("log.reader panic", "log.reader"),
        ("http.accept panic", "http.accept"),
        ("socketio.sweep panic", "socketio.sweep"),
        ("socketio.session panic", "socketio.session"),
        ("connection.commands panic", "connection.commands"),
        ("connection.command panic", "connection.command"),
        ("connection.answer panic", "connection.answer"),
        ("gate.command panic", "gate.command"),
        ("gate.once panic", "gate.once"),
        ("services.blocking panic", "services.blocking"),
    ] {
        load.survives(line, task).await;
    }
    arm(load.server.home(), "hub.reload panic 3");
    load.survives("sink.hub panic", "hub.reload").await;
    for task in beside {
        has_panicked(&load.server, task, 1.0).await;
    }
    let server = load.has_come_whole().await;
    eventually("ready", async || server.get("/health/ready", "").await.status == 200).await;
    assert!(!server.said().contains("panicked too often"), "{}", server.said());
}

#[tokio::test]
async fn a_command_that_panics_anywhere_is_answered_and_the_next_one_runs() {
    let server = start("");
    let watcher = Watcher::connect(&server, &server.admin()).await;
    for point in ["connection.command", "gate.command", "gate.once"] {
        arm(server.home(), &format!("{point} panic"));
        eventually("the fault is armed", async || server.said().contains(&format!("{point} panic"))).await;
        let asked = |id: String| json!({"commandId": id, "projectId": "none"});
        assert_eq!(watcher.refused("project.remove", asked(point.to_owned())).await, "internal", "{point}");
        assert_eq!(watcher.refused("project.remove", asked(format!("{point}-2"))).await, "not_found", "{point}");
    }
    arm(server.home(), "connection.commands panic");
    eventually("the fault is armed", async || server.said().contains("connection.commands panic")).await;
    watcher.done("project.list", json!({})).await;
    has_panicked(&server, "connection.commands", 1.0).await;
}

#[tokio::test]
async fn what_a_panic_left_undone_is_done_with_the_next_occasion() {
    let (home, environment) = home("[retention.session]\nmessages = 100\n");
    let room = Room::around(Server::start_in(home, &environment)).await;
    let (server, folder) = (&room.server, room.root.path());
    // States: the log asks again, so the channel is trimmed in the end.
    arm(server.home(), "states.save panic");
    server.publish(&room.token, notes("long", 1..=400)).await;
    has_panicked(server, "states.save", 1.0).await;
    eventually("the channel trimmed", async || {
        server.publish(&room.token, notes("long", 401..=401)).await;
        let page = server.get("/api/channels/session:long/events?after=0&limit=1", &room.token).await.json();
        page["first"].as_u64().is_some_and(|first| first > 1)
    })
    .await;
    // Repositories: the next change is seen.
    let git = std::process::Command::new("git").arg("init").current_dir(folder).output().expect("runs");
    assert!(git.status.success());
    let mut watcher = Watcher::connect(server, &room.token).await;
    watcher.done("subscribe", json!(format!("project:{}", room.project))).await;
    arm(server.home(), "git.refresh panic");
    watcher.done("fs.watch", json!({"projectId": room.project})).await;
    has_panicked(server, "git.refresh", 1.0).await;
    std::fs::write(folder.join("new"), "new").expect("writes");
    watcher.of_type("git.status.changed").await;
    // Programs: one start fails, the next one does not.
    arm(server.home(), "programs.start panic");
    eventually("the fault is armed", async || server.said().contains("programs.start panic")).await;
    let run = async || {
        let definition = "steps: {one: {command: [sh, -c, 'true']}}";
        let body = json!({"projectId": room.project, "definition": definition});
        let started = server.post("/api/workflows/runs", &room.token, body).await;
        assert_eq!(started.status, 201, "{}", started.text());
        let path = format!("/api/workflows/runs/{}", started.json()["runId"].as_str().expect("an id"));
        found("its end", async || {
            let state = server.get(&path, &room.token).await.json();
            (!state["endedAt"].is_null()).then(|| state["status"].clone())
        })
        .await
    };
    assert_eq!([run().await, run().await], ["failed", "completed"]);
    assert_eq!(panics(&server.url(), "programs.start").await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_panics_too_often_ends_the_server_with_its_name() {
    for task in ["log.writer", "hub.fanout"] {
        let mut server = start("drain_ms = 100\nrun.grace_ms = 100\n");
        let bearer = server.admin();
        let watcher = Watcher::connect(&server, &bearer).await;
        watcher.done("subscribe", json!("session:1")).await;
        arm(server.home(), &format!("{task} panic 1000"));
        // It refuses, accepts, or is gone already.
        let url = server.url();
        eventually("a panic", async || {
            drop(http::post_json(&url, "/api/events", Some(&bearer), &note("1", 1)).await);
            server.said().contains("a fault happens") && http::get(&url, "/health/live", None).await.is_err()
        })
        .await;
        let status = tokio::task::block_in_place(|| server.ended());
        let said = server.said();
        assert_eq!(status.code(), Some(1), "{said}");
        let named = said.lines().find(|line| line.contains("panicked too often"));
        assert!(named.is_some_and(|line| line.contains(task)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_in_time_while_the_log_takes_nothing_and_names_what_is_left() {
    let (home, environment) = home("drain_ms = 300\nrun.grace_ms = 300\n");
    let mut room = Room::around(Server::start_in(home, &environment)).await;
    let id = room.start("echo $$; trap '' TERM; sleep 600 & wait; sleep 600").await;
    let program = found("its process", async || {
        let output = room.output(&id).await;
        output.lines().find(|line| line.parse::<u32>().is_ok()).map(str::to_owned)
    })
    .await;
    arm(room.server.home(), "log.commit fail 1000000");
    arm(room.server.home(), "log.open fail 1000000");
    eventually("a log that takes nothing", async || {
        room.server.post("/api/events", &room.token, note("1", 1)).await.status == 503
    })
    .await;
    room.server.terminate();
    let status = tokio::task::block_in_place(|| room.server.ended());
    let said = room.server.said();
    assert_eq!(status.code(), Some(1), "{said}");
    let left = said.lines().find(|line| line.contains("stopped, but these did not end in time")).expect("names them");
    assert!(left.contains("sessions") && left.contains("session.run (1)"), "{left}");
    eventually("its program ended", async || !is_running(&program)).await;
}

#[test]
fn a_start_that_hangs_ends_with_a_signal() {
    for (line, at) in [
        ("start.open hang\n", "opening the log"),
        ("start.adopt hang\n", "bringing saved states along"),
        ("start.recover hang\n", "ending what"),
    ] {
        let (home, _) = home("");
        std::fs::write(home.path().join("faults"), line).expect("writes");
        let said = || std::fs::read_to_string(home.path().join("said")).unwrap_or_default();
        let mut command = tidings_with_faults(home.path());
        command.args(["serve", "--listen", "127.0.0.1:0"]).env(FAULTS, "faults").stdout(Stdio::null());
        let mut child =
            command.stderr(File::create(home.path().join("said")).expect("creates")).spawn().expect("starts");
        while !said().contains("a fault happens") {
            assert_eq!(child.try_wait().expect("asks"), None, "{}", said());
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), Signal::TERM).expect("is told");
        let status = child.wait().expect("ends");
        assert!(status.success() && said().contains(at), "{status}: {}", said());
    }
}

#[tokio::test]
async fn a_connection_that_died_with_the_accepting_task_is_the_only_one() {
    let server = start("");
    arm(server.home(), "http.accept panic");
    eventually("the fault is armed", async || server.said().contains("http.accept panic")).await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let _lost = TcpStream::connect(&address).expect("the system takes it");
    has_panicked(&server, "http.accept", 1.0).await;
    assert_eq!(server.get("/health/live", "").await.status, 200);
}
