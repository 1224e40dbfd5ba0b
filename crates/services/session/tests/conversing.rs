//! The conversation inside a session's state: what it shows follows from the events, and it stays small.

use serde_json::{Value, json};
use tidings_core::{
    Event, Message, Timestamp,
    projection::{Fold, Folded},
};

use crate::session::{
    SessionReducer, SessionState,
    contract::{
        COMPLETED, MESSAGE_DEQUEUED, MESSAGE_QUEUED, STARTED, USER_MESSAGE,
        agent::{
            AGENT_STARTED, MESSAGE, PERMISSION_REQUESTED, PERMISSION_RESOLVED, SUBAGENT_COMPLETED, SUBAGENT_STARTED,
            TOOL_COMPLETED, TOOL_STARTED, TURN_COMPLETED, USAGE,
        },
        question::{QUESTION_REQUESTED, QUESTION_RESOLVED},
    },
    conversation::{Activity, MESSAGE_BYTES, MESSAGES, TOOLS},
};

/// A session's fold, fed with events as they stand on the wire.
struct Told(Box<dyn Folded>, u64);

impl Told {
    fn new() -> Self {
        let mut told = Self(Fold::<SessionReducer>::projection().start(), 0);
        told.tell(STARTED, json!({"hosted": true}));
        told
    }

    fn tell(&mut self, event_type: &'static str, mut data: Value) -> SessionState {
        data["sessionId"] = json!("s1");
        self.1 += 1;
        let channel = "session:s1".parse().expect("a channel");
        self.0.apply(&Message::new(channel, Some(self.1), Timestamp(1), Event::new(event_type, data)));
        self.state()
    }

    fn state(&self) -> SessionState {
        self.0.as_any().downcast_ref::<SessionState>().expect("its state").clone()
    }
}

fn tool(id: &str) -> Value {
    json!({"executionId": id, "name": "Bash", "input": {"command": "ls"}})
}

fn done(id: &str) -> Value {
    json!({"executionId": id, "status": "success", "output": "x"})
}

#[test]
fn what_an_agent_does_follows_from_what_is_open() {
    let mut told = Told::new();
    assert_eq!(told.state().conversation.activity, None, "a program that tells nothing of it");
    let message = json!({"messageId": "m", "block": 0, "blocks": [{"type": "text", "text": "x"}]});
    let request =
        json!({"requestId": "r", "tool": "Bash", "options": [{"id": "a", "label": "Allow", "kind": "allow_once"}]});
    let table = [
        (AGENT_STARTED, json!({}), Activity::Thinking),
        (MESSAGE, message, Activity::Thinking),
        (TOOL_STARTED, tool("t1"), Activity::Executing),
        (TOOL_STARTED, tool("t2"), Activity::Executing),
        (TOOL_COMPLETED, done("t1"), Activity::Executing),
        (PERMISSION_REQUESTED, request, Activity::Waiting),
        (TOOL_COMPLETED, done("t2"), Activity::Waiting),
        (PERMISSION_RESOLVED, json!({"requestId": "r", "decision": "allowed"}), Activity::Thinking),
        (
            QUESTION_REQUESTED,
            json!({"requestId": "q", "questions": [{"question": "Which?", "options": [{"label": "A"}]}]}),
            Activity::Waiting,
        ),
        (QUESTION_RESOLVED, json!({"requestId": "q", "decision": "declined"}), Activity::Thinking),
        (TURN_COMPLETED, json!({"status": "success"}), Activity::Idle),
        (USAGE, json!({"inputTokens": 1}), Activity::Idle),
        (USER_MESSAGE, json!({"content": "again"}), Activity::Thinking),
        (TOOL_STARTED, tool("t3"), Activity::Executing),
        (COMPLETED, json!({"exitCode": 0}), Activity::Idle),
    ];
    for (event_type, data, expected) in table {
        assert_eq!(told.tell(event_type, data).conversation.activity, Some(expected), "{event_type}");
    }
}

#[test]
fn blocks_of_one_message_that_come_apart_are_one_message() {
    let mut told = Told::new();
    for block in 0..3 {
        let blocks = json!([{"type": "text", "text": format!("b{block}")}]);
        told.tell(MESSAGE, json!({"messageId": "m", "block": block, "blocks": blocks}));
    }
    told.tell(MESSAGE, json!({"messageId": "n", "block": 0, "blocks": [{"type": "thinking", "text": "hm"}]}));
    let spoken: Vec<_> =
        told.state().conversation.messages.iter().map(|it| (it.message_id.clone(), it.blocks.len())).collect();
    assert_eq!(spoken, [("m".to_owned(), 3), ("n".to_owned(), 1)]);
}

#[test]
fn a_conversation_stays_small_whatever_comes() {
    let mut told = Told::new();
    let long = "x".repeat(MESSAGE_BYTES / 3);
    for n in 0..4 * MESSAGES {
        let text = if n % 10 == 0 { long.as_str() } else { "short" };
        told.tell(MESSAGE, json!({"messageId": format!("m{n}"), "blocks": [{"type": "text", "text": text}]}));
        let id = format!("t{n}");
        let input = json!({"executionId": id, "name": "Bash", "input": {"text": text}});
        told.tell(TOOL_STARTED, input);
        told.tell(TOOL_COMPLETED, json!({"executionId": id, "status": "success", "output": text}));
        told.tell(MESSAGE_QUEUED, json!({"messageId": id, "content": text}));
        told.tell(MESSAGE_DEQUEUED, json!({"messageId": id, "reason": "sent"}));
    }
    let conversation = told.state().conversation;
    assert!(conversation.messages.len() <= MESSAGES && conversation.tools.len() <= TOOLS);
    assert_eq!(
        (conversation.queue.len(), conversation.messages.back().expect("the newest").message_id.as_str()),
        (0, "m199")
    );
    let json = serde_json::to_string(&conversation).expect("serialises");
    assert!(json.len() < 2 * MESSAGE_BYTES, "{} bytes", json.len());
}

#[test]
fn what_is_open_when_a_server_dies_is_ended_piece_by_piece_before_the_session() {
    let mut told = Told::new();
    told.tell(TOOL_STARTED, tool("t1"));
    told.tell(TOOL_STARTED, tool("t2"));
    told.tell(TOOL_COMPLETED, done("t2"));
    told.tell(SUBAGENT_STARTED, json!({"executionId": "t1"}));
    told.tell(SUBAGENT_STARTED, json!({"executionId": "t2"}));
    told.tell(SUBAGENT_COMPLETED, json!({"executionId": "t2", "status": "success"}));
    told.tell(
        PERMISSION_REQUESTED,
        json!({"requestId": "r", "tool": "x", "options": [{"id": "a", "label": "b", "kind": "allow_once"}]}),
    );
    told.tell(QUESTION_REQUESTED, json!({"requestId": "q", "questions": [{"question": "Which?"}]}));
    told.tell(MESSAGE_QUEUED, json!({"messageId": "q"}));
    let ends: Vec<String> = told.0.abandoned().iter().map(|event| event.event_type.to_string()).collect();
    let expected =
        [PERMISSION_RESOLVED, QUESTION_RESOLVED, TOOL_COMPLETED, SUBAGENT_COMPLETED, MESSAGE_DEQUEUED, "session.error"];
    assert_eq!(ends, expected);
}

#[test]
fn a_turn_shows_the_beginning_of_its_last_word_and_which_event_has_all_of_it() {
    let mut told = Told::new();
    let mut answer = |length: usize, truncated: bool| {
        let turn = json!({"status": "success", "result": "x".repeat(length), "truncated": truncated});
        let state = told.tell(TURN_COMPLETED, turn);
        let (turn, seq) = (state.conversation.turn.expect("a turn"), told.1);
        assert_eq!(turn.seq, Some(seq));
        (turn.result.map(|result| result.len()), turn.truncated)
    };
    assert_eq!(answer(2048, false), (Some(2048), false));
    assert_eq!(answer(2049, false), (Some(2048), true));
    assert_eq!(answer(3, true), (Some(3), true), "of which the event has the beginning only");
    let options = json!([{"id": "a", "label": "Allow", "kind": "allow_once"}]);
    let asked = json!({"requestId": "r", "tool": "Write", "input": {"content": "x".repeat(3000)}, "options": options});
    let permission = told.tell(PERMISSION_REQUESTED, asked).conversation.permissions.remove(0);
    assert!(permission.input.as_str().is_some_and(|input| input.len() == 2048) && permission.seq == Some(told.1));
    let turn = told.tell(TURN_COMPLETED, json!({"status": "success"})).conversation.turn.expect("a turn");
    assert_eq!((turn.result, turn.truncated), (None, false));
    let saved =
        serde_json::from_value::<crate::session::conversation::Turn>(json!({"status": "success", "result": "x"}));
    assert_eq!(saved.expect("is read").seq, None, "as an older server saved it");
}
