//! A ledger of steps: what every adapter promises, whatever the agent does.
//!
//! Guarantees: a step that breaks a promise panics where it is entered.
//! It does not know what an agent meant.

use std::collections::{BTreeMap, BTreeSet};

use tidings_core::{Event, json};
use validator::Validate;

use super::super::{
    super::contract::{
        agent::{Block, PERMISSION_REQUESTED, RAW, Role, TOOL_COMPLETED, TOOL_STARTED, TextDelta},
        question::Question,
    },
    Step,
};

/// Whether the values of an agent's that a step tells are data of an event.
fn fits(step: &Step) -> bool {
    let event = match step.clone() {
        Step::ToolStarted(it) => Event::new(TOOL_STARTED, it),
        Step::ToolCompleted(it) => Event::new(TOOL_COMPLETED, it),
        Step::PermissionRequested(it) => Event::new(PERMISSION_REQUESTED, it),
        Step::Raw(it) => Event::new(RAW, it),
        _ => return true,
    };
    json::fits(event.payload.json()).is_ok()
}

/// What is open, and what was told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tools: BTreeSet<String>,
    agents: BTreeSet<String>,
    pub(super) requests: BTreeMap<String, String>,
    pub(super) questions: BTreeMap<String, Vec<Question>>,
    pieces: BTreeMap<(String, u32), String>,
    told: BTreeMap<(String, u32), Block>,
}

impl Ledger {
    /// Enters steps, in their order.
    pub(super) fn enter(&mut self, steps: &[Step]) {
        for step in steps {
            self.one(step);
        }
    }

    fn one(&mut self, step: &Step) {
        assert!(fits(step), "what is told is an event's data: {step:?}");
        match step {
            Step::Output(it) => assert!(it.validate().is_ok() && it.content.len() <= 16 * 1024),
            Step::AgentStarted(it) => assert_eq!(it.validate(), Ok(())),
            Step::TextDelta(it) | Step::ThinkingDelta(it) => self.piece(it),
            Step::Message(it) => {
                assert_eq!(it.validate(), Ok(()));
                if it.role == Role::Assistant {
                    let last = self.told.range((it.message_id.clone(), it.block)..).next().map(|((id, _), _)| id);
                    assert_ne!(last, Some(&it.message_id), "blocks are told once, in their order: {it:?}");
                    for (block, number) in it.blocks.iter().zip(it.block..) {
                        self.told.insert((it.message_id.clone(), number), block.clone());
                    }
                }
            }
            Step::ToolStarted(it) => {
                assert_eq!(it.validate(), Ok(()));
                assert!(self.tools.insert(it.execution_id.clone()), "a tool starts once: {it:?}");
            }
            Step::ToolCompleted(it) => {
                assert_eq!(it.validate(), Ok(()));
                assert!(self.tools.remove(&it.execution_id), "a tool ends once: {it:?}");
            }
            Step::SubagentStarted(it) => assert!(self.agents.insert(it.execution_id.clone()), "{it:?}"),
            Step::SubagentCompleted(it) => assert!(self.agents.remove(&it.execution_id), "{it:?}"),
            Step::PermissionRequested(it) => {
                assert_eq!(it.validate(), Ok(()));
                let former = self.requests.insert(it.request_id.clone(), it.options[0].id.clone());
                assert_eq!(former, None, "a request is told once: {it:?}");
            }
            Step::PermissionResolved(it) => assert!(self.requests.remove(&it.request_id).is_some(), "{it:?}"),
            Step::QuestionRequested(it) => {
                assert_eq!(it.validate(), Ok(()));
                let former = self.questions.insert(it.request_id.clone(), it.questions.clone());
                assert_eq!(former, None, "a question is told once: {it:?}");
            }
            Step::QuestionResolved(it) => assert!(self.questions.remove(&it.request_id).is_some(), "{it:?}"),
            Step::Publish(it) => assert!(it.data.is_object() && it.event_type.domain() != "session"),
            Step::Progress(it) => assert_eq!(it.validate(), Ok(())),
            Step::Usage(it) => assert_eq!(it.validate(), Ok(())),
            Step::TurnCompleted(it) => assert_eq!(it.validate(), Ok(())),
            Step::Raw(it) => assert!(it.validate().is_ok() && it.data.to_string().len() <= 7 * 64 * 1024),
            Step::Write(line) => assert!(!line.is_empty()),
        }
    }

    fn piece(&mut self, it: &TextDelta) {
        assert_eq!(it.validate(), Ok(()));
        let key = (it.message_id.clone(), it.block);
        assert!(!self.told.contains_key(&key), "no piece follows its block: {it:?}");
        let text = self.pieces.entry(key).or_default();
        assert_eq!(text.encode_utf16().count() as u64, it.offset, "pieces join: {it:?}");
        text.push_str(&it.text);
    }

    /// Nothing is open, and every block of which there were pieces was told.
    pub(super) fn close(&self) {
        assert!(self.tools.is_empty() && self.agents.is_empty(), "{self:?}");
        assert!(self.requests.is_empty() && self.questions.is_empty(), "{self:?}");
        for key in self.pieces.keys() {
            assert!(self.told.contains_key(key), "{key:?} stays in pieces: {self:?}");
        }
    }

    /// The pieces of every block make its text.
    pub(super) fn pieces_are_the_texts(&self) {
        for (key, pieces) in &self.pieces {
            let Some(Block::Text { text } | Block::Thinking { text }) = self.told.get(key) else {
                panic!("{key:?} is no text: {self:?}")
            };
            assert_eq!(text, pieces);
        }
    }

    /// The blocks of a message, from the first.
    pub(super) fn blocks(&self, message: &str) -> Vec<Block> {
        let of = self.told.iter().filter(|((id, _), _)| id == message);
        of.zip(0..)
            .map(|(((_, number), block), place)| {
                assert_eq!(*number, place, "no number is left out: {self:?}");
                block.clone()
            })
            .collect()
    }
}
