//! How long a terminal lives: until its program exits, somebody closes it, nobody watches, or the server ends.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use serde_json::json;
use tidings_core::Code;

use super::house::{House, PATIENCE};

/// The id of a process that a script wrote to its terminal after `pid:`.
fn process(written: &str) -> String {
    let (_, rest) = written.split_once("pid:").expect("an id");
    rest.split_whitespace().next().expect("digits").to_owned()
}

fn is_there(process: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn until_gone(process: &str) {
    let gone = async {
        while is_there(process) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{process} is still there"));
}

#[tokio::test]
async fn a_closed_terminal_hangs_up_and_takes_the_jobs_of_its_shell_with_it() {
    let house = House::new();
    // A job of an interactive shell is a group of its own, and this one does not listen to a hang-up.
    let request = json!({"command": ["sh", "-im"], "env": {"PS1": "> "}});
    let id = house.try_open("u1", request).await.expect("opens");
    house.until_written(&id, "> ").await;
    house.keys(&id, "sh -c 'trap \"\" HUP TERM; while :; do sleep 1; done' & echo pi\"\"d:$!\r").await;
    house.until_written(&id, "pid:").await;
    let job = process(&house.written(&id));
    house.close_shell(&id).await.expect("closes");
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["reason"]), ("shell.exit", &json!("closed")));
    assert_eq!(
        house.memory.messages(&id).last().and_then(|message| message.by.clone()),
        Some("u2".parse().expect("an id"))
    );
    until_gone(&job).await;
    assert_eq!(house.close_shell(&id).await.expect_err("it has ended").code(), Code::Conflict);
    house.close().await;
}

#[tokio::test]
async fn a_program_that_does_not_listen_is_killed_after_the_grace() {
    let house = House::new();
    let id = house.sh("trap '' HUP TERM; echo pid:$$; while :; do sleep 600; done").await;
    house.until_written(&id, "pid:").await;
    house.close_shell(&id).await.expect("closes");
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["signal"], &data["reason"]), ("shell.exit", &json!(9), &json!("closed")));
    house.close().await;
}

#[tokio::test]
async fn what_a_program_leaves_in_its_terminal_ends_with_it() {
    let house = House::new();
    let id = house.sh("sh -c 'trap \"\" HUP; exec sleep 600' & echo pid:$!").await;
    assert_eq!(house.end(&id).await.1["code"], 0);
    until_gone(&process(&house.written(&id))).await;
    house.close().await;
}

#[tokio::test]
async fn a_terminal_that_nobody_watches_ends_and_a_watched_or_used_one_stays() {
    let house = House::with(|config| config.idle_ms = 200);
    house.memory.watching.store(1, Ordering::Relaxed);
    let id = house.sh("echo up; cat").await;
    house.until_written(&id, "up").await;
    // Several times as long as it may be alone: that is what is tested.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(house.shells.runs(&id));
    house.memory.watching.store(0, Ordering::Relaxed);
    for _ in 0..12 {
        house.keys(&id, "x").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(house.shells.runs(&id));
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["reason"]), ("shell.exit", &json!("idle")));
    house.close().await;
}

#[tokio::test]
async fn limits_are_for_a_user_a_project_and_the_server_and_what_ended_does_not_count() {
    let house = House::with(|config| (config.per_user, config.total) = (1, 2));
    let one = house.sh("cat").await;
    let refused = house.try_open("u1", json!({"command": ["cat"]})).await.expect_err("too many");
    assert_eq!(refused.code(), Code::Overloaded);
    assert!(refused.message().starts_with("this user has 1"), "{refused}");
    house.try_open("u2", json!({"command": ["cat"]})).await.expect("another user's");
    let refused = house.try_open("u3", json!({"command": ["cat"]})).await.expect_err("too many");
    assert!(refused.message().starts_with("the server has 2"), "{refused}");
    house.close_shell(&one).await.expect("closes");
    house.end(&one).await;
    house.sh("cat").await;
    house.close().await;
}

#[tokio::test]
async fn a_stop_of_the_server_ends_every_terminal_and_says_so() {
    let house = House::new();
    let (one, two) = (house.sh("cat").await, house.sh("trap '' HUP; sleep 600").await);
    house.shells.stop().await;
    for id in [one, two] {
        let (name, data) = house.end(&id).await;
        assert_eq!((name.as_str(), &data["code"]), ("shell.error", &json!("server_stopped")));
    }
    assert_eq!(house.try_open("u1", json!({})).await.expect_err("it stops").code(), Code::Draining);
    house.close().await;
}

#[tokio::test]
async fn what_a_killed_server_left_open_is_ended_once_by_the_next_one() {
    let mut house = House::new();
    let open = house.sh("sleep 600").await;
    let done = house.sh("true").await;
    house.end(&done).await;
    // The first life is stopped only after the second has recovered, as if it had been killed.
    let first = house.shells.clone();
    house.next_life();
    house.shells.recover().await.expect("recovers");
    house.shells.recover().await.expect("again changes nothing");
    let ends: Vec<_> = house.told(&open).into_iter().filter(|(name, _)| name == "shell.error").collect();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].1["code"], "server_stopped");
    assert_eq!(house.told(&done).iter().filter(|(name, _)| name == "shell.error").count(), 0);
    first.stop().await;
    house.close().await;
}
