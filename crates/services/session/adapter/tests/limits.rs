//! Agents that say too much: what the adapters keep is bounded, and what is told still ends.
//!
//! Guarantees: each bound is met and then passed.
//! They are not the bounds of lines: those are the run's.

use serde_json::json;

use super::{
    super::{
        super::contract::agent::{Block, Outcome, TextDelta},
        Activity, Step, bounds, make,
    },
    ledger::Ledger,
    play::context,
};
use crate::session::AdapterKind::{Acp, ClaudeCode, Codex, Gemini};

fn delta(index: usize, text: &str) -> String {
    let delta = json!({ "type": "text_delta", "text": text });
    json!({ "type": "stream_event", "event": { "type": "content_block_delta", "index": index, "delta": delta } })
        .to_string()
}

fn pieces(steps: &[Step]) -> Vec<&TextDelta> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::TextDelta(piece) => Some(piece),
            _ => None,
        })
        .collect()
}

fn texts(steps: &[Step]) -> Vec<String> {
    let blocks = steps.iter().filter_map(|step| match step {
        Step::Message(message) => Some(message.blocks.clone()),
        _ => None,
    });
    let text = |block| match block {
        Block::Text { text } => Some(text),
        _ => None,
    };
    blocks.flatten().filter_map(text).collect()
}

#[test]
fn a_text_beyond_its_bound_is_cut_once_and_its_pieces_still_make_it() {
    let mut adapter = make(ClaudeCode, context(&[])).expect("an adapter");
    let mut ledger = Ledger::default();
    let mut steps = Vec::new();
    for _ in 0..20 {
        steps.extend(adapter.line(&delta(0, &"ü".repeat(bounds::TEXT_BYTES / 32))));
    }
    assert_eq!(pieces(&steps).len(), 16, "nothing is said after the cut");
    steps.extend(adapter.ended());
    ledger.enter(&steps);
    ledger.close();
    ledger.pieces_are_the_texts();
    let texts = texts(&steps);
    assert!(texts.len() == 1 && texts[0].len() <= bounds::TEXT_BYTES && texts[0].ends_with(bounds::CUT));
}

#[test]
fn pieces_that_nobody_finishes_take_bounded_room_and_a_whole_block_is_told_beyond_it() {
    let mut adapter = make(ClaudeCode, context(&[])).expect("an adapter");
    let mut steps = Vec::new();
    for index in 0..10_000 {
        steps.extend(adapter.line(&delta(index, &"x".repeat(1_000))));
    }
    let taken: usize = pieces(&steps).iter().map(|piece| piece.text.len()).sum();
    assert!(taken > 700 * 1024 && taken <= 1024 * 1024, "{taken}");
    let whole = json!({ "type": "text", "text": "all of it" });
    let line = json!({ "type": "assistant", "message": { "id": "m", "content": [whole] } }).to_string();
    assert!(texts(&adapter.line(&line)).contains(&"all of it".to_owned()));
}

#[test]
fn the_oldest_of_too_many_tools_is_closed_as_failed() {
    let mut adapter = make(Codex, context(&[])).expect("an adapter");
    let mut ledger = Ledger::default();
    let mut closed = Vec::new();
    for index in 0..1_002 {
        let item = json!({ "id": format!("i{index}"), "type": "command_execution", "command": "x" });
        let steps = adapter.line(&json!({ "type": "item.started", "item": item }).to_string());
        ledger.enter(&steps);
        closed.extend(steps.into_iter().filter_map(|step| match step {
            Step::ToolCompleted(tool) => Some((tool.execution_id, tool.status)),
            _ => None,
        }));
    }
    let expected = ["thread.0.i0", "thread.0.i1"].map(|id| (id.to_owned(), Outcome::Error));
    assert_eq!(closed, expected);
    ledger.enter(&adapter.ended());
    ledger.close();
}

#[test]
fn more_requests_than_may_wait_are_refused_and_kept() {
    let mut adapter = make(Acp, context(&[])).expect("an adapter");
    let mut ledger = Ledger::default();
    let ask = |id: usize| {
        let options = json!([{ "optionId": "y", "kind": "allow_once" }]);
        let params = json!({ "toolCall": { "toolCallId": "c" }, "options": options });
        json!({ "id": id, "method": "session/request_permission", "params": params }).to_string()
    };
    for id in 0..64 {
        ledger.enter(&adapter.line(&ask(id)));
    }
    assert_eq!((ledger.requests.len(), adapter.activity()), (64, Activity::Waiting));
    let steps = adapter.line(&ask(64));
    assert!(matches!(&steps[..], [Step::Raw(_), Step::Write(line)] if line.contains("cancelled")), "{steps:?}");
    ledger.enter(&adapter.ended());
    ledger.close();
}

#[test]
fn a_long_input_or_output_of_a_tool_becomes_its_beginning() {
    let mut adapter = make(ClaudeCode, context(&[])).expect("an adapter");
    let long = "y".repeat(200 * 1024);
    let call = json!({ "type": "tool_use", "id": "t", "name": "Write", "input": { "content": long } });
    let steps = adapter.line(&json!({ "type": "assistant", "message": { "id": "m", "content": [call] } }).to_string());
    let Some(Step::ToolStarted(tool)) = steps.last() else { panic!("a tool starts: {}", steps.len()) };
    let input = tool.input.as_str().expect("a text");
    assert!(input.starts_with("{\"content\":\"yyy") && input.len() <= bounds::VALUE_BYTES);
    let result = json!({ "type": "tool_result", "tool_use_id": "t", "content": long });
    let steps = adapter.line(&json!({ "type": "user", "message": { "content": [result] } }).to_string());
    let [Step::ToolCompleted(tool)] = &steps[..] else { panic!("a tool ends: {}", steps.len()) };
    let output = tool.output.as_str().expect("a text");
    assert!(output.starts_with("yyy") && output.ends_with(bounds::CUT) && output.len() <= bounds::VALUE_BYTES);
}

#[test]
fn the_last_word_of_a_turn_is_whole_up_to_256_kib_and_says_so_beyond() {
    let turn = |steps: Vec<Step>| {
        let last = steps.into_iter().next_back().expect("a step");
        let Step::TurnCompleted(turn) = last else { panic!("the turn ends: {last:?}") };
        (turn.result.expect("a text"), turn.truncated)
    };
    for length in [200 * 1024, bounds::LAST_WORD_BYTES, bounds::LAST_WORD_BYTES + 1] {
        let (said, fits) = ("y".repeat(length), length <= bounds::LAST_WORD_BYTES);
        let told = |(text, truncated): (String, bool), who: &str| {
            assert_eq!((text == said, truncated), (fits, !fits), "{who}: {length}");
        };
        let mut claude = make(ClaudeCode, context(&[])).expect("an adapter");
        let result = json!({ "type": "result", "subtype": "success", "result": said });
        told(turn(claude.line(&result.to_string())), "claude-code");
        let mut codex = make(Codex, context(&[])).expect("an adapter");
        codex.line(&json!({ "type": "turn.started" }).to_string());
        let item = json!({ "id": "item_0", "type": "agent_message", "text": said });
        codex.line(&json!({ "type": "item.completed", "item": item }).to_string());
        told(turn(codex.line(&json!({ "type": "turn.completed" }).to_string())), "codex");
        // In pieces, of which none is the whole.
        let mut gemini = make(Gemini, context(&[])).expect("an adapter");
        for piece in said.as_bytes().chunks(1000) {
            let piece = str::from_utf8(piece).expect("text");
            let piece = json!({ "type": "message", "role": "assistant", "content": piece, "delta": true });
            gemini.line(&piece.to_string());
        }
        told(turn(gemini.line(&json!({ "type": "result", "status": "success" }).to_string())), "gemini");
    }
}
