//! Tests of the adapter of Claude Code, one for each of its traps.

use super::{
    super::{Activity, Choice, Replied, Reply, Step},
    play::{Play, Say, assert_steps, brief, context, play},
};
use crate::session::AdapterKind::ClaudeCode;

const PROMPT: Say = Say::Prompt("look");
const THINGS_TO_DO: &str = r#"{"todos":[{"activeForm":"Reading","content":"Read","status":"completed"},{"activeForm":"Writing","content":"Write","status":"in_progress"}]}"#;

#[test]
fn a_whole_turn_of_claude_becomes_events() {
    let steps = play(ClaudeCode, "claude_turn", &[PROMPT, Say::Answer("allow_always", None)]);
    assert_steps(
        &steps,
        &[
            "agent 6f1 claude-opus-4 2.1.109 4",
            r#"thinking msg_1.0+0 "Look ""#,
            r#"thinking msg_1.0+5 "first.""#,
            r#"message msg_1.0 assistant [{"text":"Look first.","type":"thinking"}]"#,
            r#"text msg_1.1+0 "Hel""#,
            r#"text msg_1.1+3 "lo 🦀""#,
            r#"text msg_1.1+8 "!""#,
            r#"message msg_1.1 assistant [{"text":"Hello 🦀!","type":"text"}]"#,
            r#"message msg_1.2 assistant [{"executionId":"toolu_todo","name":"TodoWrite","type":"tool_use"}]"#,
            &format!("tool toolu_todo TodoWrite {THINGS_TO_DO}"),
            "progress 1/2 Read Completed, Write InProgress",
            r#"done toolu_todo Success "Todos have been modified successfully.""#,
            r#"message msg_2.0 assistant [{"executionId":"toolu_task","name":"Task","type":"tool_use"}]"#,
            r#"tool toolu_task Task {"description":"Find the entry point","prompt":"Where is main?","subagent_type":"Explore"}"#,
            r#"subagent toolu_task Some("Explore") Some("Find the entry point")"#,
            r#"raw claude-code {"description":"Find the entry point","session_id":"6f1","subtype":"task_started","task_id":"t1","task_type":"local_agent","tool_use_id":"toolu_task","type":"system","uuid":"u23"}"#,
            r#"message u24.0 user [{"text":"Where is main?","type":"text"}] in toolu_task"#,
            r#"message msg_3.0 assistant [{"executionId":"toolu_read","name":"Read","type":"tool_use"}] in toolu_task"#,
            r#"tool toolu_read Read {"file_path":"/w/main.rs"} in toolu_task"#,
            r#"done toolu_read Success "fn main() {}" in toolu_task"#,
            r#"message msg_4.0 assistant [{"text":"In main.rs.","type":"text"}] in toolu_task"#,
            "subagent done toolu_task Success",
            r#"done toolu_task Success "In main.rs.""#,
            r#"message msg_5.0 assistant [{"executionId":"toolu_bash","name":"Bash","type":"tool_use"}]"#,
            r#"tool toolu_bash Bash {"command":"cargo test"}"#,
            r#"asks req-1 Bash {"command":"cargo test"} allow/allow_always/reject Some("toolu_bash")"#,
            r#"resolved req-1 Allowed Some("allow_always")"#,
            r#"done toolu_bash Error "Exit code 101\nerror: test failed" code 101"#,
            r#"message msg_6.0 assistant [{"text":"The entry point is empty.","type":"text"}]"#,
            "usage 13 93 27700 1200 Some(0.0412)",
            r#"turn Success None Some("The entry point is empty.") Some(8421)"#,
        ],
    );
}

#[test]
fn one_message_in_several_lines_keeps_its_id_and_counts_its_blocks() {
    assert_steps(
        &play(ClaudeCode, "claude_split_message", &[]),
        &[
            r#"message msg_1.0 assistant [{"text":"First.","type":"text"}]"#,
            r#"message msg_1.1 assistant [{"text":"Second.","type":"text"}]"#,
            r#"message msg_1.2 assistant [{"executionId":"toolu_1","name":"Read","type":"tool_use"}]"#,
            r#"tool toolu_1 Read {"file_path":"a"}"#,
            r#"done toolu_1 Success "x""#,
            r#"turn Success None Some("Second.") None"#,
        ],
    );
}

#[test]
fn a_block_is_told_once_whether_it_comes_whole_late_or_never() {
    assert_steps(
        &play(ClaudeCode, "claude_late_block", &[]),
        &[
            r#"text msg_1.0+0 "On""#,
            r#"text msg_1.0+2 "ce""#,
            r#"message msg_1.0 assistant [{"text":"Once","type":"text"}]"#,
            r#"message msg_1.1 assistant [{"executionId":"toolu_1","name":"Read","type":"tool_use"}]"#,
            r#"tool toolu_1 Read {"file_path":"a"}"#,
            r#"text msg_2.0+0 "Cut o""#,
            r#"message msg_2.0 assistant [{"text":"Cut o","type":"text"}]"#,
            "done toolu_1 Error null",
            r#"turn Error Some("no_result") None None"#,
        ],
    );
}

#[test]
fn a_success_that_calls_itself_an_error_is_an_error() {
    let steps = play(ClaudeCode, "claude_false_success", &[]);
    assert_steps(
        &steps[1..],
        &[
            r#"message m1.0 assistant [{"text":"API Error: 529 overloaded","type":"text"}]"#,
            r#"raw claude-code {"error":"server_error","type":"assistant"}"#,
            r#"turn Error Some("529") Some("API Error: 529 overloaded") Some(12)"#,
        ],
    );
}

#[test]
fn a_turn_that_meets_a_limit_says_which_and_closes_its_tools() {
    let steps = play(ClaudeCode, "claude_max_turns", &[]);
    assert_steps(
        &steps[2..],
        &["done toolu_1 Error null", "usage 7 3 0 0 Some(0.5)", r#"turn Error Some("error_max_turns") None Some(184)"#],
    );
}

#[test]
fn without_a_result_the_end_closes_what_is_open() {
    let steps = play(ClaudeCode, "claude_no_result", &[]);
    assert_steps(&steps[3..], &["done toolu_1 Error null", r#"turn Error Some("no_result") None None"#]);
}

#[test]
fn after_its_result_an_agent_is_idle_though_it_never_exits() {
    let mut play = Play::new(ClaudeCode, context(&[]), &[]);
    assert_eq!(play.adapter.activity(), Activity::Working);
    play.script("claude_hangs");
    assert_eq!(play.adapter.activity(), Activity::Idle);
    assert_steps(&play.end()[1..], &[r#"turn Success None Some("Done.") None"#]);
}

#[test]
fn a_line_that_comes_in_two_parts_is_one_line() {
    assert_steps(
        &play(ClaudeCode, "claude_silence", &[]),
        &[
            r#"message m1.0 assistant [{"text":"Before.","type":"text"}]"#,
            r#"message m2.0 assistant [{"text":"After.","type":"text"}]"#,
            r#"turn Success None Some("After.") None"#,
        ],
    );
}

#[test]
fn lines_that_are_no_objects_stay_output() {
    assert_steps(
        &play(ClaudeCode, "claude_rubbish", &[]),
        &[
            r#"output "Welcome to Claude Code\n""#,
            "agent 6f1 claude-opus-4 - 0",
            r#"output "[1,2]\n""#,
            r#"turn Success None Some("ok") None"#,
        ],
    );
}

#[test]
fn what_is_not_known_is_kept_and_a_request_that_nobody_can_answer_is_refused() {
    let steps = play(ClaudeCode, "claude_unknown", &[]);
    let briefs: Vec<String> = steps.iter().map(brief).collect();
    let begins = [
        r#"raw claude-code {"rate_limit_info":{"#,
        r#"raw claude-code {"type":"brand_new","value":{"a":[1,2]}}"#,
        r#"raw claude-code {"compact_metadata":{"#,
        r#"message m1.0 assistant [{"kind":"redacted_thinking","type":"other"}]"#,
        r#"raw claude-code {"data":"eHg=","type":"redacted_thinking"}"#,
        r#"raw claude-code {"content":"?","tool_use_id":"never_called","type":"tool_result"}"#,
        r#"raw claude-code {"request":{"callback_id":"c","subtype":"hook_callback"},"#,
        r#"turn Error Some("no_result")"#,
    ];
    assert_eq!(briefs.len(), begins.len(), "{briefs:#?}");
    for (brief, begin) in briefs.iter().zip(begins) {
        assert!(brief.starts_with(begin), "{brief}");
    }
}

#[test]
fn usage_is_what_a_turn_added_and_begins_anew_with_the_conversation() {
    assert_steps(
        &play(ClaudeCode, "claude_reset", &[]),
        &[
            "agent 6f1 claude-opus-4 - 1",
            "usage 10 5 0 0 Some(0.5)",
            r#"turn Success None Some("one") None"#,
            "agent 7a2 claude-opus-4 - 1",
            "usage 12 6 0 0 Some(0.75)",
            r#"turn Success None Some("two") None"#,
            "usage 8 3 4 0 Some(0.25)",
            r#"turn Success None Some("three") None"#,
        ],
    );
}

#[test]
fn a_request_that_the_agent_takes_back_is_withdrawn() {
    let steps = play(ClaudeCode, "claude_withdrawn", &[PROMPT]);
    assert_steps(
        &steps[2..],
        &[
            r#"asks r1 Bash {"command":"rm x"} allow/reject Some("toolu_1")"#,
            "resolved r1 Withdrawn None",
            r#"done toolu_1 Error "timed out""#,
            r#"turn Success None Some("ok") None"#,
        ],
    );
}

#[test]
fn what_a_person_or_a_rule_does_not_allow_is_blocked() {
    let steps = play(ClaudeCode, "claude_rejected", &[PROMPT, Say::Answer("reject", Some("not that file"))]);
    let done: Vec<String> = steps.iter().filter(|step| matches!(step, Step::ToolCompleted(_))).map(brief).collect();
    assert_eq!(done.len(), 2);
    assert_eq!(done[0], r#"done toolu_1 Blocked "not that file""#);
    assert!(done[1].starts_with(r#"done toolu_2 Blocked "Claude requested"#), "{}", done[1]);
}

#[test]
fn an_interrupted_turn_is_cancelled_and_the_agent_can_be_asked_again() {
    let says = [PROMPT, Say::Interrupt, Say::Message("again")];
    let steps = play(ClaudeCode, "claude_interrupted", &says);
    assert_steps(
        &steps[2..],
        &[
            r#"message u5.0 user [{"text":"[Request interrupted by user]","type":"text"}]"#,
            "done toolu_1 Error null",
            r#"turn Cancelled Some("error_during_execution") None None"#,
            r#"turn Success None Some("ok") None"#,
        ],
    );
}

#[test]
fn a_subagent_in_the_background_ends_when_its_task_does() {
    let steps = play(ClaudeCode, "claude_background", &[]);
    let briefs: Vec<String> = steps.iter().map(brief).filter(|brief| !brief.starts_with("raw")).collect();
    let expected = [
        r#"done toolu_bg Success "Async agent launched""#,
        r#"message m2.0 assistant [{"executionId":"toolu_in","name":"Grep","type":"tool_use"}] in toolu_bg"#,
        r#"tool toolu_in Grep {"pattern":"x"} in toolu_bg"#,
        r#"turn Success None Some("started") None"#,
        r#"done toolu_in Success "found" in toolu_bg"#,
        "subagent done toolu_bg Success",
    ];
    assert_eq!(briefs[3..], expected);
}

#[test]
fn without_json_on_its_input_it_gets_text_and_cannot_be_interrupted() {
    let mut adapter = Play::new(ClaudeCode, context(&["claude", "-p"]), &[]).adapter;
    assert_eq!(adapter.started(Some("look\nhere"), true), vec![Step::Write("look\nhere".to_owned())]);
    assert_eq!(adapter.interrupt(), Vec::new());
}

/// What was written in answer to `AskUserQuestion` with two questions, and how it was resolved.
fn replied(reply: Reply) -> (serde_json::Value, String) {
    let mut play = Play::new(ClaudeCode, context(&["--input-format=stream-json"]), &[PROMPT]);
    let line = r#"{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool","tool_name":"AskUserQuestion","input":{"questions":[{"question":"Which?","header":"Color","options":[{"label":"Red","description":"Warm"},{"label":"Blue","description":"Cold"}],"multiSelect":false},{"question":"Where?","options":[{"label":"In"},{"label":"Out"}],"multiSelect":true}]}}}"#;
    assert_steps(&play.adapter.line(line), &["question q Which? Where?"]);
    assert_eq!(play.adapter.activity(), Activity::Waiting);
    let reply = Replied { request_id: "q".into(), reply };
    let steps = play.adapter.replied(&reply);
    let [resolved, Step::Write(line)] = &steps[..] else { panic!("an answer is written: {steps:?}") };
    assert_eq!(play.adapter.replied(&reply), Vec::new(), "a question is answered once");
    let written: serde_json::Value = serde_json::from_str(line).expect("JSON");
    (written["response"]["response"].clone(), brief(resolved))
}

#[test]
fn a_question_is_answered_within_its_input_or_declined_with_the_reason() {
    let given = vec![vec![Choice::Option(1)], vec![Choice::Option(0), Choice::Text("over there".into())]];
    let (written, resolved) = replied(Reply::Answers { given, shown: std::collections::BTreeMap::new() });
    let answers = serde_json::json!({ "Which?": "Blue", "Where?": "In, over there" });
    assert_eq!((&written["behavior"], &written["updatedInput"]["answers"]), (&"allow".into(), &answers));
    assert_eq!(written["updatedInput"]["questions"][0]["options"][1]["description"], "Cold");
    assert_eq!(resolved, "question done q Answered");
    let (written, resolved) = replied(Reply::Declined(Some("You decide.".into())));
    assert_eq!(written, serde_json::json!({ "behavior": "deny", "message": "You decide." }));
    assert_eq!(resolved, "question done q Declined");
}

#[test]
fn a_question_that_asks_nothing_is_a_permission_as_of_any_tool() {
    let mut play = Play::new(ClaudeCode, context(&["--input-format=stream-json"]), &[PROMPT]);
    let line = r#"{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool","tool_name":"AskUserQuestion","input":{"questions":[{"header":"No question"}]}}}"#;
    assert!(matches!(&play.adapter.line(line)[..], [Step::PermissionRequested(_)]));
}

#[test]
fn what_it_may_do_is_what_it_asked_for_byte_for_byte() {
    let input = r#"{"z":1.0, "path":"/a\udcff","n":12345678901234567890123,"big":1e400}"#;
    let rules = r#"[ {"rule":"\ud83d"} ]"#;
    let line = format!(
        r#"{{"type":"control_request","request_id":"q","request":{{"subtype":"can_use_tool","tool_name":"Write","input":{input},"permission_suggestions":{rules}}}}}"#
    );
    for (option, odd) in [("allow", ""), ("allow_always", r#","\ud83d":1e400"#)] {
        let mut play = Play::new(ClaudeCode, context(&["--input-format=stream-json"]), &[PROMPT]);
        assert_eq!(play.adapter.line(&line.replace(r#","permission"#, &format!(r#"{odd},"permission"#))).len(), 1);
        let answer = super::super::Answered { request_id: "q".into(), option_id: option.into(), message: None };
        let steps = play.adapter.answered(&answer);
        let Some(Step::Write(written)) = steps.last() else { panic!("an answer is written: {steps:?}") };
        assert!(written.contains(&format!(r#""updatedInput":{input}"#)), "{written}");
        let told = written.contains(&format!(r#""updatedPermissions":{rules}"#));
        assert_eq!(told, option == "allow_always", "{written}");
    }
}

#[test]
fn pieces_of_a_message_that_nobody_began_belong_to_the_whole_that_follows() {
    let mut play = Play::new(ClaudeCode, context(&[]), &[]);
    let lines = [
        r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"He"}}}"#,
        r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"Hey"}]}}"#,
        r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"You"}]}}"#,
    ];
    for line in lines {
        let steps = play.adapter.line(line);
        play.steps.extend(steps);
    }
    let expected = [
        r#"text message-1.0+0 "He""#,
        r#"message message-1.0 assistant [{"text":"Hey","type":"text"}]"#,
        r#"message message-1.1 assistant [{"text":"You","type":"text"}]"#,
    ];
    assert_steps(&play.steps, &expected);
}
