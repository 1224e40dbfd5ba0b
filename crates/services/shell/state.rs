//! The projection of `shell:terminal:*`: how a terminal is, and what it shows.
//!
//! Guarantees: a pure fold, bounded as [`Display`] is; the first end counts and no later event changes
//! it; ephemeral and unknown messages change nothing but the time.
//! It is not the whole output: that is in the channel's history.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Event, Message, Timestamp, UserId, projection::Reducer};

use super::{
    contract::{
        Board, Cause, ERROR, EXIT, Exited, Failed, OPENED, OUTPUT, Opened, Output, RESIZED, Resized, Status, TerminalId,
    },
    display::Display,
};
use crate::{programs::line, project::ProjectId, session::SessionId, telling::Told};

/// Why a terminal ended in an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ShellFailure")]
pub struct Failure {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// The state of a terminal: the fold of its channel. Its JSON is the snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ShellState {
    /// The terminal; none before its first event.
    pub terminal_id: Option<TerminalId>,
    /// How it is.
    pub status: Status,
    /// The project that it runs in.
    pub project_id: Option<ProjectId>,
    /// What people call it: the title that the program gave its window, else [`ShellState::name`].
    pub title: Option<String>,
    /// The program's name.
    pub name: Option<String>,
    /// The command line that was asked for.
    pub command: Option<Vec<String>>,
    /// Its directory, relative to the project's root.
    pub cwd: Option<String>,
    /// The session whose program runs in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Whether this server runs the program.
    pub hosted: bool,
    /// Who opened it.
    pub opened_by: Option<UserId>,
    /// When it was opened.
    pub opened_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When its newest message was published.
    pub updated_at: Option<Timestamp>,
    /// The exit code, once the program exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it exited, once it did.
    pub reason: Option<Cause>,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
    /// How many bytes of output there are so far.
    pub bytes: u64,
    /// What it shows.
    #[serde(flatten)]
    pub display: Display,
}

impl ShellState {
    fn open(&mut self, event: &Opened, at: Timestamp, by: Option<&UserId>) {
        if self.opened_at.is_some() {
            return;
        }
        self.opened_by = by.cloned();
        self.opened_at = Some(at);
        if self.status == Status::Opening {
            self.status = Status::Running;
        }
        self.project_id.clone_from(&event.project_id);
        self.name.clone_from(&event.title);
        self.command = event.command.as_deref().map(|command| line::shown(command, str::to_owned));
        self.cwd.clone_from(&event.cwd);
        self.session_id.clone_from(&event.session_id);
        self.hosted = event.hosted;
        self.display.resize(event.cols, event.rows);
    }

    fn end(&mut self, status: Status, at: Timestamp) -> bool {
        let first = self.status.is_open();
        if first {
            self.status = status;
            self.ended_at = Some(at);
            self.display.settle();
        }
        first
    }

    fn know(&mut self, id: &TerminalId) {
        if self.terminal_id.is_none() {
            self.terminal_id = Some(id.clone());
        }
    }
}

impl Told for ShellState {
    type Id = TerminalId;
    const DOMAIN: &'static str = "shell";

    fn is_open(&self) -> bool {
        self.terminal_id.is_some() && self.status.is_open()
    }
}

/// The reducer of a terminal's channel.
#[derive(Debug)]
pub struct ShellReducer;

impl Reducer for ShellReducer {
    type State = ShellState;
    const VERSION: u32 = 1;
    const ENDS: &'static [&'static str] = &[EXIT, ERROR];

    fn is_open(state: &ShellState) -> bool {
        state.terminal_id.is_some() && state.hosted && state.status.is_open()
    }

    fn apply(state: &mut ShellState, message: &Message) {
        if message.seq.is_none() {
            return;
        }
        state.updated_at = Some(message.time);
        let (payload, at) = (&message.payload, message.time);
        match message.event_type.as_str() {
            OPENED => {
                if let Ok(event) = payload.typed::<Opened>() {
                    state.know(&event.terminal_id);
                    state.open(&event, at, message.by.as_ref());
                }
            }
            OUTPUT => {
                if let Ok(event) = payload.typed::<Output>() {
                    state.know(&event.terminal_id);
                    state.bytes += event.data.len() as u64;
                    if state.status.is_open() {
                        state.display.write(&event.data);
                    }
                }
            }
            RESIZED => {
                if let Ok(event) = payload.typed::<Resized>()
                    && state.status.is_open()
                {
                    state.display.resize(event.cols, event.rows);
                }
            }
            EXIT => {
                if let Ok(event) = payload.typed::<Exited>() {
                    state.know(&event.terminal_id);
                    if state.end(Status::Exited, at) {
                        (state.code, state.signal, state.reason) = (event.code, event.signal, Some(event.reason));
                    }
                }
            }
            ERROR => {
                if let Ok(event) = payload.typed::<Failed>() {
                    state.know(&event.terminal_id);
                    if state.end(Status::Error, at) {
                        state.error = Some(Failure { code: event.code.clone(), message: event.message.clone() });
                    }
                }
            }
            _ => {}
        }
        state.title = state.display.title().map(str::to_owned).or_else(|| state.name.clone());
    }

    fn abandoned(state: &ShellState) -> Vec<Event> {
        let Some(terminal_id) = state.terminal_id.clone().filter(|_| Self::is_open(state)) else {
            return Vec::new();
        };
        let boarded = state.project_id.clone().filter(|_| state.session_id.is_none());
        let board = boarded.map(|project_id| Board {
            project_id,
            status: Status::Error.as_str(),
            title: state.name.clone().unwrap_or_default(),
            at: state.updated_at.unwrap_or_default(),
        });
        vec![Event::new(ERROR, server_stopped(terminal_id, board))]
    }
}

/// The end of a terminal whose server stopped.
pub(super) fn server_stopped(terminal_id: TerminalId, board: Option<Board>) -> Failed {
    let message = "the server stopped while the terminal was open".to_owned();
    Failed { terminal_id, code: "server_stopped".to_owned(), message, board }
}
