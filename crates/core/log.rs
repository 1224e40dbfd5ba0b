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
//! - What a user has in the log besides messages is bounded by [`Allowances`]: what is beyond them is
//!   refused with `overloaded`, and nobody else loses anything for it. No command runs twice for it.
//!
//! It is not a broker: who hears of a message is the hub's.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc, task};

use futures_util::future::BoxFuture;
use smol_str::SmolStr;

use crate::{
    Channel, Code, Epoch, Error, Event, Message, Result, Seq, Timestamp, UserId, bus::Placed, handler::Retention,
};

/// What a channel gets to know of itself when the event that opens it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opens {
    /// Who owns the channel.
    pub owner: Option<UserId>,
    /// The project that it belongs to.
    pub project: Option<SmolStr>,
}

impl Opens {
    /// Whether these say otherwise than facts that are known.
    #[must_use]
    pub fn differ(&self, owner: Option<&UserId>, project: Option<&str>) -> bool {
        owner.zip(self.owner.as_ref()).is_some_and(|(known, new)| known != new)
            || project.zip(self.project.as_deref()).is_some_and(|(known, new)| known != new)
    }

    /// The refusal of what is at this place of a send and opens what others have opened.
    #[must_use]
    pub fn refused(at: usize) -> Error {
        let why = "what it opens was opened by another user, or in another project: take another id";
        Error::new(Code::Conflict, why).with_field("data", why).at_entry(Some(at))
    }
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
    /// Facts of the channel, if this event opens it. Facts that are set already stay: other ones are a `conflict`.
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

    /// The same for a user, who is the author of what has an id: its new ids and new channels count against
    /// what the user is allowed, and beyond that the send is refused with `overloaded`.
    fn send_for(self: Box<Self>, _user: UserId, publications: Vec<Publication>) -> Appended {
        self.send(publications)
    }
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

/// Which state of a channel is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedAt {
    /// The last message in it.
    pub seq: Seq,
    /// The projection's version that made it.
    pub version: u32,
}

impl SavedState {
    /// Which it is.
    #[must_use]
    pub fn at(&self) -> SavedAt {
        SavedAt { seq: self.seq, version: self.version }
    }
}

/// What is known of a channel, trimmed or not. It costs the same whatever is in the channel: the bytes of its
/// saved state are read by themselves.
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
    /// Whether something may be open in it: not if its newest saved state said that nothing is, and nothing
    /// was published since.
    pub open: bool,
    /// Which state is saved, if one is. [`EventLog::states`] reads it.
    pub saved: Option<SavedAt>,
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
    /// Only those in which something may be open. Costs only what they are, however many others there are.
    pub open: bool,
    /// At most so many.
    pub limit: usize,
}

/// Which saved states to look for: those of a namespace that are not of a version.
#[derive(Debug, Clone)]
pub struct OtherVersions {
    /// The namespace.
    pub namespace: String,
    /// The version that is not looked for.
    pub version: u32,
    /// Only channels whose name is above this one.
    pub above: Option<Channel>,
    /// At most so many.
    pub limit: usize,
}

/// What is known of a command, for its repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// A digest of the command's name and input; a repeat with another one is a conflict.
    pub digest: String,
    /// How it ended; none while the outcome is not known.
    pub ended: Option<Ended>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The code of its error; none when all went well.
    pub code: Option<Code>,
    /// The whole answer, as JSON; none when it is not kept (any more).
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

/// What users may have in a log besides messages. 0 means without limit.
///
/// Each is counted for 24 hours. Ids and channels of what is published are counted where they are sent
/// [for a user](LogSlot::send_for); a channel also for the owner that the event names that opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowances {
    /// The bytes of the answers of a user's commands; beyond them the oldest go. 4 MiB.
    pub answers_per_user: u64,
    /// The bytes of the answers of all commands; beyond them the oldest go. 256 MiB.
    pub answers: u64,
    /// The commands with an id of a user. 100,000.
    pub commands_per_user: u64,
    /// The publications with an id of a user. 10,000,000.
    pub ids_per_user: u64,
    /// The new channels of a user, in each day of UTC. 100,000.
    pub channels_per_user: u64,
}

impl Allowances {
    /// A longer answer is not kept, in bytes.
    pub const LONGEST_ANSWER: usize = 64 * 1024;
}

impl Default for Allowances {
    fn default() -> Self {
        Self {
            answers_per_user: 4 * 1024 * 1024,
            answers: 256 * 1024 * 1024,
            commands_per_user: 100_000,
            ids_per_user: 10_000_000,
            channels_per_user: 100_000,
        }
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

    /// The saved states of channels, in the order of asking; none for a channel that has none.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn states(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<Option<SavedState>>>>;

    /// The channels of a namespace whose saved state is of another version, by rising name. Costs nothing
    /// after [`EventLog::states_are_of`] said the same of this namespace and version.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn states_of_others(&self, query: OtherVersions) -> BoxFuture<'_, Result<Vec<ChannelFacts>>>;

    /// Remembers that all saved states of a namespace are of this version, and will be.
    ///
    /// # Errors
    /// `unavailable` when it cannot be written.
    fn states_are_of(&self, namespace: &str, version: u32) -> BoxFuture<'_, Result<()>>;

    /// Lists channels with their facts.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    fn list(&self, query: ListChannels) -> BoxFuture<'_, Result<Vec<ChannelFacts>>>;

    /// Keeps a state of a channel. An older one than is kept already is ignored. With `settled`, nothing is
    /// open in it: the channel counts as settled until the next message.
    ///
    /// # Errors
    /// `unavailable` when it cannot be written.
    fn save_state(&self, channel: &Channel, state: SavedState, settled: bool) -> BoxFuture<'_, Result<()>>;

    /// Deletes the messages and the state of a channel. Its head stays: numbers never come again.
    ///
    /// # Errors
    /// `not_found` when it was never published to; `unavailable`.
    fn delete(&self, channel: &Channel) -> BoxFuture<'_, Result<()>>;

    /// Notes that a user's command begins, unless it is known already: then what is remembered.
    ///
    /// # Errors
    /// `overloaded` when the user has more commands than [`Allowances`] has; `unavailable` when it cannot
    /// be written.
    fn begin_command(&self, user: &UserId, command_id: &str, digest: &str)
    -> BoxFuture<'_, Result<Option<Remembered>>>;

    /// Keeps how a command ended for 24 h, and its answer as far as [`Allowances`] has room for it;
    /// without an end, forgets that it began.
    ///
    /// # Errors
    /// `unavailable` when it cannot be written.
    fn end_command(&self, user: &UserId, command_id: &str, ended: Option<Ended>) -> BoxFuture<'_, Result<()>>;

    /// How the log is.
    fn status(&self) -> LogStatus;

    /// Writes out what waits, refuses more, and closes the files.
    fn close(&self) -> BoxFuture<'_, ()>;
}
