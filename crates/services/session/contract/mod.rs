//! The contract of sessions: ids, event types and their payloads.
//!
//! Guarantees: the JSON of these types is the wire's; each end of a session is told by exactly one
//! of `session.completed`, `session.error`, `session.cancelled`. A program that exits by itself has
//! completed, whatever its exit code; `session.error` is for what ends it from outside.
//! It is not the service, and it names no channel: that is the handler's. What an agent says inside
//! its session is in [`agent`], what it asks people in [`question`].

pub mod agent;
pub mod question;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

pub use crate::project::contract::Board;
use crate::{project::ProjectId, shell::TerminalId};

tidings_core::id_type! {
    /// A session. Ids sort by the time of their start (those made of an idempotency key by its hour).
    SessionId
}

tidings_core::events! {
    /// What the service tells of a session and its program. [`agent::EVENTS`] has what the agent says,
    /// [`question::EVENTS`] what it asks.
    pub const EVENTS;

    /// A session started.
    STARTED = "session.started": durable Started,
        r#"{"sessionId":"s1","projectId":"p1","title":"Fix the login","agent":"claude","prompt":"Fix the login"}"#;
    /// The program printed, or the server says something of it.
    STREAM_OUTPUT = "session.stream_output": durable StreamOutput,
        r#"{"sessionId":"s1","type":"stdout","content":"Hello\n","offset":0}"#;
    /// A message to the program was accepted.
    USER_MESSAGE = "session.user_message": durable UserMessage,
        r#"{"sessionId":"s1","messageId":"m1","clientMessageId":"c1","content":"And the logout?"}"#;
    /// A message waits until the agent is free.
    MESSAGE_QUEUED = "session.message_queued": durable MessageQueued,
        r#"{"sessionId":"s1","messageId":"m1","clientMessageId":"c1","content":"And the logout?"}"#;
    /// A message waits no more: it was passed on, or taken back.
    MESSAGE_DEQUEUED = "session.message_dequeued": durable MessageDequeued,
        r#"{"sessionId":"s1","messageId":"m1","reason":"sent"}"#;
    /// The program was stopped and keeps its place.
    PAUSED = "session.paused": durable Paused, r#"{"sessionId":"s1"}"#;
    /// The program goes on.
    RESUMED = "session.resumed": durable Resumed, r#"{"sessionId":"s1"}"#;
    /// The program runs in a terminal, which can be watched now.
    TERMINAL_OPENED = "session.terminal_opened": durable TerminalOpened, r#"{"sessionId":"s1","terminalId":"t1"}"#;
    /// The program runs; every 5 seconds.
    HEARTBEAT = "session.heartbeat": ephemeral Heartbeat,
        r#"{"sessionId":"s1","phase":"working","elapsedMs":15000,"silentMs":400}"#;
    /// The program exited by itself.
    COMPLETED = "session.completed": durable Completed, r#"{"sessionId":"s1","exitCode":0}"#;
    /// The session ended by a failure, a limit or a stop.
    ERROR = "session.error": durable Failed,
        r#"{"sessionId":"s1","code":"killed","message":"killed by signal 9","signal":9}"#;
    /// Somebody cancelled the session, and it ended.
    CANCELLED = "session.cancelled": durable Cancelled, r#"{"sessionId":"s1"}"#;
}

/// How a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SessionStatus")]
pub enum Status {
    /// Its start has not been told yet.
    #[default]
    Starting,
    /// Started and not ended.
    Running,
    /// The program exited by itself.
    Completed,
    /// It failed, was killed, or met a limit.
    Error,
    /// Somebody cancelled it.
    Cancelled,
}

impl Status {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// `session.started`: the first event of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The session.
    pub session_id: SessionId,
    /// The project that it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 200, message = "at most 200 characters"))]
    pub title: Option<String>,
    /// The configured agent that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The free command line that runs, redacted, the first 4 KiB of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// What it was asked, redacted, the first 8 KiB of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The working tree of the project that it runs in, `.worktrees/{worktree}`; none for its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Whether this server runs the program itself, and so tells its end when the server died. Only the server says
    /// so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosted: bool,
    /// A digest of what was asked for, where an idempotency key was given: a repeat must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The program's standard output.
    #[default]
    Stdout,
    /// Its standard error.
    Stderr,
    /// The server, about the program.
    System,
}

/// `session.stream_output`: a piece of output, at most 16 KiB, cut between characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamOutput {
    /// The session.
    pub session_id: SessionId,
    /// Where it comes from; standard output if it does not say.
    #[serde(default)]
    pub r#type: Stream,
    /// The text, redacted; bytes that are no UTF-8 are replaced by U+FFFD.
    pub content: String,
    /// How many bytes of this stream's content came before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// `session.user_message`: a message was accepted and goes to the program's standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserMessage {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The sender's key for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// What it says, redacted (the program gets it as it was sent).
    #[serde(default)]
    pub content: String,
}

/// `session.message_queued`: the agent is busy; the message goes to it when it is free. Its text is
/// in the [`UserMessage`] that tells when it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueued {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    pub message_id: String,
    /// The sender's key for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// What it says, redacted.
    #[serde(default)]
    pub content: String,
}

/// Why a message waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dequeued {
    /// It went to the agent: its [`UserMessage`] follows.
    Sent,
    /// Somebody took it back.
    Cancelled,
    /// The session ended before it went.
    Ended,
}

/// `session.message_dequeued`: exactly one for each [`MessageQueued`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageDequeued {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    pub message_id: String,
    /// Why.
    pub reason: Dequeued,
}

/// `session.paused`: all processes of the program stand still. Time goes on: limits count it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// The session.
    pub session_id: SessionId,
}

/// `session.resumed`: they go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// The session.
    pub session_id: SessionId,
}

/// `session.terminal_opened`: the program runs in this terminal. It ends with the session, and the session
/// with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TerminalOpened {
    /// The session.
    pub session_id: SessionId,
    /// The terminal.
    pub terminal_id: TerminalId,
}

/// What a running session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The program runs.
    Running,
    /// The agent works on a turn.
    Working,
    /// The agent waits for a person.
    Waiting,
    /// The agent has nothing to do.
    Idle,
    /// The program stands still.
    Paused,
    /// The program was told to end.
    Stopping,
}

/// `session.heartbeat`, ephemeral: the session is alive, also when it prints nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The session.
    pub session_id: SessionId,
    /// What it does.
    pub phase: Phase,
    /// Since its start, in milliseconds.
    pub elapsed_ms: u64,
    /// Since it last printed (or started), in milliseconds.
    pub silent_ms: u64,
}

/// `session.completed`, an end: the program exited by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Completed {
    /// The session.
    pub session_id: SessionId,
    /// Its exit code; other than 0 usually means that it was not content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `session.error`, an end. Codes of the service: `spawn_failed`, `killed` (by a signal that the
/// server did not send), `timeout`, `silent`, `output_limit`, `output_lost`, `input_stuck`, `no_result` (an
/// agent ended in the middle of a turn), `agent_failed` (its last turn did), `worktree_failed`,
/// `terminal_failed` (there is none to run in), `start_lost`, `server_stopped`, `internal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The session.
    pub session_id: SessionId,
    /// Why, for programs.
    #[serde(default = "unnamed")]
    pub code: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// The exit code, if the program exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `session.cancelled`, an end: somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancelled {
    /// The session.
    pub session_id: SessionId,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

fn unnamed() -> String {
    "failed".to_owned()
}
