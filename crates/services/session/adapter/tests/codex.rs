//! Tests of the adapter of Codex, one for each of its traps.

use super::{
    super::{Activity, Step},
    play::{Play, Say, assert_steps, context, play},
};
use crate::session::AdapterKind::Codex;

#[test]
fn a_whole_turn_of_codex_becomes_events() {
    assert_steps(
        &play(Codex, "codex_turn", &[Say::Prompt("look")]),
        &[
            r#"output "Reading additional input from stdin...\n""#,
            "agent 01a01457 - - 0",
            r#"message 01a01457.1.item_0.0 assistant [{"text":"Look first.","type":"thinking"}]"#,
            r#"tool 01a01457.1.item_1 command_execution {"command":"cargo test"}"#,
            r#"done 01a01457.1.item_1 Success "running 1 test\nok\n" code 0"#,
            "progress 1/2 Read Completed, Write Pending",
            r#"tool 01a01457.1.item_3 file_change {"changes":[{"kind":"add","path":"/p/note.txt"}]}"#,
            "done 01a01457.1.item_3 Success null",
            r#"tool 01a01457.1.item_4 probe.ping {"who":"me"}"#,
            r#"done 01a01457.1.item_4 Error "no such host""#,
            r#"tool 01a01457.1.item_5 web_search {"query":"rust"}"#,
            "done 01a01457.1.item_5 Success null",
            r#"message 01a01457.1.item_6.0 assistant [{"text":"OK","type":"text"}]"#,
            "usage 6918 79 27136 0 None",
            r#"turn Success None Some("OK") None"#,
        ],
    );
}

#[test]
fn a_declined_command_is_blocked_and_an_id_of_the_former_turn_is_another_call() {
    assert_steps(
        &play(Codex, "codex_declined", &[]),
        &[
            "agent t - - 0",
            r#"tool t.1.item_0 command_execution {"command":"rm -rf /"}"#,
            r#"done t.1.item_0 Blocked """#,
            r#"raw codex {"item":{"id":"item_1","text":"x","type":"hologram"},"type":"item.completed"}"#,
            "usage 1 1 0 0 None",
            "turn Success None None None",
            r#"tool t.2.item_0 command_execution {"command":"false"}"#,
            r#"done t.2.item_0 Error "" code 1"#,
            "usage 1 1 0 0 None",
            "turn Success None None None",
        ],
    );
}

#[test]
fn a_failed_turn_closes_what_is_open_and_says_why() {
    let steps = play(Codex, "codex_failed", &[]);
    assert_steps(
        &steps[2..],
        &[
            r#"text t.1.item_1.0+0 "I will""#,
            r#"text t.1.item_1.0+6 " try""#,
            r#"raw codex {"message":"stream disconnected","type":"error"}"#,
            r#"message t.1.item_1.0 assistant [{"text":"I will try","type":"text"}]"#,
            "done t.1.item_0 Error null",
            r#"turn Error Some("turn.failed") Some("the model is not reachable") None"#,
        ],
    );
}

#[test]
fn an_error_without_the_end_of_its_turn_is_why_it_ended() {
    let steps = play(Codex, "codex_error", &[]);
    assert_steps(&steps[2..], &[r#"turn Error Some("no_result") Some("You have hit your usage limit.") None"#]);
}

#[test]
fn codex_is_idle_after_its_turn_and_knows_no_interrupt() {
    let mut play = Play::new(Codex, context(&[]), &[]);
    assert_eq!((play.adapter.activity(), play.adapter.interrupt()), (Activity::Working, Vec::<Step>::new()));
    play.script("codex_declined");
    assert_eq!(play.adapter.activity(), Activity::Idle);
}
