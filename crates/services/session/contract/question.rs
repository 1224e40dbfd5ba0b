//! The contract of what an agent asks people, and what they answer.
//!
//! Guarantees: the JSON of these types is the wire's; each request is resolved by exactly one event under the same
//! `requestId`, at the latest when the session ends.
//! It is not a permission: nothing is allowed by an answer. Those are in [`super::agent`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::UserId;
use validator::Validate;

use super::SessionId;

tidings_core::events! {
    /// What an agent asks people.
    pub const EVENTS;

    /// The agent asks a person, and waits.
    QUESTION_REQUESTED = "session.question_requested": durable QuestionRequested,
        r#"{"sessionId":"s1","requestId":"q1","questions":[{"question":"Which database?","header":"Database","options":[{"label":"SQLite","description":"A file"},{"label":"PostgreSQL"}],"multiple":false,"freeText":true}]}"#;
    /// A question was answered, declined or withdrawn.
    QUESTION_RESOLVED = "session.question_resolved": durable QuestionResolved,
        r#"{"sessionId":"s1","requestId":"q1","decision":"answered","answers":{"Which database?":"SQLite"}}"#;
}

/// An answer that a question offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuestionOption {
    /// The answer, and what it is chosen by.
    #[validate(length(min = 1, message = "is not empty"))]
    pub label: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The question, and what its answer is named by.
    #[validate(length(min = 1, message = "is not empty"))]
    pub question: String,
    /// In a word or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The answers that it offers.
    #[serde(default)]
    #[validate(nested)]
    pub options: Vec<QuestionOption>,
    /// Whether several of them may be chosen.
    #[serde(default)]
    pub multiple: bool,
    /// Whether an answer may be another text. It may where no answer is offered.
    #[serde(default)]
    pub free_text: bool,
}

/// `session.question_requested`: the agent asks a person, and waits. State until it is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuestionRequested {
    /// The session.
    pub session_id: SessionId,
    /// The request; `session.answer_question` names it.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub request_id: String,
    /// The questions; all of them are answered at once.
    #[validate(length(min = 1, message = "has one"), nested)]
    pub questions: Vec<Question>,
    /// The call that waits, if it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// Whose attention it needs: a copy goes to `user:{userId}`. Never on the wire.
    #[serde(skip)]
    pub attention: Option<UserId>,
}

/// The answer to one question: a text, or several where several may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "QuestionAnswer")]
pub enum Answer {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Answer {
    /// The texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

/// How a question was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "QuestionDecision")]
pub enum Decision {
    /// A person answered.
    Answered,
    /// A person would not answer.
    Declined,
    /// The agent no longer asks, or the session ended.
    Withdrawn,
}

/// `session.question_resolved`: answered, declined or withdrawn. Exactly one for each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuestionResolved {
    /// The session.
    pub session_id: SessionId,
    /// The request.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub request_id: String,
    /// How.
    pub decision: Decision,
    /// What was answered, by the question.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Answer>,
    /// Whose attention it no longer needs. Never on the wire.
    #[serde(skip)]
    pub attention: Option<UserId>,
}
