//! Whose programs end with a server: those that got away from it, and none of another directory's.
//!
//! Guarantees: every program that is started here has ended with its test.
//! They are not the tests of what a session says of its end: those are beside sessions.

use std::process::Command;

use crate::{
    server::{Server, eventually},
    sessions::{Room, is_running},
};

/// The processes that a session's program names: `up=` and an id, each in a line of its own.
async fn named(room: &Room, id: &str, count: usize) -> Vec<String> {
    let ids = async || {
        let output = room.output(id).await;
        let lines = output.lines().filter_map(|line| line.trim().strip_prefix("up="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("the ids of its processes", async || ids().await.len() == count).await;
    ids().await
}

#[tokio::test]
async fn a_copy_of_a_living_servers_directory_starts_and_ends_nothing_of_the_original() {
    let mut room = Room::open("drain_ms = 500\n").await;
    let id = room.start("echo up=$$; exec sleep 600").await;
    let processes = named(&room, &id, 1).await;
    let home = tempfile::tempdir().expect("a directory");
    let copied = Command::new("cp").arg("-a").arg(room.server.data_dir()).arg(home.path()).status();
    assert!(copied.expect("runs").success());
    assert!(std::fs::read_dir(home.path().join("data/run")).expect("a folder").count() > 0, "it names the program");
    let mut copy = Server::start_in(home, &[]);
    assert!(is_running(&processes[0]), "{}", copy.said());
    assert_eq!(room.state(&id).await["status"], "running");
    copy.stop();
    assert!(is_running(&processes[0]), "{}", copy.said());
    room.server.kill();
    room.server.start_again();
    assert!(!is_running(&processes[0]), "the original's next start ends it");
}

#[tokio::test]
async fn a_stop_ends_also_what_made_a_session_of_its_own_and_counts_it() {
    let mut room = Room::open("drain_ms = 500\n").await;
    let id = room.start("setsid sh -c 'echo up=$$; exec sleep 600' & echo up=$$; exec sleep 600").await;
    let processes = named(&room, &id, 2).await;
    assert!(processes.iter().all(|id| is_running(id)), "{processes:?}");
    room.server.stop();
    eventually("the end of both", async || !processes.iter().any(|id| is_running(id))).await;
    let said = room.server.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("had left the group")).collect();
    assert!(lines.len() == 1 && lines[0].contains("killed=1"), "{said}");
}
