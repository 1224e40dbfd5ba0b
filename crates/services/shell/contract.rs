//! The contract of terminals: ids, event types and their payloads.
//!
//! Guarantees: the JSON of these types is the wire's; each end of a terminal is told by exactly one of
//! `shell.exit` and `shell.error`.
//! It is not the service, and it names no channel: that is the handler's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

pub use crate::project::contract::Board;
use crate::{project::ProjectId, session::SessionId};

tidings_core::id_type! {
    /// A terminal. Ids sort by the time of their start.
    TerminalId
}

/// The most columns of a terminal.
pub const MAX_COLS: u16 = 500;
/// The most rows of a terminal.
pub const MAX_ROWS: u16 = 200;
/// How many columns it has unless somebody says so.
pub const DEFAULT_COLS: u16 = 80;
/// How many rows.
pub const DEFAULT_ROWS: u16 = 24;

tidings_core::events! {
    /// What the service tells of a terminal.
    pub const EVENTS;

    /// A terminal was opened.
    OPENED = "shell.opened": durable Opened,
        r#"{"terminalId":"t1","projectId":"p1","title":"bash","cols":80,"rows":24}"#;
    /// The program wrote to its terminal.
    OUTPUT = "shell.output": durable Output,
        r#"{"terminalId":"t1","data":"\u001b[32m$\u001b[m ls\r\n","offset":0}"#;
    /// The terminal has another size, and the program knows.
    RESIZED = "shell.resized": durable Resized, r#"{"terminalId":"t1","cols":120,"rows":40}"#;
    /// The program exited, by itself or because it was told to.
    EXIT = "shell.exit": durable Exited, r#"{"terminalId":"t1","code":0,"signal":null,"reason":"exited"}"#;
    /// The terminal ended by a failure or a stop of the server.
    ERROR = "shell.error": durable Failed,
        r#"{"terminalId":"t1","code":"server_stopped","message":"the server stopped while the terminal was open"}"#;
}

/// How a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ShellStatus")]
pub enum Status {
    /// Its start has not been told yet.
    #[default]
    Opening,
    /// Its program runs.
    Running,
    /// Its program exited.
    Exited,
    /// It ended by a failure, or with the server.
    Error,
}

impl Status {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opening | Self::Running)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Error => "error",
        }
    }
}

/// `shell.opened`: the first event of a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// The project that it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// What people call it, until the program gives its window a title: the program's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = 200, message = "at most 200 characters"))]
    pub title: Option<String>,
    /// The command line that was asked for, redacted, the first 4 KiB of it; none for the configured shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Its directory, relative to the project's root; none for the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// How many columns it has.
    #[validate(range(min = 1, max = "MAX_COLS", message = "is 1 to 500"))]
    pub cols: u16,
    /// How many rows it has.
    #[validate(range(min = 1, max = "MAX_ROWS", message = "is 1 to 200"))]
    pub rows: u16,
    /// The session whose program runs in it; none for one that a person opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Whether this server runs the program itself, and so tells its end when the server died. Only the server says
    /// so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosted: bool,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `shell.output`: what the program wrote, at most 32 KiB, cut between characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// Text and control sequences, for a terminal emulator. They are not redacted: a sequence with a
    /// hole in it would draw something else. Bytes that are no UTF-8 are replaced by U+FFFD.
    pub data: String,
    /// How many bytes of output came before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// `shell.resized`: from here on the output is for this size. The last resize wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resized {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// How many columns it has.
    #[validate(range(min = 1, max = "MAX_COLS", message = "is 1 to 500"))]
    pub cols: u16,
    /// How many rows it has.
    #[validate(range(min = 1, max = "MAX_ROWS", message = "is 1 to 200"))]
    pub rows: u16,
}

/// Why a program exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// By itself.
    #[default]
    Exited,
    /// Somebody closed the terminal.
    Closed,
    /// Nobody watched it for longer than a terminal may be alone.
    Idle,
}

/// `shell.exit`, an end: the program is gone, and everything that ran in the terminal with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exited {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// The exit code; none when a signal ended the program.
    #[serde(default)]
    pub code: Option<i32>,
    /// The number of the signal that ended it, if one did.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Why.
    #[serde(default)]
    pub reason: Cause,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `shell.error`, an end. Codes of the service: `spawn_failed`, `output_lost`, `start_lost`,
/// `server_stopped`, `internal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// Why, for programs.
    #[serde(default = "unnamed")]
    pub code: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

fn unnamed() -> String {
    "failed".to_owned()
}
