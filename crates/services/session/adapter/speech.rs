//! Speech: messages in the making, and what of them was told whole.
//!
//! Guarantees: the blocks of a message are told in their order, each once; pieces of a block carry
//! their offset and, until the block is told, make its text; a block of which the agent told no whole
//! is told from its pieces; all pieces that wait take [`DRAFT_BYTES`] at most: what is beyond is left
//! out of the pieces, never of a block that is told whole.
//! It is not an agent's numbering: who has no ids and blocks of its own gets them here.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

use super::{
    super::contract::{
        SessionId,
        agent::{AgentMessage, Block, Role, TextDelta},
    },
    Step,
    bounds::{self, LastWord},
    open::{Call, Open},
};
use crate::programs::decode::shortened;

/// The most bytes that wait in pieces, all messages together.
const DRAFT_BYTES: usize = 1024 * 1024;
/// What a block takes beside its text.
const DRAFT_COST: usize = 256;
/// How many messages are remembered.
const MESSAGES: usize = 64;
/// How many of the blocks that were told from their pieces are remembered, of each message.
const SETTLED: usize = 64;

/// What a block is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
    /// A call of which the pieces are the JSON of its input. One without an id only goes on.
    Tool {
        id: String,
        name: String,
    },
}

#[derive(Debug)]
struct Draft {
    block: u32,
    kind: Kind,
    text: String,
    units: u64,
    cut: bool,
}

/// A message that is being said, or was.
#[derive(Debug)]
pub(super) struct Message {
    /// The id that it is told under.
    id: String,
    /// The agent's own id of it, once that is known.
    own: Option<String>,
    parent: Option<String>,
    pub(super) model: Option<String>,
    /// All blocks before this one are told.
    next: u32,
    drafts: Vec<Draft>,
    /// What was told from its pieces, and may still be told whole.
    settled: VecDeque<u64>,
}

/// What one agent and its subagents say.
#[derive(Debug)]
pub(super) struct Speech {
    session_id: SessionId,
    messages: VecDeque<Message>,
    made: u64,
    bytes: usize,
    last: Option<LastWord>,
}

impl Speech {
    pub(super) fn new(session_id: SessionId) -> Self {
        Self { session_id, messages: VecDeque::new(), made: 0, bytes: 0, last: None }
    }

    /// An id that the agent does not give.
    pub(super) fn make_id(&mut self) -> String {
        self.made += 1;
        format!("message-{}", self.made)
    }

    /// The last message of this speaker.
    pub(super) fn current(&self, parent: Option<&str>) -> Option<usize> {
        self.messages.iter().rposition(|message| message.parent.as_deref() == parent)
    }

    /// The message with the agent's id `own`, a new one where there is none: the speaker's former one
    /// is finished by it. Without an id it is the one that the speaker is at, unless that has one.
    pub(super) fn message(
        &mut self,
        own: Option<String>,
        parent: Option<&str>,
        open: &mut Open,
        steps: &mut Vec<Step>,
    ) -> usize {
        let same = |message: &Message| own.is_some() && message.own == own;
        if let Some(index) = self.messages.iter().rposition(same) {
            return index;
        }
        if let Some(index) = self.current(parent) {
            let message = &mut self.messages[index];
            if message.own.is_none() && !message.drafts.is_empty() {
                message.own = own;
                return index;
            }
            self.finish(index, open, steps);
        }
        if self.messages.len() >= MESSAGES {
            self.finish(0, open, steps);
            self.messages.pop_front();
        }
        let id = own.clone().unwrap_or_else(|| self.make_id());
        let parent = parent.map(str::to_owned);
        self.messages.push_back(Message {
            id,
            own,
            parent,
            model: None,
            next: 0,
            drafts: Vec::new(),
            settled: VecDeque::new(),
        });
        self.messages.len() - 1
    }

    /// The message at this place.
    pub(super) fn at(&mut self, index: usize) -> &mut Message {
        &mut self.messages[index]
    }

    /// A block begins, or goes on, with a piece. False where it was told already.
    pub(super) fn piece(&mut self, at: usize, block: u32, kind: Kind, piece: &str, steps: &mut Vec<Step>) -> bool {
        let Self { session_id, messages, bytes, .. } = self;
        let message = &mut messages[at];
        if block < message.next {
            return false;
        }
        let place = message.drafts.partition_point(|draft| draft.block < block);
        if message.drafts.get(place).is_none_or(|draft| draft.block != block) {
            let unnamed = matches!(&kind, Kind::Tool { id, .. } if id.is_empty());
            if unnamed || *bytes + DRAFT_COST > DRAFT_BYTES {
                return true;
            }
            *bytes += DRAFT_COST;
            message.drafts.insert(place, Draft { block, kind, text: String::new(), units: 0, cut: false });
        }
        let draft = &mut message.drafts[place];
        let Some(text) = draft.push(piece, DRAFT_BYTES.saturating_sub(*bytes)) else { return true };
        *bytes += text.len();
        let offset = draft.units;
        draft.units += text.encode_utf16().count() as u64;
        let delta = TextDelta {
            session_id: session_id.clone(),
            message_id: message.id.clone(),
            block,
            offset,
            text,
            parent_execution_id: message.parent.clone(),
        };
        match draft.kind {
            Kind::Text => steps.push(Step::TextDelta(delta)),
            Kind::Thinking => steps.push(Step::ThinkingDelta(delta)),
            Kind::Tool { .. } => {}
        }
        true
    }

    /// The text of a block so far: a piece of it is what was added.
    pub(super) fn grown(&mut self, at: usize, block: u32, kind: Kind, text: &str, steps: &mut Vec<Step>) {
        let draft = self.messages[at].drafts.iter().find(|draft| draft.block == block);
        let piece = draft.map_or(Some(text), |draft| text.strip_prefix(draft.text.as_str())).map(str::to_owned);
        if let Some(piece) = piece {
            self.piece(at, block, kind, &piece, steps);
        }
    }

    /// The agent tells a block whole: its pieces, and what comes before it, are settled.
    pub(super) fn whole(&mut self, at: usize, block: Block, open: &mut Open, steps: &mut Vec<Step>) {
        if self.messages[at].is_settled(&block) {
            return;
        }
        let number = self.messages[at].place(&block);
        self.settle(at, number, open, steps);
        let draft = self.take(at, number);
        let message = &mut self.messages[at];
        message.next = number.saturating_add(1);
        let cut = match (&block, &draft) {
            (Block::Text { text }, Some(draft)) if text.is_empty() => draft.cut,
            (Block::Text { text }, _) => text.len() > bounds::TEXT_BYTES,
            _ => false,
        };
        let block = match (block, draft) {
            // Some agents tell the pieces of a thought, and the whole without its text.
            (Block::Thinking { text }, Some(draft)) if text.is_empty() => Block::Thinking { text: draft.text },
            (Block::Text { text }, Some(draft)) if text.is_empty() => Block::Text { text: draft.text },
            (Block::Text { text } | Block::Thinking { text }, None) if text.is_empty() => return,
            (Block::Text { text }, _) => Block::Text { text: bounds::text(&text, bounds::TEXT_BYTES) },
            (Block::Thinking { text }, _) => Block::Thinking { text: bounds::text(&text, bounds::TEXT_BYTES) },
            (block, _) => block,
        };
        let told = self.told(at, number, block, cut);
        steps.push(told);
    }

    /// The message is complete, whether its blocks were told whole or not.
    pub(super) fn finish(&mut self, at: usize, open: &mut Open, steps: &mut Vec<Step>) {
        self.settle(at, u32::MAX, open, steps);
    }

    /// All messages of which `gone` names the speaker are complete.
    pub(super) fn finish_all(&mut self, gone: impl Fn(Option<&str>) -> bool, open: &mut Open, steps: &mut Vec<Step>) {
        for at in 0..self.messages.len() {
            if gone(self.messages[at].parent.as_deref()) {
                self.finish(at, open, steps);
            }
        }
    }

    /// Tells all blocks before `number` from their pieces.
    fn settle(&mut self, at: usize, number: u32, open: &mut Open, steps: &mut Vec<Step>) {
        while let Some(block) =
            self.messages[at].drafts.first().map(|draft| draft.block).filter(|block| *block < number)
        {
            let Some(draft) = self.take(at, block) else { return };
            self.messages[at].next = block.saturating_add(1);
            let parent = self.messages[at].parent.clone();
            let told = match &draft.kind {
                Kind::Text | Kind::Thinking if draft.text.is_empty() => continue,
                Kind::Text => Block::Text { text: draft.text.clone() },
                Kind::Thinking => Block::Thinking { text: draft.text.clone() },
                Kind::Tool { id, name } => Block::ToolUse { execution_id: id.clone(), name: name.clone() },
            };
            self.messages[at].remember(&told);
            let told = self.told(at, block, told, draft.cut);
            steps.push(told);
            if let Kind::Tool { id, name } = draft.kind {
                let input = bounds::read(&draft.text).unwrap_or(Value::String(draft.text));
                open.start(Call { id, name, input, parent, agent: None }, steps);
            }
        }
    }

    fn take(&mut self, at: usize, block: u32) -> Option<Draft> {
        let drafts = &mut self.messages[at].drafts;
        let index = drafts.iter().position(|draft| draft.block == block)?;
        let draft = drafts.remove(index);
        self.bytes = self.bytes.saturating_sub(draft.text.len() + DRAFT_COST);
        Some(draft)
    }

    /// The last text of the agent itself, and none from now on.
    pub(super) fn take_last(&mut self) -> Option<LastWord> {
        self.last.take()
    }

    /// `cut` says whether something of the block is missing.
    fn told(&mut self, at: usize, number: u32, block: Block, cut: bool) -> Step {
        let message = &self.messages[at];
        if let (Block::Text { text }, None) = (&block, &message.parent) {
            self.last = Some(LastWord::of(text, cut));
        }
        Step::Message(AgentMessage {
            session_id: self.session_id.clone(),
            message_id: message.id.clone(),
            role: Role::Assistant,
            block: number,
            blocks: vec![block],
            model: message.model.clone(),
            parent_execution_id: message.parent.clone(),
        })
    }

    /// Something that is said whole by another than the agent.
    pub(super) fn heard(&mut self, id: Option<String>, text: &str, parent: Option<String>, steps: &mut Vec<Step>) {
        let message_id = id.unwrap_or_else(|| self.make_id());
        steps.push(Step::Message(AgentMessage {
            session_id: self.session_id.clone(),
            message_id,
            role: Role::User,
            block: 0,
            blocks: vec![Block::Text { text: bounds::text(text, bounds::TEXT_BYTES) }],
            model: None,
            parent_execution_id: parent,
        }));
    }
}

/// What a block is told by: kind and text, or the call.
fn mark(block: &Block) -> u64 {
    let mut hasher = DefaultHasher::new();
    match block {
        Block::Text { text } => ("text", text).hash(&mut hasher),
        Block::Thinking { text } => ("thinking", text).hash(&mut hasher),
        Block::ToolUse { execution_id, .. } => ("tool", execution_id).hash(&mut hasher),
        Block::Other { kind } => ("other", kind).hash(&mut hasher),
    }
    hasher.finish()
}

impl Message {
    /// The number of the next block that has not begun.
    pub(super) fn free(&self) -> u32 {
        self.drafts.last().map_or(self.next, |draft| draft.block.saturating_add(1))
    }

    /// Remembers what was told from its pieces.
    fn remember(&mut self, block: &Block) {
        if self.settled.len() >= SETTLED {
            self.settled.pop_front();
        }
        self.settled.push_back(mark(block));
    }

    /// Whether a block that is told whole was told from its pieces already.
    fn is_settled(&mut self, block: &Block) -> bool {
        let mark = mark(block);
        let found = self.settled.iter().position(|settled| *settled == mark);
        found.and_then(|index| self.settled.remove(index)).is_some()
    }

    /// Which number a block has that is told whole: that of its pieces, else the next free one.
    fn place(&self, block: &Block) -> u32 {
        let is_of = |draft: &Draft| match (&draft.kind, block) {
            (Kind::Text, Block::Text { .. }) | (Kind::Thinking, Block::Thinking { .. }) => true,
            (Kind::Tool { id, .. }, Block::ToolUse { execution_id, .. }) => id == execution_id,
            _ => false,
        };
        let mut own = self.drafts.iter().filter(|draft| is_of(draft));
        let first = own.clone().next();
        let equal = own.find(|draft| match block {
            Block::Text { text } | Block::Thinking { text } => *text == draft.text,
            Block::ToolUse { .. } | Block::Other { .. } => true,
        });
        if let Some(draft) = equal.or(first) {
            return draft.block;
        }
        self.drafts
            .iter()
            .fold(self.next, |free, draft| if draft.block == free { free.saturating_add(1) } else { free })
    }
}

impl Draft {
    /// Adds a piece; what of it there was room for.
    fn push(&mut self, piece: &str, room: usize) -> Option<String> {
        if self.cut || piece.is_empty() {
            return None;
        }
        let room = room.min(bounds::TEXT_BYTES.saturating_sub(self.text.len()));
        let text = if piece.len() + bounds::CUT.len() <= room {
            piece.to_owned()
        } else {
            self.cut = true;
            format!("{}{}", shortened(piece, room.saturating_sub(bounds::CUT.len())), bounds::CUT)
        };
        self.text.push_str(&text);
        Some(text)
    }
}
