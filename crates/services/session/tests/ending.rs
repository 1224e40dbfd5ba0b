//! How sessions end: each once, whoever ends them.

use serde_json::json;
use tidings_core::Code;

use super::house::House;
use crate::session::contract::Stream;

/// Whether a process is there and no zombie.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// A process that was sent a KILL is gone soon, and nothing tells when.
async fn until_gone(pid: &str) {
    let gone = async {
        while runs(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("the process is gone");
}

#[tokio::test]
async fn cancelling_asks_the_program_to_end_and_what_it_still_says_is_told() {
    let house = House::new();
    let id = house.sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done").await;
    house.until_printed(&id, "up").await;
    house.cancel(&id).await.expect("cancels");
    assert_eq!(house.end(&id).await, ("session.cancelled".to_owned(), json!({"sessionId": id})));
    assert_eq!(house.printed(&id, Stream::Stdout), "up\nbye\n");
    let last = house.memory.messages(&id).pop().expect("an end");
    assert_eq!(last.by.as_ref().map(|user| user.as_str()), Some("u2"));
    assert_eq!(house.cancel(&id).await.expect_err("ended").code(), Code::Conflict);
    house.close().await;
}

#[tokio::test]
async fn a_program_that_does_not_listen_is_killed_after_the_grace() {
    let house = House::running(|_, programs| programs.grace_ms = 30);
    let id = house.sh("trap '' TERM; echo up; while :; do sleep 1; done").await;
    house.until_printed(&id, "up").await;
    house.cancel(&id).await.expect("cancels");
    house.cancel(&id).await.expect("a second time changes nothing");
    assert_eq!(house.end(&id).await.0, "session.cancelled");
    house.close().await;
}

#[tokio::test]
async fn cancels_that_race_with_the_exit_give_one_end() {
    let house = House::new();
    for _ in 0..30 {
        let id = house.sh("exit 0").await;
        // Either it was in time, or it is told that it was not.
        if let Err(error) = house.cancel(&id).await {
            assert_eq!(error.code(), Code::Conflict);
        }
        house.end(&id).await;
    }
    house.close().await;
}

#[tokio::test]
async fn children_that_keep_the_pipe_open_do_not_keep_the_session_open_and_are_killed() {
    let house = House::new();
    let id = house.sh("sleep 600 & echo $!").await;
    assert_eq!(house.end(&id).await.0, "session.completed");
    until_gone(house.printed(&id, Stream::Stdout).trim()).await;
    house.close().await;
}

#[tokio::test]
async fn a_child_that_left_the_group_with_the_pipe_does_not_keep_the_session_open() {
    let house = House::new();
    let id = house.sh("setsid sleep 600 & echo $!; sleep 0.1").await;
    assert_eq!(house.end(&id).await.0, "session.completed");
    let pid = house.printed(&id, Stream::Stdout).trim().to_owned();
    let killed = std::process::Command::new("kill").args(["-9", &pid]).status().expect("runs");
    assert!(killed.success());
    house.close().await;
}

#[tokio::test]
async fn what_was_printed_just_before_the_exit_is_all_told() {
    let house = House::new();
    for _ in 0..20 {
        let id = house.sh("head -c 60000 /dev/zero | tr '\\0' x").await;
        house.end(&id).await;
        assert_eq!(house.printed(&id, Stream::Stdout).len(), 60_000);
    }
    house.close().await;
}

#[tokio::test]
async fn a_program_killed_by_somebody_else_is_an_error_with_the_signal() {
    let house = House::new();
    let id = house.sh("kill -9 $$").await;
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["code"], &data["signal"]), ("session.error", &json!("killed"), &json!(9)));
    house.close().await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_error() {
    let house = House::new();
    let id = house.start(json!({"projectId": "p1", "command": ["/no/such/program"]})).await;
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["code"]), ("session.error", &json!("spawn_failed")));
    let told = data["message"].as_str().expect("a message");
    assert!(told.contains("'/no/such/program', or an interpreter that it names, is not there"), "{told}");
    let id = house.start(json!({"projectId": "p1", "command": ["/etc/passwd", "hunter2"]})).await;
    let told = house.end(&id).await.1["message"].to_string();
    assert!(told.contains("'/etc/passwd' may not be run") && !told.contains("hunter2"), "{told}");
    house.close().await;
}

#[tokio::test]
async fn a_program_that_runs_too_long_is_ended() {
    let house = House::with(|config| config.limits.wall_ms = 50);
    let id = house.sh("sleep 600").await;
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["code"], &data["signal"]), ("session.error", &json!("timeout"), &json!(15)));
    house.close().await;
}

#[tokio::test]
async fn a_program_that_prints_too_much_is_ended_and_exactly_so_much_is_told() {
    let house = House::with(|config| config.limits.output_bytes = 100_001);
    for script in ["yes", "yes & exec sleep 600", "head -c 110000 /dev/zero | tr '\\0' x"] {
        let id = house.sh(script).await;
        let (name, data) = house.end(&id).await;
        assert_eq!((name.as_str(), &data["code"]), ("session.error", &json!("output_limit")), "{script}");
        assert_eq!(house.printed(&id, Stream::Stdout).len(), 100_001, "{script}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_stop_ends_every_session_and_lets_no_new_one_in() {
    let house = House::new();
    let (one, two) = (house.sh("echo up; sleep 600").await, house.sh("echo up; cat").await);
    house.until_printed(&one, "up").await;
    house.sessions.stop().await;
    for id in [&one, &two] {
        let (name, data) = house.end(id).await;
        assert_eq!((name.as_str(), &data["code"]), ("session.error", &json!("server_stopped")));
    }
    let refused = house.try_start("u1", json!({"projectId": "p1", "command": ["true"]})).await;
    assert_eq!(refused.expect_err("refused").code(), Code::Draining);
    house.close().await;
}
