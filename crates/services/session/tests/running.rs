//! What a running program's output becomes.

use serde_json::{Value, json};

use super::house::House;
use crate::session::contract::Stream;

#[tokio::test]
async fn a_session_is_told_from_its_start_to_its_end() {
    let house = House::new();
    let id = house.sh("echo out; echo err >&2; exit 3").await;
    assert_eq!(house.end(&id).await, ("session.completed".to_owned(), json!({"sessionId": id, "exitCode": 3})));
    let told = house.told(&id);
    assert_eq!(told[0].0, "session.started");
    assert_eq!(told[0].1["command"], json!(["sh", "-c", "echo out; echo err >&2; exit 3"]));
    let first = json!({"sessionId": id, "type": "system", "content": "Starting sh…\n", "offset": 0});
    assert_eq!(told[1], ("session.stream_output".to_owned(), first));
    assert_eq!(house.printed(&id, Stream::Stdout), "out\n");
    assert_eq!(house.printed(&id, Stream::Stderr), "err\n");
    assert_eq!(told.last().map(|(name, _)| name.as_str()), Some("session.completed"));
    house.close().await;
}

#[tokio::test]
async fn a_long_output_comes_whole_in_its_order_in_bounded_pieces_with_their_offsets() {
    let house = House::new();
    let id = house.sh("seq 200000").await;
    assert_eq!(house.end(&id).await.0, "session.completed");
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(house.printed(&id, Stream::Stdout) == expected);
    let mut offset = 0;
    for (_, data) in house.told(&id).into_iter().filter(|(_, data)| data["type"] == "stdout") {
        let bytes = data["content"].as_str().expect("text").len();
        assert!(bytes <= 16 * 1024);
        assert_eq!(data["offset"], json!(offset));
        offset += bytes as u64;
    }
    house.close().await;
}

#[tokio::test]
async fn what_is_not_a_whole_line_is_shown_while_the_program_waits() {
    let house = House::new();
    let id = house.sh("printf 'name? '; read name; echo \"hello $name\"").await;
    house.until_printed(&id, "name? ").await;
    house.say(&id, "Ada", None).await.expect("accepted");
    assert_eq!(house.end(&id).await.0, "session.completed");
    assert_eq!(house.printed(&id, Stream::Stdout), "name? hello Ada\n");
    house.close().await;
}

#[tokio::test]
async fn a_character_split_over_two_writes_comes_whole_and_bad_bytes_are_replaced() {
    let house = House::new();
    let id = house.sh(r"printf 'a\303'; printf go >&2; read x; printf '\251b\377c'").await;
    house.until("the first half", || house.printed(&id, Stream::Stderr).contains("go").then_some(())).await;
    house.until_printed(&id, "a").await;
    assert_eq!(house.printed(&id, Stream::Stdout), "a");
    house.say(&id, "on", None).await.expect("accepted");
    house.end(&id).await;
    assert_eq!(house.printed(&id, Stream::Stdout), "aéb\u{FFFD}c");
    house.close().await;
}

#[tokio::test]
async fn secrets_are_taken_out_of_output_prompts_and_messages_but_reach_the_program() {
    let house = House::new();
    let script =
        "read a; read b; printf 'password=hun'; printf 'ter2\\n'; test \"$a$b\" = token=abctoken=def && echo same";
    let request = json!({"projectId": "p1", "command": ["sh", "-c", script], "prompt": "token=abc"});
    let id = house.start(request).await;
    house.say(&id, "token=def", None).await.expect("accepted");
    house.end(&id).await;
    assert!(house.printed(&id, Stream::Stdout).ends_with("[redacted]\nsame\n"));
    let all = format!(
        "{:?}",
        house
            .told(&id)
            .into_iter()
            .map(|(_, mut data)| {
                data["command"] = json!(null);
                data
            })
            .collect::<Vec<_>>()
    );
    assert!(!all.contains("ter2") && !all.contains("=abc") && !all.contains("=def"), "{all}");
    house.close().await;
}

#[tokio::test]
async fn a_program_sees_the_allowed_environment_and_its_root_and_nothing_of_the_server() {
    let house = House::new();
    let id = house.sh("env | sort; pwd").await;
    house.end(&id).await;
    let root = house.dir.path().join("root").canonicalize().expect("a path");
    let root = root.to_string_lossy();
    let printed = house.printed(&id, Stream::Stdout);
    // A shell adds variables of its own; none of them is the server's.
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| !matches!(line.split('=').next(), Some("SHLVL" | "_" | "OLDPWD" | "SERVER_MARK")))
        .collect();
    assert_eq!(lines, ["PATH=/usr/local/bin:/usr/bin:/bin", &format!("PWD={root}"), &root]);
    house.close().await;
}

#[tokio::test]
async fn a_program_runs_as_the_configured_user_behind_the_configured_wrapper() {
    let id_of = |arguments: &[&str]| {
        let output = std::process::Command::new("id").args(arguments).output().expect("runs");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    // Only root may become somebody else; anybody may stay who they are.
    let me = id_of(&["-un"]);
    let user = if me == "root" { "nobody".to_owned() } else { me };
    let house = House::running(|_, programs| {
        programs.user = Some(user.clone());
        programs.wrapper = ["env", "WRAPPED={root}"].map(str::to_owned).to_vec();
    });
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(house.dir.path(), open).expect("permitted");
    let id = house.sh("id -u; id -g; echo $USER; test \"$WRAPPED\" = \"$PWD\" && echo same").await;
    house.end(&id).await;
    let expected = format!("{}\n{}\n{user}\nsame\n", id_of(&["-u", &user]), id_of(&["-g", &user]));
    assert_eq!(house.printed(&id, Stream::Stdout), expected);
    house.close().await;
}

#[tokio::test]
async fn a_heartbeat_comes_while_a_program_is_silent() {
    let house = House::with(|config| config.heartbeat_ms = 5);
    let id = house.sh("cat").await;
    let beat = async |what: &str, silent_ms: u64| {
        let found = || {
            let beat = house.memory.ephemeral().pop()?;
            let data: Value = serde_json::from_str(beat.payload.json()).expect("JSON");
            assert_eq!(beat.event_type.as_str(), "session.heartbeat");
            (data["silentMs"] == json!(silent_ms)).then_some(data)
        };
        house.until(what, found).await
    };
    let first = beat("a heartbeat", 0).await;
    assert_eq!(first, json!({"sessionId": id, "phase": "running", "elapsedMs": 0, "silentMs": 0}));
    house.clock.advance(std::time::Duration::from_secs(7));
    assert_eq!(beat("a later one", 7_000).await["elapsedMs"], json!(7_000));
    house.say(&id, "again", None).await.expect("accepted");
    beat("one after it spoke", 0).await;
    house.cancel(&id).await.expect("cancels");
    house.end(&id).await;
    house.close().await;
}
