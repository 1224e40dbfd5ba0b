//! The projection of `session:*`: how a session is, what it was asked, and the newest of what it printed.
//!
//! Guarantees: a pure fold, bounded by [`TRANSCRIPT_CHUNKS`], [`TRANSCRIPT_BYTES`] and
//! [`USER_MESSAGES`]; the first end counts and no later event changes it; ephemeral and unknown
//! messages change nothing but the count and the time.
//! It is not the whole output: that is in the channel's history.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Event, Message, Seq, Timestamp, UserId,
    projection::{Draft, Reducer},
};

use super::{
    contract::{
        Board, CANCELLED, COMPLETED, Completed, ERROR, Failed, PAUSED, RESUMED, STARTED, STREAM_OUTPUT, SessionId,
        Started, Status, Stream, StreamOutput, TERMINAL_OPENED, TerminalOpened, USER_MESSAGE, UserMessage,
    },
    conversation::Conversation,
    draft::SessionDraft,
    output::PIECE_BYTES,
    plan::SHOWN_PROMPT,
};
use crate::{
    programs::{decode::shortened, line},
    project::ProjectId,
    shell::TerminalId,
};

/// The most pieces of output in a state.
pub const TRANSCRIPT_CHUNKS: usize = 100;
/// The most bytes of output in a state, as JSON has them; the newest piece stays.
pub const TRANSCRIPT_BYTES: usize = 64 * 1024;
/// The most messages of users in a state.
pub const USER_MESSAGES: usize = 10;
/// The most bytes that a state keeps of one message of a user.
const USER_MESSAGE_BYTES: usize = 1024;

/// How much there is of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Durable messages of its channel.
    pub messages: u64,
    /// Bytes of output, all streams together.
    pub bytes: u64,
    /// Bytes of the transcript, as JSON has them.
    pub kept: u64,
}

/// Why a session ended in an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SessionFailure")]
pub struct Failure {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chunk {
    /// Its message.
    pub seq: Seq,
    /// Where it comes from.
    pub r#type: Stream,
    /// The text; of a longer one than the service makes, the last 16 KiB.
    pub content: String,
}

impl Chunk {
    /// How long its text is in JSON, where a control character takes up to six bytes.
    fn weight(&self) -> u64 {
        self.content.bytes().map(|byte| if byte < 0x20 { 6 } else { 1 }).sum()
    }
}

/// A message of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Its message in the channel.
    pub seq: Seq,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The sender's key for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The text, the first KiB of it.
    pub content: String,
}

/// The state of a session: the fold of its channel. Its JSON is the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionState {
    /// The session; none before its first event.
    pub session_id: Option<SessionId>,
    /// How it is.
    pub status: Status,
    /// The project that it runs in.
    pub project_id: Option<ProjectId>,
    /// What people call it.
    pub title: Option<String>,
    /// The agent that runs.
    pub agent: Option<String>,
    /// The free command line that runs.
    pub command: Option<Vec<String>>,
    /// What it was asked.
    pub prompt: Option<String>,
    /// The working tree that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// The terminal that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_id: Option<TerminalId>,
    /// Whether this server runs the program.
    pub hosted: bool,
    /// See [`Started::request`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Who started it.
    pub started_by: Option<UserId>,
    /// Whether its program stands still.
    pub paused: bool,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When its newest message was published.
    pub updated_at: Option<Timestamp>,
    /// The exit code, once the program exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
    /// How much there is of it.
    pub counts: Counts,
    /// The newest part of the output, oldest first.
    pub transcript: VecDeque<Chunk>,
    /// The newest messages of users, oldest first.
    pub user_messages: VecDeque<Said>,
    /// What is known of the agent inside, of an agent that tells.
    pub conversation: Conversation,
}

impl SessionState {
    fn start(&mut self, event: &Started, at: Timestamp, by: Option<&UserId>) {
        if self.started_at.is_some() {
            return;
        }
        self.started_by = by.cloned();
        self.started_at = Some(at);
        if self.status == Status::Starting {
            self.status = Status::Running;
        }
        self.project_id.clone_from(&event.project_id);
        self.title.clone_from(&event.title);
        self.agent.clone_from(&event.agent);
        self.command = event.command.as_deref().map(|command| line::shown(command, str::to_owned));
        self.prompt = event.prompt.as_deref().map(|prompt| shortened(prompt, SHOWN_PROMPT).to_owned());
        self.worktree.clone_from(&event.worktree);
        self.hosted = event.hosted;
        if self.hosted {
            // What was told before, under an id that somebody knew in advance, was not of this session.
            self.status = Status::Running;
            (self.ended_at, self.exit_code, self.signal, self.error) = (None, None, None, None);
            (self.paused, self.terminal_id, self.conversation) = (false, None, Conversation::default());
        }
        self.request.clone_from(&event.request);
    }

    fn print(&mut self, event: &StreamOutput, seq: Seq) {
        self.counts.bytes += event.content.len() as u64;
        let tail = event.content.ceil_char_boundary(event.content.len().saturating_sub(PIECE_BYTES));
        let chunk = Chunk { seq, r#type: event.r#type, content: event.content[tail..].to_owned() };
        self.counts.kept += chunk.weight();
        self.transcript.push_back(chunk);
        while self.transcript.len() > TRANSCRIPT_CHUNKS
            || (self.counts.kept > TRANSCRIPT_BYTES as u64 && self.transcript.len() > 1)
        {
            let oldest = self.transcript.pop_front();
            self.counts.kept -= oldest.map_or(0, |chunk| chunk.weight());
        }
    }

    fn hear(&mut self, event: &UserMessage, seq: Seq, by: Option<&UserId>) {
        self.user_messages.push_back(Said {
            seq,
            message_id: event.message_id.clone(),
            client_message_id: event.client_message_id.clone(),
            user_id: by.cloned(),
            content: shortened(&event.content, USER_MESSAGE_BYTES).to_owned(),
        });
        while self.user_messages.len() > USER_MESSAGES {
            self.user_messages.pop_front();
        }
    }

    fn end(&mut self, status: Status, at: Timestamp) -> bool {
        let first = self.status.is_open();
        if first {
            self.status = status;
            self.ended_at = Some(at);
            self.paused = false;
        }
        first
    }

    fn fail(&mut self, event: &Failed, at: Timestamp) {
        if self.end(Status::Error, at) {
            self.error = Some(Failure { code: event.code.clone(), message: event.message.clone() });
            self.exit_code = event.exit_code;
            self.signal = event.signal;
        }
    }

    fn know(&mut self, id: &SessionId) {
        if self.session_id.is_none() {
            self.session_id = Some(id.clone());
        }
    }
}

/// The reducer of a session's channel.
#[derive(Debug)]
pub struct SessionReducer;

impl Reducer for SessionReducer {
    type State = SessionState;
    const VERSION: u32 = 2;
    const ENDS: &'static [&'static str] = &[COMPLETED, ERROR, CANCELLED];

    fn upgrade(version: u32, bytes: &[u8]) -> Option<SessionState> {
        // What came since has its defaults.
        if version == 1 { serde_json::from_slice(bytes).ok() } else { None }
    }

    fn is_open(state: &SessionState) -> bool {
        state.session_id.is_some() && state.hosted && state.status.is_open()
    }

    fn apply(state: &mut SessionState, message: &Message) {
        let Some(seq) = message.seq else { return };
        state.counts.messages += 1;
        state.updated_at = Some(message.time);
        let (payload, at) = (&message.payload, message.time);
        match message.event_type.as_str() {
            STARTED => {
                if let Ok(event) = payload.typed::<Started>() {
                    state.know(&event.session_id);
                    state.start(&event, at, message.by.as_ref());
                }
            }
            STREAM_OUTPUT => {
                if let Ok(event) = payload.typed::<StreamOutput>() {
                    state.know(&event.session_id);
                    state.print(&event, seq);
                }
            }
            USER_MESSAGE => {
                if let Ok(event) = payload.typed::<UserMessage>() {
                    state.hear(&event, seq, message.by.as_ref());
                }
            }
            COMPLETED => {
                if let Ok(event) = payload.typed::<Completed>() {
                    state.know(&event.session_id);
                    if state.end(Status::Completed, at) {
                        state.exit_code = event.exit_code;
                    }
                }
            }
            ERROR => {
                if let Ok(event) = payload.typed::<Failed>() {
                    state.know(&event.session_id);
                    state.fail(&event, at);
                }
            }
            CANCELLED => {
                state.end(Status::Cancelled, at);
            }
            TERMINAL_OPENED => {
                if let Ok(event) = payload.typed::<TerminalOpened>() {
                    state.terminal_id.get_or_insert_with(|| event.terminal_id.clone());
                }
            }
            PAUSED => state.paused = state.status.is_open(),
            RESUMED => state.paused = false,
            _ => {}
        }
        state.conversation.apply(message, seq, state.hosted);
    }

    fn abandoned(state: &SessionState) -> Vec<Event> {
        let Some(session_id) = state.session_id.clone().filter(|_| Self::is_open(state)) else {
            return Vec::new();
        };
        let board = state.project_id.clone().map(|project_id| Board {
            project_id,
            status: Status::Error.as_str(),
            title: state.title.clone().unwrap_or_default(),
            at: state.updated_at.unwrap_or_default(),
        });
        let mut events = state.conversation.abandoned(&session_id, state.started_by.as_ref());
        events.push(Event::new(ERROR, server_stopped(session_id, board)));
        events
    }

    fn draft() -> Option<Box<dyn Draft>> {
        Some(Box::<SessionDraft>::default())
    }

    fn show(state: &mut SessionState, draft: &dyn Draft) {
        if let Some(draft) = draft.as_any().downcast_ref::<SessionDraft>() {
            state.conversation.in_progress = draft.blocks().to_vec();
        }
    }
}

/// The end of a session whose server stopped.
pub(super) fn server_stopped(session_id: SessionId, board: Option<Board>) -> Failed {
    Failed {
        session_id,
        code: "server_stopped".to_owned(),
        message: "the server stopped while the program was running".to_owned(),
        exit_code: None,
        signal: None,
        board,
    }
}
