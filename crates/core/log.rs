//! The event log as a port: it numbers, keeps, reads, trims and announces publications.
//!
//! Guarantees of every implementation (the conformance suite in testkit holds them):
//! - `seq` of a channel is 1, 2, 3 … without a hole, in the order of the sends; numbers are given
//!   in one place, and never again.
//! - A receipt means durable. What is announced is durable; announcements of a channel come in order.
//! - The publications of one send are one transaction: all or none. One bad send fails alone.
//! - An idempotency id (per channel and user) gives the first position for 24 h; the same id with
//!   another body is `conflict`.
//! - `time` never goes back. Nothing is trimmed whose effect is not in a saved state, where the
//!   channel's namespace has a projection. A channel's head, owner and state are never trimmed.
//!
//! It is not a broker: who hears of a message is the hub's.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc, task};

use futures_util::future::BoxFuture;
use smol_str::SmolStr;

use crate::{Channel, Epoch, Event, Message, Result, Seq, Timestamp, UserId, bus::Placed, handler::Retention};

/// What a channel gets to know of itself when the event that opens it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opens {
    /// Who owns the channel.
    pub owner: Option<UserId>,
    /// The project that it belongs to.
    pub project: Option<SmolStr>,
}

/// One message to be made: an event in a channel.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where.
    pub channel: Channel,
    /// What.
    pub event: Event,
    /// Whether it is numbered and kept. If not, it passes through in order and is only announced.
    pub durable: bool,
    /// Facts of the channel, if this event opens it. Facts that are set already stay.
    pub opens: Option<Opens>,
}

/// Resolves once the publications of one send are durable, to where they stand, in their order.
#[must_use = "await it to know that the publications are durable"]
pub struct Appended(BoxFuture<'static, Result<Vec<Placed>>>);

impl Appended {
    /// Resolves as this future does.
    pub fn new(future: impl Future<Output = Result<Vec<Placed>>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for Appended {
    type Output = Result<Vec<Placed>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Appended")
    }
}

/// Room in the log's queue for one send.
pub trait LogSlot: Send {
    /// Sends the publications as one transaction. Never waits.
    fn send(self: Box<Self>, publications: Vec<Publication>) -> Appended;
}

/// A message that is in the log now, or an ephemeral one in its place of the order.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its number in the whole log, rising; the same as the last durable one's for an ephemeral message.
    pub global: u64,
    /// The message.
    pub message: Arc<Message>,
}

/// What hears of the log. Called on the writer's own thread, in order; it must not wait.
pub trait LogSink: Send + Sync + 'static {
    /// These are durable (or ephemeral and in their place).
    fn committed(&self, batch: &[Committed]);

    /// The messages of a channel before `first` are gone.
    fn trimmed(&self, channel: &Channel, first: Seq);

    /// The log wants to trim, but needs a saved state of at least `through` first:
    /// somebody should call [`EventLog::save_state`].
    fn state_wanted(&self, channel: &Channel, through: Seq);

    /// A channel's log was deleted.
    fn deleted(&self, channel: &Channel);

    /// Something was committed whose announcement was lost: heads are to be read again.
    fn uncertain(&self);
}

/// The state that a projection saved.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedState {
    /// The last message in it.
    pub seq: Seq,
    /// The projection's version that made it.
    pub version: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SavedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SavedState(seq {}, {} bytes)", self.seq, self.bytes.len())
    }
}

/// What is known of a channel, trimmed or not.
#[derive(Debug, Clone)]
pub struct ChannelFacts {
    /// The channel.
    pub channel: Channel,
    /// The newest number; 0 before the first message.
    pub head: Seq,
    /// The oldest number still kept; `head + 1` when nothing is.
    pub first: Seq,
    /// Who owns it.
    pub owner: Option<UserId>,
    /// The project that it belongs to.
    pub project: Option<SmolStr>,
    /// When its first message was published.
    pub created_at: Timestamp,
    /// When its newest message was published.
    pub updated_at: Timestamp,
    /// The bytes of its kept messages.
    pub bytes: u64,
    /// The saved state, if there is one.
    pub saved: Option<SavedState>,
}

/// What to read of a channel. Messages come in rising order of `seq`.
#[derive(Debug, Clone)]
pub struct Read {
    /// Only messages above this.
    pub after: Seq,
    /// Only messages below this, if given.
    pub before: Option<Seq>,
    /// At most so many messages.
    pub limit: usize,
    /// About so many bytes of data; at least one message comes if there is one.
    pub max_bytes: usize,
    /// Whether to take the newest of the range (they still come in rising order) instead of the oldest.
    pub newest: bool,
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages, in rising order of `seq`, contiguous.
    pub messages: Vec<Arc<Message>>,
    /// The channel's head at that moment.
    pub head: Seq,
    /// The channel's first kept number at that moment.
    pub first: Seq,
}

/// Which channels to list: newest name first.
#[derive(Debug, Clone, Default)]
pub struct ListChannels {
    /// Only those of this namespace (the first segment).
    pub namespace: Option<String>,
    /// Only those of this project.
    pub project: Option<String>,
    /// Only names below this one (the cursor of the last page).
    pub below: Option<Channel>,
    /// At most so many.
    pub limit: usize,
}

/// What a command answered, for its repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// A digest of the command's name and input; a repeat with another one is a conflict.
    pub digest: String,
    /// The answer, as JSON; none while the outcome is not known.
    pub answer: Option<String>,
}

/// How the channels of a namespace are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRule {
    /// How much of each channel.
    pub retention: Retention,
    /// Whether the messages are folded into a state: then none is trimmed whose effect is not in a saved one.
    pub projected: bool,
}

/// How all channels are kept, by namespace. A namespace without a rule is never trimmed by one: only what bounds
/// the log as a whole takes from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRules(HashMap<String, LogRule>);

impl LogRules {
    /// The rule of a namespace, if it has one.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Option<LogRule> {
        self.0.get(namespace).copied()
    }
}

impl FromIterator<(String, LogRule)> for LogRules {
    fn from_iter<I: IntoIterator<Item = (String, LogRule)>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl IntoIterator for LogRules {
    type Item = (String, LogRule);
    type IntoIter = std::collections::hash_map::IntoIter<String, LogRule>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Figures of the log for metrics and health.
#[derive(Debug, Clone, Default)]
pub struct LogStatus {
    /// Sends that wait for the writer.
    pub waiting: usize,
    /// Whether the last commit worked.
    pub healthy: bool,
    /// Bytes of the log's files.
    pub file_bytes: u64,
}

/// The event log.
pub trait EventLog: Send + Sync + 'static {
    /// The epoch of the numbering: one for all channels of a log.
    fn epoch(&self) -> Epoch;

    /// Says who hears of commits from now on. Called once, before the first send.
    fn attach(&self, sink: Arc<dyn LogSink>);

    /// Waits for room for a send of about so many bytes.
    ///
    /// # Errors
    /// `unavailable` when the log is closed.
    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Box<dyn LogSlot>>>;

    /// Room for a send, if there is some now.
    ///
    /// # Errors
    /// `overloaded` when there is none; `unavailable` when the log is closed.
    fn try_reserve(&self, bytes: usize) -> Result<Box<dyn LogSlot>>;

    /// Reads messages of a channel. An unknown channel is an empty one.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn read(&self, channel: &Channel, read: Read) -> BoxFuture<'_, Result<Page>>;

    /// Reads messages of all channels in the order of the log, above `after`.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Committed>>>;

    /// The facts of a channel, if it was ever published to.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn facts(&self, channel: &Channel) -> BoxFuture<'_, Result<Option<ChannelFacts>>>;

    /// Lists channels with their facts and saved states.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn list(&self, query: ListChannels) -> BoxFuture<'_, Result<Vec<ChannelFacts>>>;

    /// Keeps a state of a channel. An older one than is kept already is ignored.
    ///
    /// # Errors
    /// `unavailable` when it cannot be written.
    fn save_state(&self, channel: &Channel, state: SavedState) -> BoxFuture<'_, Result<()>>;

    /// Deletes the messages and the state of a channel. Its head stays: numbers never come again.
    ///
    /// # Errors
    /// `not_found` when it was never published to; `unavailable`.
    fn delete(&self, channel: &Channel) -> BoxFuture<'_, Result<()>>;

    /// Notes that a user's command begins, unless it is known already: then what is remembered.
    ///
    /// # Errors
    /// `unavailable` when it cannot be written.
    fn begin_command(&self, user: &UserId, command_id: &str, digest: &str)
    -> BoxFuture<'_, Result<Option<Remembered>>>;

    /// Keeps a command's answer for 24 h; without an answer, forgets that it began.
    ///
    /// # Errors
    /// `unavailable` when it cannot be written.
    fn end_command(&self, user: &UserId, command_id: &str, answer: Option<&str>) -> BoxFuture<'_, Result<()>>;

    /// How the log is.
    fn status(&self) -> LogStatus;

    /// Writes out what waits, refuses more, and closes the files.
    fn close(&self) -> BoxFuture<'_, ()>;
}
