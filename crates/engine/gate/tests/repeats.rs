//! A `commandId`: one effect and the same answer, however often it is asked.

use std::time::Duration;

use serde_json::json;
use tidings_core::{
    Code,
    log::{Allowances, EventLog},
    principal::Role,
};
use tidings_testkit::MemoryConfig;

use super::{Effects, code, run, things};
use crate::house::{House, of_role};

const SAY: &str = r#"{"id":"1","text":"x"}"#;

#[tokio::test]
async fn a_command_id_twice_is_one_effect_and_the_same_answer() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    for _ in 0..3 {
        assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})));
    }
    let inside = r#"{"commandId":"c1","id":"1","text":"x"}"#;
    assert_eq!(run(&house, &admin, "thing.say", inside, None).await, Ok(json!({"nth": 1})), "wherever it stands");
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c2")).await, Ok(json!({"nth": 2})));
    assert_eq!(run(&house, &admin, "thing.say", SAY, None).await, Ok(json!({"nth": 3})), "without one each counts");
    let text = r#"{"id":"1","text":"é\n","more":1}"#;
    for _ in 0..2 {
        assert_eq!(run(&house, &admin, "thing.say", text, Some("c3")).await, Ok(json!("é\n")));
    }
    house.stop().await;
}

#[tokio::test]
async fn askers_at_the_same_time_wait_for_the_one_effect() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    let ask = || run(&house, &admin, "thing.wait", SAY, Some("c1"));
    let let_go = async {
        effects.until_waiting(1).await;
        effects.leave.add_permits(10);
    };
    let (one, two, three, ()) = tokio::join!(ask(), ask(), ask(), let_go);
    for answer in [one, two, three] {
        assert_eq!(answer, Ok(json!({"nth": 1})));
    }
    assert_eq!(effects.count(), 1);
    house.stop().await;
}

#[tokio::test]
async fn another_command_under_the_same_id_is_a_conflict_whether_the_first_is_done_or_runs() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    let other = r#"{"id":"1","text":"y"}"#;
    let conflicts = || async {
        assert_eq!(code(run(&house, &admin, "thing.wait", other, Some("c1")).await), Some(Code::Conflict));
        assert_eq!(code(run(&house, &admin, "thing.say", SAY, Some("c1")).await), Some(Code::Conflict));
    };
    let meanwhile = async {
        effects.until_waiting(1).await;
        conflicts().await;
        effects.leave.add_permits(1);
    };
    let (first, ()) = tokio::join!(run(&house, &admin, "thing.wait", SAY, Some("c1")), meanwhile);
    assert_eq!(first, Ok(json!({"nth": 1})));
    conflicts().await;
    assert_eq!(effects.count(), 1);
    house.stop().await;
}

#[tokio::test]
async fn an_id_is_one_users_and_ends_after_a_day() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let (one, two) = (of_role("a", Role::Admin), of_role("b", Role::Admin));
    assert_eq!(run(&house, &one, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})));
    assert_eq!(run(&house, &two, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 2})));
    house.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(run(&house, &one, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})));
    // What is over is out of the memory of the gate: it asks the log.
    house.tasks_end("gate.once").await;
    house.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(run(&house, &one, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 3})));
    house.stop().await;
}

#[tokio::test]
async fn the_order_of_the_fields_and_white_space_do_not_make_another_command() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    let same = [
        r#"{"id":"1","text":"x","more":{"a":1,"b":[1,2]}}"#,
        r#"{"more":{"b":[1,2],"a":1},"text":"x","id":"1"}"#,
        " { \"text\" : \"\\u0078\", \"id\":\"1\",\n\"more\":{\"a\":1 ,\"b\":[1,2]} }",
        r#"{"text":"x","commandId":"c1","id":"1","more":{"a":1,"b":[1,2]}}"#,
    ];
    for input in same {
        assert_eq!(run(&house, &admin, "thing.say", input, Some("c1")).await, Ok(json!("x")), "{input}");
    }
    for input in [SAY, r#"{"id":"1","text":"x","more":null}"#] {
        assert_eq!(run(&house, &admin, "thing.say", input, Some("c2")).await, Ok(json!({"nth": 1})), "{input}");
    }
    for (input, expected) in [
        (r#"{"id":"1","text":"x","more":{"a":null}}"#, Ok(json!("x"))),
        (r#"{"id":"1","text":"x","more":{}}"#, Err(Code::Conflict)),
    ] {
        let answer = run(&house, &admin, "thing.say", input, Some("c3")).await;
        assert_eq!(answer.map_err(|error| error.code()), expected, "what is free JSON keeps its nulls: {input}");
    }
    let other = r#"{"id":"1","text":"x","more":{"a":1,"b":[2,1]}}"#;
    assert_eq!(code(run(&house, &admin, "thing.say", other, Some("c1")).await), Some(Code::Conflict));
    house.stop().await;
}

#[tokio::test]
async fn the_first_answer_outlives_a_restart() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})));
    let failed = run(&house, &admin, "thing.fail", r#"{"code":"conflict"}"#, Some("c2")).await;
    let house = house.restart(things(&effects)).await;
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})));
    assert_eq!(run(&house, &admin, "thing.fail", r#"{"code":"conflict"}"#, Some("c2")).await, failed);
    assert_eq!(effects.count(), 2);
    house.stop().await;
}

#[tokio::test]
async fn a_final_refusal_is_remembered_and_a_passing_one_may_be_tried_again() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    let mut expected = 0;
    for (input, once) in [
        (r#"{"code":"not_found"}"#, true),
        (r#"{"code":"forbidden"}"#, true),
        (r#"{"code":"unavailable"}"#, false),
        (r#"{"code":"rate_limited"}"#, false),
    ] {
        let first = run(&house, &admin, "thing.fail", input, Some(input)).await;
        // What is over is out of the gate's memory: the repeat asks the log.
        house.tasks_end("gate.once").await;
        assert_eq!(run(&house, &admin, "thing.fail", input, Some(input)).await, first, "{input}");
        house.tasks_end("gate.once").await;
        expected += if once { 1 } else { 2 };
        assert_eq!(effects.count(), expected, "{input}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_command_that_the_server_died_in_is_not_run_again_and_says_so() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    // What a server that was killed in the middle leaves: begun, and no answer.
    let asked = run(&house, &admin, "thing.wait", SAY, Some("c1"));
    tokio::select! {
        _ = asked => panic!("nobody let it go on"),
        () = effects.until_waiting(1) => {}
    }
    let log = house.log.reopen();
    house.log.close().await;
    effects.leave.add_permits(1);
    house.stop().await;
    let house = House::on(things(&effects), log);
    let error = run(&house, &admin, "thing.wait", SAY, Some("c1")).await.expect_err("the outcome is not known");
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(effects.count(), 1, "only the first");
    house.stop().await;
}

/// A log that keeps so little of answers that these are not kept.
fn forgetful() -> MemoryConfig {
    MemoryConfig { allowed: Allowances { answers_per_user: 40, ..Allowances::default() }, ..MemoryConfig::default() }
}

#[tokio::test]
async fn what_only_reads_is_not_remembered_and_runs_again() {
    let effects = Effects::new();
    let house = House::with(
        things(&effects),
        MemoryConfig {
            allowed: Allowances { commands_per_user: 1, ..Allowances::default() },
            ..MemoryConfig::default()
        },
    );
    let admin = of_role("a", Role::Admin);
    for nth in [1, 3, 5] {
        assert_eq!(run(&house, &admin, "thing.list", "{}", Some("c1")).await, Ok(json!({"nth": nth})));
        let inside = run(&house, &admin, "thing.list", r#"{"commandId":"c2"}"#, None).await;
        assert_eq!(inside, Ok(json!({"nth": nth + 1})), "each runs");
    }
    let long = "x".repeat(129);
    assert_eq!(code(run(&house, &admin, "thing.list", "{}", Some(&long)).await), Some(Code::InvalidData));
    // The ids of reads are free, and took no room.
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 7})));
    house.stop().await;
}

#[tokio::test]
async fn a_repeat_whose_answer_is_not_kept_is_told_how_it_ended_and_nothing_happens() {
    let effects = Effects::new();
    let house = House::with(things(&effects), forgetful());
    let admin = of_role("a", Role::Admin);
    let not_found = r#"{"code":"not_found"}"#;
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})));
    assert_eq!(code(run(&house, &admin, "thing.fail", not_found, Some("c2")).await), Some(Code::NotFound));
    // Each of these pushes the one before it out.
    for id in ["c3", "c4"] {
        assert!(run(&house, &admin, "thing.say", SAY, Some(id)).await.is_ok());
    }
    assert_eq!(effects.count(), 4);
    let house = house.restart(things(&effects)).await;
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c1")).await, Ok(json!({"repeated": true})));
    assert_eq!(code(run(&house, &admin, "thing.fail", not_found, Some("c2")).await), Some(Code::NotFound));
    assert_eq!(run(&house, &admin, "thing.say", SAY, Some("c4")).await, Ok(json!({"nth": 4})), "the newest is kept");
    let other = r#"{"id":"1","text":"y"}"#;
    assert_eq!(code(run(&house, &admin, "thing.say", other, Some("c1")).await), Some(Code::Conflict));
    assert_eq!(effects.count(), 4, "nothing ran again");
    house.stop().await;
}

#[tokio::test]
async fn beyond_the_bound_of_commands_a_new_id_is_overloaded_and_has_had_no_effect() {
    let effects = Effects::new();
    let allowed = Allowances { commands_per_user: 2, ..Allowances::default() };
    let house = House::with(things(&effects), MemoryConfig { allowed, ..MemoryConfig::default() });
    let (one, two) = (of_role("a", Role::Admin), of_role("b", Role::Admin));
    for id in ["c1", "c2"] {
        assert!(run(&house, &one, "thing.say", SAY, Some(id)).await.is_ok());
    }
    house.tasks_end("gate.once").await;
    assert_eq!(code(run(&house, &one, "thing.say", SAY, Some("c3")).await), Some(Code::Overloaded));
    assert_eq!(effects.count(), 2);
    assert_eq!(run(&house, &one, "thing.say", SAY, Some("c1")).await, Ok(json!({"nth": 1})), "a repeat is not new");
    assert_eq!(run(&house, &one, "thing.say", SAY, None).await, Ok(json!({"nth": 3})), "without an id it runs");
    assert_eq!(run(&house, &two, "thing.say", SAY, Some("c3")).await, Ok(json!({"nth": 4})), "nobody else is refused");
    house.stop().await;
}

#[tokio::test]
async fn the_fields_of_a_refusal_are_in_its_repeat() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    let first = run(&house, &admin, "thing.refuse", "{}", Some("c1")).await;
    assert_eq!(first.as_ref().err().map(|error| error.fields().len()), Some(1));
    house.tasks_end("gate.once").await;
    assert_eq!(run(&house, &admin, "thing.refuse", "{}", Some("c1")).await, first);
    house.stop().await;
}
