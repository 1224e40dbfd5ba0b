//! What goes into a terminal: once, in order, whoever types; and its size.

use serde_json::{Value, json};
use tidings_core::Code;

use super::house::House;
use crate::shell::TerminalId;

#[tokio::test]
async fn numbered_inputs_are_taken_once_in_their_order_and_a_hole_is_refused() {
    let house = House::new();
    let id = house.sh("stty -echo; echo ready; cat").await;
    house.until_written(&id, "ready").await;
    let typed = |seq: u64, data: &str| json!({"data": data, "inputSeq": seq});
    for (input, repeated) in
        [(typed(1, "a\r"), false), (typed(1, "a\r"), true), (typed(2, "b\r"), false), (typed(1, "x"), true)]
    {
        assert_eq!(house.input(&id, input).await.expect("is taken").repeated, repeated);
    }
    let refused = house.input(&id, typed(4, "d\r")).await.expect_err("a hole");
    assert_eq!(
        (refused.code(), refused.fields()["inputSeq"].as_str()),
        (Code::Conflict, "3 is the next one of this writer")
    );
    let other = json!({"data": "o\r", "inputSeq": 1, "writer": "another tab"});
    assert!(!house.input(&id, other).await.expect("counts for itself").repeated);
    assert!(!house.input(&id, typed(3, "c\r")).await.expect("is taken").repeated);
    house.keys(&id, "\u{4}").await;
    house.end(&id).await;
    assert_eq!(house.written(&id), "ready\r\na\r\nb\r\no\r\nc\r\n");
    house.close().await;
}

/// Types. Refused for now is not lost: the same input is sent again.
async fn insist(house: &House, id: &TerminalId, input: Value) {
    while let Err(error) = house.input(id, input.clone()).await {
        assert_eq!(error.code(), Code::Overloaded);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn much_that_is_typed_at_once_arrives_whole_and_in_order_while_output_comes_back() {
    let house = House::new();
    let id = house.sh("stty raw -echo; echo ready; exec head -c 600000").await;
    house.until_written(&id, "ready").await;
    let mut sent = String::new();
    for number in 0.. {
        let part: String = (0..2_000).map(|line| format!("{number}.{line} é\n")).collect();
        let part = &part[..part.floor_char_boundary(600_000 - sent.len()).min(part.len())];
        for piece in part.as_bytes().chunks(60_000) {
            let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, piece);
            let input = json!({"data": data, "encoding": "base64"});
            insist(&house, &id, input).await;
        }
        sent.push_str(part);
        // So little is left that the next line would not fit.
        if sent.len() >= 599_900 {
            break;
        }
    }
    insist(&house, &id, json!({"data": "#".repeat(600_000 - sent.len())})).await;
    house.end(&id).await;
    let written = house.written(&id);
    let back = written.split_once("ready").expect("the start").1.trim_start_matches(['\r', '\n']);
    assert!(back == sent.clone() + &"#".repeat(600_000 - sent.len()), "{} of {}", back.len(), sent.len());
    house.close().await;
}

#[tokio::test]
async fn the_last_size_wins_the_program_hears_of_it_and_the_event_stands_in_its_place() {
    let house = House::new();
    let id = house.sh("trap 'stty size' WINCH; echo ready; while :; do read line && exit; done").await;
    house.until_written(&id, "ready").await;
    house.resize(&id, 100, 30).await.expect("resizes");
    house.until_written(&id, "30 100").await;
    house.resize(&id, 100, 30).await.expect("the same again");
    house.resize(&id, 120, 40).await.expect("resizes");
    house.until_written(&id, "40 120").await;
    house.keys(&id, "x\r").await;
    house.end(&id).await;
    let sizes = |(_, data): (String, Value)| (data["cols"].clone(), data["rows"].clone());
    let told: Vec<_> = house.told(&id).into_iter().filter(|(name, _)| name == "shell.resized").map(sizes).collect();
    assert_eq!(told, [(json!(100), json!(30)), (json!(120), json!(40))]);
    let names: Vec<String> = house.told(&id).into_iter().map(|(name, _)| name).collect();
    let first = names.iter().position(|name| name == "shell.resized").expect("a size");
    assert!(names[..first].contains(&"shell.output".to_owned()));
    assert_eq!(house.resize(&id, 80, 24).await.expect_err("it has ended").code(), Code::Conflict);
    assert_eq!(house.input(&id, json!({"data": "x"})).await.expect_err("it has ended").code(), Code::Conflict);
    house.close().await;
}

#[tokio::test]
async fn a_size_is_told_once_although_the_log_says_of_it_that_it_failed() {
    let house = House::new();
    let id = house.sh("echo ready; read line").await;
    house.until_written(&id, "ready\r\n").await;
    house.memory.doubt(1);
    house.resize(&id, 100, 30).await.expect("it was kept");
    house.memory.lose(1);
    house.resize(&id, 120, 40).await.expect("it is told again");
    house.memory.doubt(1);
    house.resize(&id, 100, 30).await.expect("it was kept, as the first");
    house.keys(&id, "x\r").await;
    house.end(&id).await;
    let told = house.told(&id).into_iter().filter(|(name, _)| name == "shell.resized");
    let told: Vec<_> = told.map(|(_, data)| (data["cols"].clone(), data["rows"].clone())).collect();
    assert_eq!(told, [(json!(100), json!(30)), (json!(120), json!(40)), (json!(100), json!(30))]);
    house.close().await;
}

#[tokio::test]
async fn a_program_that_does_not_read_fills_its_terminal_and_then_input_is_refused_not_lost() {
    let house = House::new();
    let id = house.sh("stty raw -echo; echo ready; sleep 600").await;
    house.until_written(&id, "ready").await;
    let mut taken = 0;
    let refused = loop {
        match house.input(&id, json!({"data": "x".repeat(60_000)})).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000, "it is bounded");
    };
    assert_eq!(refused.code(), Code::Overloaded);
    house.close_shell(&id).await.expect("closes");
    assert_eq!(house.end(&id).await.0, "shell.exit");
    house.close().await;
}
