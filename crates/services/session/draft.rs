//! The messages that an agent is just making: what its deltas have built up.
//!
//! Guarantees: a text is a beginning of what the agent said, without a hole, whatever is missing or
//! repeated among the deltas; bounded by [`DRAFT_BYTES`].
//! It is not the transcript: a whole message replaces its blocks here.

use std::any::Any;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Event, Message, projection::Draft};

use super::contract::{
    CANCELLED, COMPLETED, ERROR, SessionId,
    agent::{AgentMessage, MESSAGE, TEXT_DELTA, THINKING_DELTA, TURN_COMPLETED, TextDelta},
};

/// The most bytes of text in the draft of a session; what comes after them is not gathered.
pub const DRAFT_BYTES: usize = 1 << 20;

/// What a block in progress is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DraftKind {
    /// What is said.
    Text,
    /// What is thought.
    Thinking,
}

/// A block of a message that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InProgress {
    /// The message.
    pub message_id: String,
    /// Which block of it.
    pub block: u32,
    /// What it is.
    pub kind: DraftKind,
    /// The text so far.
    pub text: String,
    /// Its length in UTF-16 code units: the `offset` of the delta that comes next.
    pub length: u64,
    /// The tool call of the subagent that speaks; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

/// The draft of a session's channel.
#[derive(Debug, Default)]
pub struct SessionDraft {
    session_id: Option<SessionId>,
    blocks: Vec<InProgress>,
}

impl SessionDraft {
    /// The blocks in progress, oldest first.
    #[must_use]
    pub fn blocks(&self) -> &[InProgress] {
        &self.blocks
    }

    fn grow(&mut self, delta: &TextDelta, kind: DraftKind) {
        let room = DRAFT_BYTES.saturating_sub(self.blocks.iter().map(|block| block.text.len()).sum());
        let same = |block: &&mut InProgress| {
            block.message_id == delta.message_id && block.block == delta.block && block.kind == kind
        };
        let length = self.blocks.iter_mut().find(same).map_or(0, |block| block.length);
        let Some(text) = unseen(length, delta).filter(|text| !text.is_empty() && text.len() <= room) else { return };
        self.session_id.get_or_insert_with(|| delta.session_id.clone());
        let units = utf16_len(text);
        if let Some(block) = self.blocks.iter_mut().find(same) {
            block.text.push_str(text);
            block.length += units;
            return;
        }
        self.blocks.push(InProgress {
            message_id: delta.message_id.clone(),
            block: delta.block,
            kind,
            text: text.to_owned(),
            length: units,
            parent_execution_id: delta.parent_execution_id.clone(),
        });
    }

    fn replace(&mut self, message: &AgentMessage) {
        let count = u32::try_from(message.blocks.len()).unwrap_or(u32::MAX);
        let whole = message.block..message.block.saturating_add(count);
        self.blocks.retain(|block| block.message_id != message.message_id || !whole.contains(&block.block));
    }
}

impl Draft for SessionDraft {
    fn apply(&mut self, message: &Message) {
        match message.event_type.as_str() {
            kind @ (TEXT_DELTA | THINKING_DELTA) => {
                let kind = if kind == TEXT_DELTA { DraftKind::Text } else { DraftKind::Thinking };
                if let Ok(delta) = message.payload.typed::<TextDelta>() {
                    self.grow(&delta, kind);
                }
            }
            MESSAGE => {
                if let Ok(whole) = message.payload.typed::<AgentMessage>() {
                    self.replace(&whole);
                }
            }
            TURN_COMPLETED | COMPLETED | ERROR | CANCELLED => self.blocks.clear(),
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn events(&self) -> Vec<Event> {
        let Some(session_id) = &self.session_id else { return Vec::new() };
        let delta = |block: &InProgress| {
            let data = TextDelta {
                session_id: session_id.clone(),
                message_id: block.message_id.clone(),
                block: block.block,
                offset: 0,
                text: block.text.clone(),
                parent_execution_id: block.parent_execution_id.clone(),
            };
            let event_type = if block.kind == DraftKind::Text { TEXT_DELTA } else { THINKING_DELTA };
            Event::new(event_type, data)
        };
        self.blocks.iter().map(delta).collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What of a delta is new to whoever has `length` code units of its block; none where something is
/// missing before it.
fn unseen(length: u64, delta: &TextDelta) -> Option<&str> {
    let mut skip = length.checked_sub(delta.offset)?;
    let mut rest = delta.text.chars();
    while skip > 0 {
        let Some(next) = rest.next() else { return Some("") };
        // A pair that is cut in its middle was never sent so: characters are not split.
        skip = skip.saturating_sub(next.len_utf16() as u64);
    }
    Some(rest.as_str())
}

/// The length of a text as JavaScript counts it.
pub(super) fn utf16_len(text: &str) -> u64 {
    text.chars().map(|character| character.len_utf16() as u64).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_core::Timestamp;

    use super::{super::contract::agent::Block, *};

    fn session_id() -> SessionId {
        "s1".parse().expect("an id")
    }

    fn message(event: Event) -> Message {
        Message::new("session:s1".parse().expect("a channel"), None, Timestamp(1), event)
    }

    fn delta(block: u32, offset: u64, text: &str) -> Message {
        let data = TextDelta {
            session_id: session_id(),
            message_id: "m1".to_owned(),
            block,
            offset,
            text: text.to_owned(),
            parent_execution_id: None,
        };
        message(Event::new(TEXT_DELTA, data))
    }

    fn whole(block: u32, text: &str) -> Message {
        let data = AgentMessage {
            session_id: session_id(),
            message_id: "m1".to_owned(),
            role: Default::default(),
            block,
            blocks: vec![Block::Text { text: text.to_owned() }],
            model: None,
            parent_execution_id: None,
        };
        message(Event::new(MESSAGE, data))
    }

    #[test]
    fn a_whole_message_replaces_its_own_blocks_and_leaves_the_others() {
        let mut draft = SessionDraft::default();
        draft.apply(&delta(0, 0, "one"));
        draft.apply(&delta(1, 0, "two"));
        draft.apply(&whole(0, "one"));
        let left: Vec<_> = draft.blocks().iter().map(|block| (block.block, block.text.as_str())).collect();
        assert_eq!(left, [(1, "two")]);
        draft.apply(&whole(1, "two"));
        assert!(draft.is_empty() && draft.events().is_empty());
    }

    #[test]
    fn an_end_leaves_nothing_in_progress() {
        for end in [COMPLETED, ERROR, CANCELLED, TURN_COMPLETED] {
            let mut draft = SessionDraft::default();
            draft.apply(&delta(0, 0, "one"));
            draft.apply(&message(Event::new(end, serde_json::json!({"sessionId": "s1"}))));
            assert!(draft.is_empty(), "{end}");
        }
    }

    #[test]
    fn a_draft_stops_growing_at_its_bound_and_stays_a_beginning() {
        let mut draft = SessionDraft::default();
        let piece = "x".repeat(DRAFT_BYTES / 4);
        for n in 0..6 {
            draft.apply(&delta(0, n * piece.len() as u64, &piece));
        }
        assert_eq!(draft.blocks()[0].text.len(), DRAFT_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn whatever_is_missing_or_repeated_the_text_is_a_beginning_and_a_whole_delta_mends_it(
            text in "[a-z\u{1F980}é]{1,40}",
            cuts in proptest::collection::vec((0usize..40, 0usize..40), 0..12),
        ) {
            let characters: Vec<char> = text.chars().collect();
            let mut draft = SessionDraft::default();
            for (from, to) in cuts {
                let (from, to) = (from.min(characters.len()), to.min(characters.len()));
                if from < to {
                    let before: String = characters[..from].iter().collect();
                    let piece: String = characters[from..to].iter().collect();
                    draft.apply(&delta(0, utf16_len(&before), &piece));
                }
                if let Some(block) = draft.blocks().first() {
                    prop_assert!(text.starts_with(&block.text));
                    prop_assert_eq!(block.length, utf16_len(&block.text));
                }
            }
            draft.apply(&delta(0, 0, &text));
            prop_assert_eq!(&draft.blocks()[0].text, &text);
        }
    }
}
