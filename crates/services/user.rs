//! The contract of what concerns one person, wherever it happens.
//!
//! Guarantees: the JSON of these types is the wire's.
//! It is not the administration of users, and it names no channel: that is the handler's.

use serde::{Deserialize, Serialize};
use tidings_core::{Channel, UserId};
use validator::Validate;

/// The type of an [`Attention`] that is needed.
pub const ATTENTION_REQUESTED: &str = "user.attention_requested";
/// The type of an [`Attention`] that is not needed any more.
pub const ATTENTION_RESOLVED: &str = "user.attention_resolved";
/// The type of [`UserNotice`].
pub const NOTICE: &str = "user.notice";

/// What a person is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKind {
    /// An agent asks whether it may.
    Permission,
}

/// `user.attention_requested` and `user.attention_resolved`: something waits for a person, or waits no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// The person.
    pub user_id: UserId,
    /// Where it waits.
    pub channel: Channel,
    /// What it is.
    pub kind: AttentionKind,
    /// Its id in that channel, such as a permission's `requestId`.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub id: String,
}

/// `user.notice`: a word to a person. Producers outside say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
pub struct UserNotice {
    /// The person.
    pub user_id: UserId,
    /// What is to be said.
    #[validate(length(min = 1, max = 10_000, message = "is 1 to 10,000 characters"))]
    pub text: String,
}
