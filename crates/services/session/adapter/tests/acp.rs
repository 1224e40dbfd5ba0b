//! Tests of the adapter of the Agent Client Protocol, one for each of its traps.

use super::{
    super::{Activity, Step},
    play::{Play, Say, assert_steps, brief, context, play},
};
use crate::session::AdapterKind::Acp;

const PROMPT: Say = Say::Prompt("look");

#[test]
fn two_turns_over_the_protocol_become_events() {
    let steps = play(Acp, "acp_turn", &[PROMPT, Say::Answer("yes", None), Say::Message("again")]);
    let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Raw(_))).collect();
    assert_steps(
        &steps,
        &[
            "agent sess_1 large 0.3.0 0",
            r#"thinking message-1.0+0 "Hm""#,
            r#"thinking message-1.0+2 "m.""#,
            r#"text message-1.1+0 "I ""#,
            r#"text message-1.1+2 "look.""#,
            r#"message message-1.0 assistant [{"text":"Hmm.","type":"thinking"}]"#,
            r#"message message-1.1 assistant [{"text":"I look.","type":"text"}]"#,
            "progress 1/2 Read Completed, Run InProgress",
            r#"tool call_001 Run the tests {"command":"cargo test"}"#,
            r#"asks permission-1 Run the tests {"command":"cargo test"} yes/no Some("call_001")"#,
            r#"resolved permission-1 Allowed Some("yes")"#,
            r#"done call_001 Success "1 passed""#,
            r#"text m9.0+0 "Done.""#,
            r#"message m9.0 assistant [{"text":"Done.","type":"text"}]"#,
            "usage 9 5 2 0 Some(0.25)",
            r#"turn Success None Some("Done.") None"#,
            "usage 0 0 0 0 Some(0.5)",
            "turn Success None None None",
        ],
    );
}

#[test]
fn what_is_no_event_of_ours_is_kept() {
    let steps = play(Acp, "acp_turn", &[PROMPT, Say::Answer("yes", None), Say::Message("again")]);
    let raw: Vec<String> = steps.iter().filter(|step| matches!(step, Step::Raw(_))).map(brief).collect();
    for (raw, kind) in
        raw.iter().zip(["available_commands_update", "fs/read_text_file", "usage_update", "usage_update"])
    {
        assert!(raw.starts_with("raw acp ") && raw.contains(kind), "{raw}");
    }
    assert_eq!(raw.len(), 4);
}

#[test]
fn a_refusal_is_an_error_with_its_reason() {
    let steps = play(Acp, "acp_refusal", &[PROMPT]);
    assert_steps(&steps, &["agent s - - 0", r#"turn Error Some("refusal") None None"#]);
}

#[test]
fn an_interrupt_withdraws_what_waits_and_the_agent_can_be_asked_again() {
    let steps = play(Acp, "acp_cancelled", &[PROMPT, Say::Interrupt, Say::Message("again")]);
    assert_steps(
        &steps[1..],
        &[
            r#"tool c1 Delete {"kind":"delete"}"#,
            r#"asks permission-1 Delete {"kind":"delete"} ok Some("c1")"#,
            "resolved permission-1 Withdrawn None",
            "done c1 Error null",
            r#"turn Cancelled Some("cancelled") None None"#,
            r#"turn Error Some("error") Some("Internal error: the model is gone") None"#,
        ],
    );
}

#[test]
fn an_update_before_its_call_starts_it_and_surprises_lose_nothing() {
    let steps = play(Acp, "acp_early_update", &[PROMPT, Say::Answer("no", None)]);
    let briefs: Vec<String> = steps[1..].iter().map(brief).filter(|brief| !brief.starts_with("raw")).collect();
    let expected = [
        r#"tool c1 Read a {"kind":"read"}"#,
        r#"done c1 Success {"text":"x"}"#,
        r#"tool c2 Delete a {"kind":"delete"}"#,
        r#"asks permission-1 Delete a {"kind":"delete"} ok/no Some("c2")"#,
        r#"resolved permission-1 Rejected Some("no")"#,
        "done c2 Blocked null",
        "tool c3 Move a null",
        r#"asks permission-2 Move a null ok Some("c3")"#,
        "resolved permission-2 Withdrawn None",
        r#"text m1.0+0 "Dra""#,
        r#"message m1.0 assistant [{"text":"Final.","type":"text"}]"#,
        r#"message message-1.0 assistant [{"kind":"image","type":"other"}]"#,
        "done c3 Error null",
        r#"turn Error Some("max_tokens") Some("Final.") None"#,
    ];
    assert_eq!(briefs.join("\n"), expected.join("\n"));
    assert_eq!(steps.len() - 1, expected.len() + 2, "brand_new and the picture are kept");
}

#[test]
fn a_session_that_goes_on_is_loaded_and_not_told_again() {
    let mut context = context(&[]);
    context.resume = Some("old".to_owned());
    let mut play = Play::new(Acp, context, &[PROMPT]);
    play.script("acp_resumed");
    assert_steps(&play.end(), &["agent old - - 0", "turn Success None None None"]);
}

#[test]
fn an_agent_that_makes_no_session_fails_each_turn_and_is_idle() {
    let mut play = Play::new(Acp, context(&[]), &[PROMPT]);
    play.script("acp_logged_out");
    assert_eq!(play.adapter.activity(), Activity::Idle);
    let again = play.adapter.message("m2", "again");
    assert_steps(&again, &[r#"turn Error Some("refused") Some("Authentication required") None"#]);
    assert_steps(&play.end()[1..], &[r#"turn Error Some("refused") Some("Authentication required") None"#]);
}

#[test]
fn an_agent_of_another_version_is_not_spoken_with() {
    let mut play = Play::new(Acp, context(&[]), &[PROMPT]);
    let steps = play.adapter.line(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":9}}"#);
    assert!(matches!(&steps[..], [Step::Raw(_), Step::TurnCompleted(_)]), "{steps:?}");
}

#[test]
fn a_turn_that_is_interrupted_before_the_agent_was_asked_is_never_asked() {
    let mut play = Play::new(Acp, context(&[]), &[PROMPT]);
    assert_steps(&play.adapter.interrupt(), &[r#"turn Cancelled Some("cancelled") None None"#]);
    let greeted = play.adapter.line(r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}"#);
    assert!(matches!(&greeted[..], [Step::Write(line)] if line.contains("session/new")), "{greeted:?}");
    let opened = play.adapter.line(r#"{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s"}}"#);
    assert_steps(&opened, &["agent s - - 0"]);
    assert_eq!(play.adapter.activity(), Activity::Idle);
}
