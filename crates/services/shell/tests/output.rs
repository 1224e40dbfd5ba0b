//! What comes out of a terminal: whole, in order, decoded, held back, and where a program runs.

use serde_json::json;
use tidings_core::Code;

use super::house::{House, PATIENCE};
use crate::shell::ShellState;

#[tokio::test]
async fn a_program_has_a_real_terminal_of_its_size_with_its_environment_in_its_directory() {
    let house = House::new();
    std::fs::create_dir(house.dir.path().join("root/a\nb")).expect("a directory");
    let script =
        "test -t 0 && test -t 1 && test -t 2 && stty size; echo \"$TERM:$WHO:${TIDINGS_SECRET-none}\"; pwd; exit 3";
    let request = json!({"command": ["sh", "-c", script], "cwd": "a\nb", "cols": 91, "rows": 17, "env": {"WHO": "me"}});
    let id = house.try_open("u1", request).await.expect("opens");
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["code"], &data["signal"]), ("shell.exit", &json!(3), &json!(null)));
    assert_eq!(data["reason"], "exited");
    let written = house.written(&id);
    assert!(written.starts_with("17 91\r\nxterm-256color:me:none\r\n"), "{written:?}");
    assert!(written.ends_with("/root/a\r\nb\r\n"), "{written:?}");
    house.close().await;
}

#[tokio::test]
async fn everything_that_was_written_is_told_in_its_order_however_fast_the_program_ends() {
    let house = House::new();
    for script in ["seq 1 30000", "seq 1 30000; kill -9 $$", "seq 1 30000 & wait"] {
        let id = house.sh(script).await;
        house.end(&id).await;
        let expected: String = (1..=30_000).map(|number| format!("{number}\r\n")).collect();
        let written = house.written(&id);
        assert!(written == expected, "{script}: {} of {} bytes", written.len(), expected.len());
    }
    house.close().await;
}

#[tokio::test]
async fn a_character_is_never_cut_and_what_is_none_is_replaced() {
    let house = House::new();
    let id = house.sh("stty -opost; for i in $(seq 1 20000); do printf '界🦀é'; done; printf '\\377x'").await;
    house.end(&id).await;
    let expected = "界🦀é".repeat(20_000) + "\u{FFFD}x";
    assert!(house.written(&id) == expected, "{} bytes", house.written(&id).len());
    house.close().await;
}

#[tokio::test]
async fn a_program_that_floods_waits_while_the_log_takes_nothing_and_goes_on_after() {
    let house = House::new();
    let id = house.sh("echo pid:$$; exec yes").await;
    house.until_written(&id, "y\r\ny\r\n").await;
    let written = house.written(&id);
    let process = written.trim_start_matches("pid:").lines().next().expect("an id").to_owned();
    house.memory.hold(true);
    let before = house.memory.messages(&id).len();
    // It stands in the middle of a write, since nobody reads its terminal.
    let stands = async {
        let stat = || std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
        while !stat().contains(") S ") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, stands).await.expect("it waits");
    assert!(house.memory.messages(&id).len() <= before + 1, "only what was on its way is told");
    house.keys(&id, "\u{3}").await;
    house.memory.hold(false);
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["signal"]), ("shell.exit", &json!(2)));
    house.close().await;
}

#[tokio::test]
async fn output_that_the_log_refuses_for_a_while_is_told_once_and_whole() {
    let house = House::new();
    let id = house.sh("read go; seq 1 500; exit 0").await;
    house.until("the start", || (!house.told(&id).is_empty()).then_some(())).await;
    house.memory.lose(3);
    house.keys(&id, "x\r").await;
    house.end(&id).await;
    let expected: String = (1..=500).map(|number| format!("{number}\r\n")).collect();
    assert_eq!(house.written(&id), format!("x\r\n{expected}"));
    house.close().await;
}

#[tokio::test]
async fn the_state_is_the_screen_and_outlives_the_program() {
    let house = House::new();
    let id = house.sh("printf '\\033]2;the title\\007\\033[2;3Hhello'").await;
    house.end(&id).await;
    let view = house.shells.ports.states.get("shell", id.as_str()).await.expect("reads").expect("is there");
    let state = view.state::<ShellState>().expect("a terminal's");
    let shown = state.display.shown();
    assert_eq!((state.title.as_deref(), state.name.as_deref()), (Some("the title"), Some("sh")));
    assert!(shown.screen.contains("hello"));
    assert_eq!((shown.cursor.x, shown.cursor.y), (7, 1));
    let json: serde_json::Value = serde_json::from_str(view.state.snapshot().get()).expect("JSON");
    assert_eq!((&json["status"], &json["cols"], &json["rows"]), (&json!("exited"), &json!(80), &json!(24)));
    house.close().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_and_a_directory_outside_are_refused() {
    let house = House::new();
    let id = house.try_open("u1", json!({"command": ["no-such-program"]})).await.expect("opens");
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["code"]), ("shell.error", &json!("spawn_failed")));
    assert!(data["message"].as_str().is_some_and(|told| told.contains("'no-such-program'")), "{data}");
    std::os::unix::fs::symlink("/etc", house.dir.path().join("root/out")).expect("a link");
    for cwd in ["..", "/etc", "out", "missing"] {
        let refused = house.try_open("u1", json!({"cwd": cwd})).await.expect_err(cwd);
        assert_eq!(refused.code(), Code::InvalidData, "{cwd}");
    }
    std::fs::remove_dir_all(house.dir.path().join("root")).expect("removes");
    assert_eq!(house.try_open("u1", json!({})).await.expect_err("gone").code(), Code::Conflict);
    house.close().await;
}
