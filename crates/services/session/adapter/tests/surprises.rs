//! Agents that say anything: whatever comes, in whatever order, the promises of the adapters hold.
//!
//! Guarantees: the words are those that the adapters know, so that chance finds their branches.
//! It does not judge what is told of nonsense.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{
    super::{super::contract::agent::Block, Adapter, Answered, Choice, Context, Replied, Reply, Step, make},
    ledger::Ledger,
    play::context,
};
use crate::session::AdapterKind;

const KINDS: &[AdapterKind] =
    &[AdapterKind::ClaudeCode, AdapterKind::Codex, AdapterKind::Gemini, AdapterKind::Acp, AdapterKind::Events];
/// Keys at the top of a line, and below.
const KEYS: &[&str] = &[
    "type",
    "subtype",
    "session_id",
    "event",
    "message",
    "id",
    "content",
    "content_block",
    "delta",
    "text",
    "thinking",
    "index",
    "name",
    "input",
    "parent_tool_use_id",
    "tool_use_id",
    "is_error",
    "tool_use_result",
    "status",
    "task_id",
    "patch",
    "usage",
    "modelUsage",
    "total_cost_usd",
    "request_id",
    "request",
    "tool_name",
    "permission_denials",
    "new_conversation_id",
    "item",
    "items",
    "thread_id",
    "command",
    "exit_code",
    "role",
    "tool_id",
    "parameters",
    "output",
    "error",
    "stats",
    "method",
    "params",
    "result",
    "update",
    "sessionUpdate",
    "toolCallId",
    "title",
    "options",
    "toolCall",
    "entries",
    "messageId",
    "stopReason",
    "sessionId",
    "protocolVersion",
    "rawOutput",
];
const WORDS: &[&str] = &[
    "success",
    "system",
    "init",
    "stream_event",
    "assistant",
    "user",
    "result",
    "control_request",
    "can_use_tool",
    "message_start",
    "control_cancel_request",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_stop",
    "text",
    "text_delta",
    "thinking",
    "thinking_delta",
    "input_json_delta",
    "tool_use",
    "tool_result",
    "Task",
    "TodoWrite",
    "task_started",
    "task_updated",
    "completed",
    "failed",
    "declined",
    "success",
    "error",
    "thread.started",
    "turn.started",
    "turn.completed",
    "turn.failed",
    "item.started",
    "item.updated",
    "item.completed",
    "agent_message",
    "reasoning",
    "command_execution",
    "todo_list",
    "message",
    "session/update",
    "session/request_permission",
    "agent_message_chunk",
    "agent_thought_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
    "end_turn",
    "cancelled",
    "a",
    "b",
    "🦀",
    "",
    HALF,
    LARGE,
    DEEP,
];
/// What no `Value` can hold stands as one of these words, until the line is written.
const HALF: &str = "<half>";
const LARGE: &str = "<large>";
const DEEP: &str = "<deep>";

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => select(WORDS).prop_map(|word| json!(word)),
        2 => (0u32..4).prop_map(|number| json!(number)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(|truth| json!(truth)),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            3 => vec((select(KEYS), inner.clone()), 0..6).prop_map(object),
            1 => vec(inner, 0..3).prop_map(Value::Array),
        ]
    })
}

fn object(pairs: Vec<(&'static str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

/// What the lines of an agent are made of.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) id: &'static str,
    pub(super) index: u32,
    pub(super) word: &'static str,
    /// The tool call that it says it in, or null.
    pub(super) parent: Value,
    pub(super) any: Value,
    pub(super) block: &'static str,
    pub(super) item: &'static str,
}

fn parts() -> impl Strategy<Value = Parts> {
    let id = || select(&["a", "b", "c", ""][..]);
    let parent = prop_oneof![3 => Just(Value::Null), 1 => id().prop_map(|id| json!(id))];
    let block = select(&["text", "thinking", "tool_use", "image"][..]);
    let item = select(&["agent_message", "command_execution", "todo_list"][..]);
    (id(), 0u32..3, select(WORDS), parent, value(), block, item)
        .prop_map(|(id, index, word, parent, any, block, item)| Parts { id, index, word, parent, any, block, item })
}

fn claude(parts: Parts) -> Vec<Value> {
    let Parts { id, index, word, parent, any, block, .. } = parts;
    let content = json!({ "type": block, "text": word, "thinking": word, "id": id, "name": word, "input": any });
    let message = json!({ "id": id, "model": word, "content": [content] });
    let stream = |event: Value| json!({ "type": "stream_event", "event": event, "parent_tool_use_id": parent });
    vec![
        stream(json!({ "type": "message_start", "message": { "id": id } })),
        stream(json!({ "type": "content_block_start", "index": index, "content_block": content })),
        stream(
            json!({ "type": "content_block_delta", "index": index, "delta": { "type": "text_delta", "text": word } }),
        ),
        stream(
            json!({ "type": "content_block_delta", "index": index, "delta": { "type": "thinking_delta", "thinking": word } }),
        ),
        stream(
            json!({ "type": "content_block_delta", "index": index, "delta": { "type": "input_json_delta", "partial_json": word } }),
        ),
        stream(json!({ "type": "message_stop" })),
        json!({ "type": "assistant", "message": message, "parent_tool_use_id": parent }),
        json!({ "type": "user", "message": { "content": [{ "type": "tool_result", "tool_use_id": id, "content": any }] }, "tool_use_result": { "isAsync": index == 0 } }),
        json!({ "type": "control_request", "request_id": id, "request": { "subtype": "can_use_tool", "tool_name": word, "input": any, "tool_use_id": id } }),
        json!({ "type": "control_cancel_request", "request_id": id }),
        json!({ "type": "system", "subtype": "task_updated", "task_id": id, "tool_use_id": id, "patch": { "status": "completed" } }),
        json!({ "type": "result", "subtype": word, "total_cost_usd": index, "usage": { "input_tokens": index }, "permission_denials": [{ "tool_use_id": id }] }),
    ]
}

fn codex(parts: Parts) -> Vec<Value> {
    let Parts { id, word, any, item, .. } = parts;
    let item = json!({ "id": id, "type": item, "text": word, "command": word, "status": word, "items": any });
    vec![
        json!({ "type": "turn.started" }),
        json!({ "type": "turn.completed", "usage": any }),
        json!({ "type": "item.started", "item": item }),
        json!({ "type": "item.updated", "item": item }),
        json!({ "type": "item.completed", "item": item }),
    ]
}

fn gemini(parts: Parts) -> Vec<Value> {
    let Parts { id, index, word, any, .. } = parts;
    vec![
        json!({ "type": "message", "role": "assistant", "content": word, "delta": index > 0 }),
        json!({ "type": "tool_use", "tool_id": id, "tool_name": word, "parameters": any }),
        json!({ "type": "tool_result", "tool_id": id, "status": word, "output": any }),
        json!({ "type": "result", "status": word, "stats": any }),
    ]
}

fn acp(parts: Parts) -> Vec<Value> {
    let Parts { id, index, word, any, .. } = parts;
    let update = |update: Value| json!({ "method": "session/update", "params": { "update": update } });
    let text = json!({ "type": "text", "text": word });
    vec![
        json!({ "id": 1, "result": { "protocolVersion": 1 } }),
        json!({ "id": 2, "result": { "sessionId": "s" } }),
        json!({ "id": index, "result": { "stopReason": word, "usage": any } }),
        update(json!({ "sessionUpdate": "agent_message_chunk", "content": text, "messageId": id })),
        update(json!({ "sessionUpdate": "agent_message_chunk", "content": text })),
        update(json!({ "sessionUpdate": "agent_thought_chunk", "content": text })),
        update(json!({ "sessionUpdate": "agent_message", "content": text, "messageId": id })),
        update(json!({ "sessionUpdate": "tool_call", "toolCallId": id, "title": word, "status": word })),
        update(
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "status": "completed", "rawOutput": any }),
        ),
        json!({ "id": index, "method": "session/request_permission", "params": { "toolCall": { "toolCallId": id }, "options": [{ "optionId": "y", "kind": word }] } }),
        json!({ "method": "$/cancel_request", "params": { "requestId": index } }),
    ]
}

/// A line that is nearly one of such an agent's: its frame is right, what is in it is chance's.
fn framed(kind: AdapterKind) -> impl Strategy<Value = Value> {
    let lines = match kind {
        AdapterKind::Codex => codex,
        AdapterKind::Gemini => gemini,
        AdapterKind::Acp => acp,
        AdapterKind::Events => super::events::lines,
        AdapterKind::ClaudeCode | AdapterKind::Lines => claude,
    };
    prop_oneof![
        5 => parts().prop_flat_map(move |parts| select(lines(parts))),
        1 => value(),
    ]
}

/// The line as the world may write it: with half a pair, a number that no double is, and many levels.
fn text_of(line: &Value) -> String {
    let deep = format!("{}{}", "[".repeat(150), "]".repeat(150));
    line.to_string()
        .replace(HALF, "\\ud83d")
        .replace(&format!("\"{LARGE}\""), "-1e999")
        .replace(&format!("\"{DEEP}\""), &deep)
}

/// What happens to an agent, one after the other.
#[derive(Debug, Clone)]
enum Happens {
    Line(String),
    Message,
    Interrupt,
    Answer,
}

fn happens(kind: AdapterKind) -> impl Strategy<Value = Happens> {
    prop_oneof![
        12 => framed(kind).prop_map(|line| Happens::Line(text_of(&line))),
        1 => (framed(kind), 0usize..200).prop_map(|(line, cut)| {
            let line = text_of(&line);
            Happens::Line(line[..line.floor_char_boundary(cut)].to_owned())
        }),
        1 => Just(Happens::Message),
        1 => Just(Happens::Interrupt),
        2 => Just(Happens::Answer),
    ]
}

fn reply(adapter: &mut dyn Adapter, ledger: &Ledger) -> Vec<Step> {
    let (request_id, questions) = ledger.questions.first_key_value().expect("one");
    let given = questions.iter().map(|_| vec![Choice::Text("so".to_owned()), Choice::Option(7)]).collect();
    let reply = Reply::Answers { given, shown: BTreeMap::new() };
    adapter.replied(&Replied { request_id: request_id.clone(), reply })
}

fn run(kind: AdapterKind, context: Context, happens: Vec<Happens>) {
    let mut adapter = make(kind, context).expect("an adapter");
    let mut ledger = Ledger::default();
    ledger.enter(&adapter.started(Some("go"), true));
    for one in happens {
        let steps = match one {
            Happens::Line(line) => adapter.line(&line),
            Happens::Message => adapter.message("m", "more"),
            Happens::Interrupt => adapter.interrupt(),
            Happens::Answer if !ledger.questions.is_empty() => reply(&mut *adapter, &ledger),
            Happens::Answer => match ledger.requests.first_key_value() {
                Some((request_id, option_id)) => {
                    let (request_id, option_id) = (request_id.clone(), option_id.clone());
                    adapter.answered(&Answered { request_id, option_id, message: None })
                }
                None => Vec::new(),
            },
        };
        ledger.enter(&steps);
    }
    ledger.enter(&adapter.ended());
    ledger.close();
}

/// A block of a message, and when it comes whole.
#[derive(Debug, Clone)]
struct Written {
    thinking: bool,
    text: String,
    size: usize,
    /// After its pieces, after its end, after the end of the message, or never.
    whole: u8,
}

fn written() -> impl Strategy<Value = Vec<Written>> {
    let block = (any::<bool>(), "[a-z🦀 ]{1,12}", 1usize..5, 0u8..4);
    vec(block.prop_map(|(thinking, text, size, whole)| Written { thinking, text, size, whole }), 1..5)
}

/// The lines of one message of Claude Code with these blocks.
fn lines(blocks: &[Written]) -> Vec<Value> {
    let stream = |event: Value| json!({ "type": "stream_event", "event": event });
    let whole = |block: &Written| {
        let content = if block.thinking {
            json!({ "type": "thinking", "thinking": block.text })
        } else {
            json!({ "type": "text", "text": block.text })
        };
        json!({ "type": "assistant", "message": { "id": "m", "content": [content] } })
    };
    let mut lines = vec![stream(json!({ "type": "message_start", "message": { "id": "m" } }))];
    for (index, block) in blocks.iter().enumerate() {
        let characters: Vec<char> = block.text.chars().collect();
        for piece in characters.chunks(block.size) {
            let piece: String = piece.iter().collect();
            let delta = if block.thinking {
                json!({ "type": "thinking_delta", "thinking": piece })
            } else {
                json!({ "type": "text_delta", "text": piece })
            };
            lines.push(stream(json!({ "type": "content_block_delta", "index": index, "delta": delta })));
        }
        lines.extend((block.whole == 0).then(|| whole(block)));
        lines.push(stream(json!({ "type": "content_block_stop", "index": index })));
        lines.extend((block.whole == 1).then(|| whole(block)));
    }
    lines.push(stream(json!({ "type": "message_stop" })));
    lines.extend(blocks.iter().filter(|block| block.whole == 2).map(whole));
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_agent_says_everything_that_starts_ends_once(
        (kind, happens) in select(KINDS).prop_flat_map(|kind| (Just(kind), vec(happens(kind), 0..60))),
        talks in any::<bool>(),
    ) {
        let argv: &[&str] = if talks { &["--input-format=stream-json"] } else { &[] };
        run(kind, context(argv), happens);
    }

    #[test]
    fn the_pieces_of_a_block_make_its_text_whenever_it_comes_whole(blocks in written(), told in 0usize..40) {
        let mut adapter = make(AdapterKind::ClaudeCode, context(&[])).expect("an adapter");
        let mut ledger = Ledger::default();
        let lines = lines(&blocks);
        let all = told >= lines.len();
        for line in lines.iter().take(told) {
            ledger.enter(&adapter.line(&line.to_string()));
        }
        ledger.enter(&adapter.ended());
        ledger.close();
        ledger.pieces_are_the_texts();
        if all {
            let expected: Vec<Block> = blocks.into_iter().map(|Written { thinking, text, .. }| {
                if thinking { Block::Thinking { text } } else { Block::Text { text } }
            }).collect();
            prop_assert_eq!(ledger.blocks("m"), expected);
        }
    }
}
