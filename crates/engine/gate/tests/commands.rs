//! Commands: parsed, judged, and only then run, to their end.

use serde_json::{json, value::RawValue};
use tidings_core::{Code, command::Calls, principal::Role};

use super::{super::GateCalls, Effects, code, run, things};
use crate::house::{House, of_role, somebody};

#[tokio::test]
async fn refused_input_says_which_field_and_has_no_effect() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    let table = [
        (r#"[]"#, Code::BadRequest, ""),
        (r#""x""#, Code::BadRequest, ""),
        ("", Code::BadRequest, ""),
        (r#"{"id":"1","text":"x""#, Code::BadRequest, ""),
        (r#"{"id":"1"}"#, Code::InvalidData, "text"),
        (r#"{"id":"1","text":"x","txet":"x"}"#, Code::InvalidData, "txet"),
        (r#"{"id":"1","text":""}"#, Code::InvalidData, "text"),
        (r#"{"id":"1","text":"far too long"}"#, Code::InvalidData, "text"),
        (r#"{"id":"1:2","text":"x"}"#, Code::InvalidData, "id"),
        (r#"{"id":"1","text":7}"#, Code::InvalidData, "text"),
        (r#"{"id":"1","text":"x","commandId":7}"#, Code::InvalidData, "commandId"),
        (r#"{"id":"1","text":"x","commandId":""}"#, Code::InvalidData, "commandId"),
    ];
    for (input, expected, field) in table {
        let error = run(&house, &admin, "thing.say", input, None).await.expect_err(input);
        assert_eq!(error.code(), expected, "{input}: {error}");
        assert_eq!(error.fields().keys().next().map_or("", String::as_str), field, "{input}");
        assert!(!error.to_string().contains("far too long"), "a rejected value is not repeated: {error}");
    }
    let long = "x".repeat(129);
    let fine = r#"{"id":"1","text":"x"}"#;
    assert_eq!(code(run(&house, &admin, "thing.say", fine, Some(&long)).await), Some(Code::InvalidData));
    assert_eq!(effects.count(), 0);
    assert_eq!(run(&house, &admin, "thing.say", fine, Some(&long[..128])).await, Ok(json!({"nth": 1})));
    house.stop().await;
}

#[tokio::test]
async fn what_is_forbidden_has_no_effect_and_its_id_is_not_used_up() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let (stranger, friend) = (somebody("u", &["thing:*=subscribe"]), somebody("u", &["thing:*=command"]));
    let input = r#"{"id":"1","text":"x","commandId":"c1"}"#;
    for _ in 0..2 {
        assert_eq!(code(run(&house, &stranger, "thing.say", input, None).await), Some(Code::Forbidden));
    }
    assert_eq!(effects.count(), 0);
    assert_eq!(run(&house, &friend, "thing.say", input, None).await, Ok(json!({"nth": 1})));
    assert_eq!(code(run(&house, &stranger, "thing.say", input, None).await), Some(Code::Forbidden));
    house.stop().await;
}

#[tokio::test]
async fn a_command_whose_asker_goes_away_still_finishes() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    for id in [None, Some("c1")] {
        let before = effects.count();
        let input = r#"{"id":"1","text":"x"}"#;
        tokio::select! {
            _ = run(&house, &admin, "thing.wait", input, id) => panic!("nobody let it go on"),
            () = effects.until_waiting(before + 1) => {}
        }
        assert_eq!(effects.count(), before);
        effects.leave.add_permits(1);
        if id.is_some() {
            // The repeat gets the answer of the one whose asker is gone.
            assert_eq!(run(&house, &admin, "thing.wait", input, id).await, Ok(json!({"nth": 2})));
        } else {
            house.tasks_end("gate.command").await;
        }
        assert_eq!(effects.count(), before + 1);
    }
    house.stop().await;
}

#[tokio::test]
async fn a_command_that_panics_is_an_internal_error_and_the_next_one_works() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    assert_eq!(code(run(&house, &admin, "thing.panic", "{}", None).await), Some(Code::Internal));
    assert_eq!(code(run(&house, &admin, "thing.panic", "{}", Some("c")).await), Some(Code::Internal));
    assert_eq!(run(&house, &admin, "thing.list", "{}", None).await, Ok(json!({"nth": 1})));
    house.stop().await;
}

#[tokio::test]
async fn a_draining_gate_refuses_work_and_still_answers_questions() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let admin = of_role("a", Role::Admin);
    house.gate.drain();
    let input = r#"{"id":"1","text":"x"}"#;
    assert_eq!(code(run(&house, &admin, "thing.say", input, None).await), Some(Code::Draining));
    assert_eq!(code(run(&house, &admin, "thing.say", input, Some("c1")).await), Some(Code::Draining));
    assert_eq!(code(run(&house, &admin, "thing.own", r#"{"project":"p"}"#, None).await), Some(Code::Draining));
    assert_eq!(effects.count(), 0);
    assert_eq!(run(&house, &admin, "thing.list", "{}", None).await, Ok(json!({"nth": 1})));
    house.stop().await;
}

#[tokio::test]
async fn input_as_names_and_values_is_judged_the_same() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let command = house.gate.command("thing.own").expect("a row").clone();
    let pairs = |name: &str| vec![(name.to_owned(), "p".to_owned())];
    let (admin, nobody) = (of_role("a", Role::Admin), somebody("u", &["*=command"]));
    assert_eq!(code(house.gate.run_pairs(&admin, &command, &pairs("porject"), None).await), Some(Code::InvalidData));
    assert_eq!(code(house.gate.run_pairs(&nobody, &command, &pairs("project"), None).await), Some(Code::Forbidden));
    assert_eq!(effects.count(), 0);
    assert!(house.gate.run_pairs(&admin, &command, &pairs("project"), None).await.is_ok());
    house.stop().await;
}

#[tokio::test]
async fn services_call_commands_of_others_through_the_same_gate() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let calls = GateCalls::default();
    let input = || RawValue::from_string(r#"{"id":"1","text":"x"}"#.to_owned()).expect("JSON");
    let admin = || of_role("a", Role::Admin);
    assert_eq!(code(calls.call(admin(), "thing.say", input()).await), Some(Code::Unavailable), "not bound yet");
    calls.bind(&house.gate);
    assert_eq!(code(calls.call(admin(), "thing.fly", input()).await), Some(Code::UnknownCommand));
    assert_eq!(code(calls.call(somebody("u", &[]), "thing.say", input()).await), Some(Code::Forbidden));
    assert_eq!(effects.count(), 0);
    assert!(calls.call(admin(), "thing.say", input()).await.is_ok());
    house.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_commands_running_whether_anybody_waits_for_them_or_not() {
    let effects = Effects::new();
    let house = House::new(things(&effects));
    let (ada, bob) = (of_role("ada", Role::Admin), of_role("bob", Role::Admin));
    let (input, most) = (r#"{"id":"1","text":"x"}"#, 8);
    for number in 0..most {
        // With an id or without, and every asker goes away.
        let id = (number % 2 == 0).then(|| format!("c{number}"));
        tokio::select! {
            _ = run(&house, &ada, "thing.wait", input, id.as_deref()) => panic!("nobody let it go on"),
            () = effects.until_waiting(number + 1) => {}
        }
    }
    for id in [None, Some("more")] {
        let refused = run(&house, &ada, "thing.say", input, id).await.expect_err("too many");
        assert_eq!((refused.code(), refused.retry_after_ms()), (Code::RateLimited, Some(1000)));
    }
    assert_eq!(run(&house, &bob, "thing.say", input, None).await, Ok(json!({"nth": 1})), "others are served");
    effects.leave.add_permits(most);
    house.tasks_end("gate.command").await;
    assert_eq!(effects.count(), most + 1);
    // What was refused has had no effect, and its id is free.
    assert_eq!(run(&house, &ada, "thing.say", input, Some("more")).await, Ok(json!({"nth": most + 2})));
    house.stop().await;
}
