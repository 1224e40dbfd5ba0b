//! Tests of the adapter of Gemini CLI, one for each of its traps.

use super::play::{Say, assert_steps, play};
use crate::session::AdapterKind::Gemini;

#[test]
fn a_whole_turn_of_gemini_becomes_events() {
    assert_steps(
        &play(Gemini, "gemini_turn", &[Say::Prompt("look")]),
        &[
            r#"output "Loaded cached credentials.\n""#,
            "agent abc123 gemini-2.5-pro - 0",
            r#"text message-1.0+0 "Here are ""#,
            r#"text message-1.0+9 "the files…""#,
            r#"message message-1.0 assistant [{"text":"Here are the files…","type":"text"}]"#,
            r#"tool bash-123 Bash {"command":"ls"}"#,
            r#"done bash-123 Success "a\nb""#,
            r#"text message-2.0+0 "Two.""#,
            r#"message message-2.0 assistant [{"text":"Two.","type":"text"}]"#,
            "usage 40 50 10 0 None",
            r#"turn Success None Some("Two.") Some(1200)"#,
        ],
    );
}

#[test]
fn errors_of_gemini_are_told_where_they_belong() {
    let steps = play(Gemini, "gemini_error", &[]);
    assert_steps(
        &steps[1..],
        &[
            r#"tool b1 Bash {"command":"false"}"#,
            r#"done b1 Error "exit 1""#,
            r#"tool b2 Bash {"command":"rm"}"#,
            r#"done b2 Blocked "denied by policy""#,
            r#"raw gemini {"message":"Loop detected","severity":"warning","type":"error"}"#,
            r#"raw gemini {"message":"Maximum session turns exceeded","severity":"error","type":"error"}"#,
            "usage 3 4 2 0 None",
            r#"turn Error Some("FatalTurnLimitedError") Some("Reached max session turns") Some(7)"#,
        ],
    );
}

#[test]
fn whole_messages_are_messages_of_their_own_and_pieces_become_one_at_the_end() {
    let steps = play(Gemini, "gemini_whole", &[]);
    assert_steps(
        &steps[1..],
        &[
            r#"message message-1.0 assistant [{"text":"One.","type":"text"}]"#,
            r#"message message-2.0 assistant [{"text":"Two.","type":"text"}]"#,
            r#"text message-3.0+0 "Thr""#,
            r#"message message-3.0 assistant [{"text":"Thr","type":"text"}]"#,
            r#"turn Error Some("no_result") Some("Thr") None"#,
        ],
    );
}
