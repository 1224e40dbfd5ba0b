//! The contract of users' own channels: what needs a person's attention, and notices to them.
//!
//! Guarantees: the JSON of these types is the wire's; each request for attention is resolved by exactly
//! one event with the same `channel`, `kind` and `id`.
//! It is not the thing itself: that is in the channel that an event names.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::{Channel, UserId};
use validator::Validate;

tidings_core::events! {
    /// The events of users' own channels.
    pub const EVENTS;

    /// Something waits for this person. A copy, made by the handler of that which waits.
    ATTENTION_REQUESTED = "user.attention_requested": durable Attention, from server,
        r#"{"userId":"u1","channel":"session:s1","kind":"permission","id":"r1"}"#;
    /// It waits no more: somebody answered, or it was withdrawn. A copy, as the request.
    ATTENTION_RESOLVED = "user.attention_resolved": durable Attention, from server,
        r#"{"userId":"u1","channel":"session:s1","kind":"permission","id":"r1"}"#;
    /// Something to tell a person.
    NOTICE = "user.notice": durable Notice, from anyone, r#"{"userId":"u1","text":"The build is green."}"#;
}

/// What a person is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKind {
    /// An agent asks whether it may.
    Permission,
    /// An agent asks a question.
    Question,
    /// A step of a workflow waits for an answer.
    Approval,
}

/// `user.attention_requested` and `user.attention_resolved`: what waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// The person.
    pub user_id: UserId,
    /// The channel of that which waits.
    pub channel: Channel,
    /// What it is.
    pub kind: AttentionKind,
    /// Which one: of a permission or a question, its `requestId`; of an approval, its `stepId`.
    pub id: String,
}

/// `user.notice`: something to tell a person, with whatever its producer adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Whom; not needed where the channel is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The text, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whatever else there is.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}
