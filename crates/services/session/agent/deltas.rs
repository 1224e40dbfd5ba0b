//! Deltas: pieces of a text in progress, redacted as they come, sent while there is room.
//!
//! Guarantees: the offsets of a block are without a hole as they are made; where the bus has no room,
//! neighbours become one, and what cannot wait is dropped and counted.
//! They are not the text: a durable message repeats it whole.

use std::{collections::HashMap, sync::Arc};

use tidings_core::{Event, bus::EventBus};

use super::super::{
    contract::agent::{TEXT_DELTA, THINKING_DELTA, TextDelta},
    draft::{DRAFT_BYTES, utf16_len},
};
use crate::redaction::{Redaction, Redactor};

/// A piece of a text in progress, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Delta {
    pub(super) data: TextDelta,
    pub(super) thinking: bool,
}

impl Delta {
    /// Takes the next one in, if it goes on right where this one ends.
    fn join(&mut self, next: &Self) -> bool {
        let follows = self.thinking == next.thinking
            && self.data.message_id == next.data.message_id
            && self.data.block == next.data.block
            && self.data.offset + utf16_len(&self.data.text) == next.data.offset
            && self.data.text.len() + next.data.text.len() <= DRAFT_BYTES;
        if follows {
            self.data.text.push_str(&next.data.text);
        }
        follows
    }

    fn event(self) -> Event {
        Event::new(if self.thinking { THINKING_DELTA } else { TEXT_DELTA }, self.data)
    }
}

/// The sender of deltas: at most one waits for room.
#[derive(Debug, Default)]
pub(in super::super) struct Deltas {
    waiting: Option<Delta>,
}

impl Deltas {
    /// Sends a delta, or lets it wait for room. Never waits itself.
    pub(in super::super) fn send(&mut self, bus: &dyn EventBus, delta: Delta) {
        let joined = self.waiting.as_mut().is_some_and(|waiting| waiting.join(&delta));
        if !joined && self.waiting.replace(delta).is_some() {
            metrics::counter!("tidings_deltas_dropped_total").increment(1);
        }
        self.flush(bus);
    }

    /// Sends what waits, if there is room now.
    pub(in super::super) fn flush(&mut self, bus: &dyn EventBus) {
        if self.waiting.is_some()
            && let Ok(slot) = bus.try_reserve()
            && let Some(delta) = self.waiting.take()
        {
            // It is ephemeral: nobody waits for it.
            drop(slot.send(delta.event()));
        }
    }
}

/// The redaction of the blocks in progress.
#[derive(Debug)]
pub(super) struct Streams {
    redaction: Arc<Redaction>,
    blocks: HashMap<(String, u32, bool), Stream>,
}

#[derive(Debug)]
struct Stream {
    redactor: Redactor,
    sent: u64,
    parent: Option<String>,
}

impl Streams {
    /// No block is in progress.
    pub(super) fn new(redaction: Arc<Redaction>) -> Self {
        Self { redaction, blocks: HashMap::new() }
    }

    /// Takes a delta of the agent's; gives what can be shown of it now.
    pub(super) fn push(&mut self, data: TextDelta, thinking: bool) -> Option<Delta> {
        let key = (data.message_id.clone(), data.block, thinking);
        let stream = self.blocks.entry(key).or_insert_with(|| Stream {
            redactor: Redactor::new(self.redaction.clone()),
            sent: 0,
            parent: data.parent_execution_id.clone(),
        });
        let text = stream.redactor.push(&data.text);
        stream.delta(TextDelta { text, ..data }, thinking)
    }

    /// Whether something is held back.
    pub(super) fn hold(&self) -> bool {
        self.blocks.values().any(|stream| stream.redactor.holds())
    }

    /// What is held back, of every block.
    pub(super) fn flush(&mut self, session_id: &super::super::SessionId) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for ((message_id, block, thinking), stream) in &mut self.blocks {
            let text = stream.redactor.flush();
            let data = TextDelta {
                session_id: session_id.clone(),
                message_id: message_id.clone(),
                block: *block,
                offset: 0,
                text,
                parent_execution_id: stream.parent.clone(),
            };
            deltas.extend(stream.delta(data, *thinking));
        }
        deltas
    }

    /// Blocks are whole now: nothing more of them is sent as a delta.
    pub(super) fn end(&mut self, message_id: &str, block: u32, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let whole = block..block.saturating_add(count);
        self.blocks.retain(|(message, block, _), _| message != message_id || !whole.contains(block));
    }

    /// The turn is over: no block is in progress.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
    }
}

impl Stream {
    fn delta(&mut self, data: TextDelta, thinking: bool) -> Option<Delta> {
        if data.text.is_empty() {
            return None;
        }
        let offset = self.sent;
        self.sent += utf16_len(&data.text);
        Some(Delta { data: TextDelta { offset, ..data }, thinking })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redaction::RedactionConfig;

    fn delta(block: u32, offset: u64, text: &str) -> Delta {
        let data = TextDelta {
            session_id: "s1".parse().expect("an id"),
            message_id: "m1".to_owned(),
            block,
            offset,
            text: text.to_owned(),
            parent_execution_id: None,
        };
        Delta { data, thinking: false }
    }

    #[test]
    fn neighbours_of_one_block_become_one_and_others_do_not() {
        let mut first = delta(0, 0, "a\u{1F980}");
        assert!(first.join(&delta(0, 3, "b")), "a pair counts as two");
        assert!(!first.join(&delta(0, 9, "z")) && !first.join(&delta(1, 4, "z")));
        assert_eq!(first.data.text, "a\u{1F980}b");
    }

    #[test]
    fn a_secret_that_comes_in_pieces_is_in_no_delta_and_offsets_have_no_hole() {
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let mut streams = Streams::new(redaction);
        let key = format!("sk-{}", "abcdefghij".repeat(4));
        let text = format!("see {key} there\nand é on");
        let mut sent = Vec::new();
        for piece in text.chars().collect::<Vec<_>>().chunks(3) {
            sent.extend(streams.push(delta(0, 0, &piece.iter().collect::<String>()).data, false));
        }
        assert!(streams.hold(), "the last line is not finished");
        sent.extend(streams.flush(&"s1".parse().expect("an id")));
        let mut whole = String::new();
        for delta in &sent {
            assert_eq!(delta.data.offset, utf16_len(&whole));
            whole.push_str(&delta.data.text);
        }
        assert_eq!(whole, "see [redacted] there\nand é on");
        streams.end("m1", 0, 1);
        assert!(!streams.hold());
    }
}
