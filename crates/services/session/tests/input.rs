//! What reaches a program's standard input.

use serde_json::json;
use tidings_core::Code;

use super::house::{House, agent};
use crate::session::{Stdin, contract::Stream};

#[tokio::test]
async fn the_prompt_and_then_the_messages_are_lines_on_standard_input_in_their_order() {
    let house = House::with(|config| drop(config.agents.insert("reader".into(), agent(&["cat"]))));
    let id = house.start(json!({"projectId": "p1", "agent": "reader", "prompt": "first"})).await;
    for number in 0..20 {
        house.say(&id, &format!("line {number}"), None).await.expect("accepted");
    }
    house.until_printed(&id, "line 19\n").await;
    let lines: String = (0..20).map(|number| format!("line {number}\n")).collect();
    assert_eq!(house.printed(&id, Stream::Stdout), format!("first\n{lines}"));
    let told = house.told(&id);
    let said: Vec<_> = told.iter().filter(|(name, _)| name == "session.user_message").collect();
    assert_eq!(said.len(), 20);
    assert_eq!(said[7].1["content"], "line 7");
    house.cancel(&id).await.expect("cancels");
    house.end(&id).await;
    house.close().await;
}

#[tokio::test]
async fn a_message_repeated_under_its_key_is_written_once_and_another_one_under_it_is_refused() {
    let house = House::new();
    let id = house.sh("while read line; do echo \"got $line\"; done").await;
    let first = house.say(&id, "one", Some("k1")).await.expect("accepted");
    assert_eq!(house.say(&id, "one", Some("k1")).await.expect("known"), first);
    assert_eq!(house.say(&id, "two", Some("k1")).await.expect_err("refused").code(), Code::Conflict);
    house.say(&id, "three", Some("k2")).await.expect("accepted");
    house.until_printed(&id, "got three\n").await;
    assert_eq!(house.printed(&id, Stream::Stdout), "got one\ngot three\n");
    let message = house.memory.messages(&id).into_iter().find(|message| message.id.is_some()).expect("a message");
    assert_eq!(message.id.as_deref(), Some("k1"));
    assert_eq!(message.by.as_ref().map(|user| user.as_str()), Some("u1"));
    house.cancel(&id).await.expect("cancels");
    house.end(&id).await;
    house.close().await;
}

#[tokio::test]
async fn many_messages_that_a_program_does_not_read_are_refused_and_do_not_hold_its_end() {
    let house = House::new();
    let id = house.sh("echo up; sleep 600").await;
    house.until_printed(&id, "up").await;
    let line = "x".repeat(30_000);
    let refused = loop {
        if let Err(error) = house.say(&id, &line, None).await {
            break error;
        }
    };
    assert_eq!(refused.code(), Code::Overloaded);
    house.cancel(&id).await.expect("cancels");
    assert_eq!(house.end(&id).await.0, "session.cancelled");
    house.close().await;
}

#[tokio::test]
async fn an_agent_whose_input_is_closed_after_the_prompt_reads_to_its_end() {
    let house = House::with(|config| {
        let mut sorter = agent(&["sort"]);
        sorter.stdin = Stdin::Close;
        config.agents.insert("sorter".into(), sorter);
    });
    let id = house.start(json!({"projectId": "p1", "agent": "sorter", "prompt": "b\na"})).await;
    assert_eq!(house.end(&id).await.0, "session.completed");
    assert_eq!(house.printed(&id, Stream::Stdout), "a\nb\n");
    house.close().await;
}

#[tokio::test]
async fn a_message_to_a_session_that_ended_or_is_not_there_is_refused() {
    let house = House::new();
    let id = house.sh("true").await;
    house.end(&id).await;
    assert_eq!(house.say(&id, "x", None).await.expect_err("ended").code(), Code::Conflict);
    let nobody = "nobody".parse().expect("an id");
    assert_eq!(house.say(&nobody, "x", None).await.expect_err("unknown").code(), Code::NotFound);
    house.close().await;
}
