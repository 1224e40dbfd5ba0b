//! What the commands of sessions answer.
//!
//! Guarantees: the document of a command and its answer are one type.
//! It names no channel: the handler puts it in. State and output are answered as they are.

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Channel;

use super::{Brief, contract::SessionId};

/// Answer of `session.start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// The session.
    pub id: SessionId,
    /// The same, by the name that events have for it.
    pub session_id: SessionId,
    /// Where it is told.
    pub channel: Channel,
}

/// Answer of `session.send_message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    pub message_id: String,
    /// Whether it waits until the agent is free.
    pub queued: bool,
}

/// Answer of a command that names a session and has nothing more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfSession {
    /// The session.
    pub session_id: SessionId,
}

/// A session of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedSession {
    /// The session.
    #[serde(flatten)]
    pub brief: Brief,
    /// Where it is told.
    pub channel: Channel,
}

/// Answer of `session.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedSessions {
    /// The sessions, newest first; there may be fewer than asked for and a cursor all the same.
    pub sessions: Vec<ListedSession>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<SessionId>,
}
