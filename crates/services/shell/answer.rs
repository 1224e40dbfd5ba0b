//! What the commands of terminals answer.
//!
//! Guarantees: the document of a command and its answer are one type.
//! It names no channel: the handler puts it in. The state is answered as it is.

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Channel;

use super::{Brief, contract::TerminalId};

/// Answer of `shell.open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenedShell {
    /// The terminal.
    pub id: TerminalId,
    /// The same, by the name that events have for it.
    pub terminal_id: TerminalId,
    /// Where it is told.
    pub channel: Channel,
}

/// Answer of `shell.input`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Typed {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// Its number, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_seq: Option<u64>,
    /// Whether it was there before and nothing happened now.
    pub repeated: bool,
}

/// Answer of a command that names a terminal and has nothing more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfShell {
    /// The terminal.
    pub terminal_id: TerminalId,
}

/// A terminal of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedShell {
    /// The terminal.
    #[serde(flatten)]
    pub brief: Brief,
    /// Where it is told.
    pub channel: Channel,
}

/// Answer of `shell.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedShells {
    /// The terminals, newest first; there may be fewer than asked for and a cursor all the same.
    pub shells: Vec<ListedShell>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<TerminalId>,
}
