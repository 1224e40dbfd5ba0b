//! The contract of what an agent says inside its session: text, tools, subagents, permissions, usage.
//!
//! Guarantees: the JSON of these types is the wire's; what is ephemeral ([`TextDelta`]) is repeated
//! whole by a durable event under the same id; every tool and subagent that started is completed by
//! exactly one event under the same `executionId`, at the latest when the session ends.
//! It is not any agent's own format: adapters translate those.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::{Timestamp, UserId};
use validator::{Validate, ValidationError};

use super::SessionId;

tidings_core::events! {
    /// What an agent says inside its session.
    pub const EVENTS;

    /// The agent told who it is.
    AGENT_STARTED = "session.agent_started": durable AgentStarted,
        r#"{"sessionId":"s1","agentSessionId":"7f3a","model":"claude-sonnet-5","version":"2.1.0","tools":["Bash","Edit"]}"#;
    /// A piece of a message that is being made.
    TEXT_DELTA = "session.text_delta": ephemeral TextDelta,
        r#"{"sessionId":"s1","messageId":"m1","block":0,"offset":0,"text":"I will look at "}"#;
    /// A piece of a thought that is being made.
    THINKING_DELTA = "session.thinking_delta": ephemeral TextDelta,
        r#"{"sessionId":"s1","messageId":"m1","block":0,"offset":0,"text":"The login is in "}"#;
    /// Blocks of a message, whole.
    MESSAGE = "session.message": durable AgentMessage,
        r#"{"sessionId":"s1","messageId":"m1","role":"assistant","block":0,"blocks":[{"type":"text","text":"I will look at it."},{"type":"tool_use","executionId":"t1","name":"Bash"}]}"#;
    /// A tool was called.
    TOOL_STARTED = "session.tool_started": durable ToolStarted,
        r#"{"sessionId":"s1","executionId":"t1","name":"Bash","input":{"command":"npm test"}}"#;
    /// A tool call ended.
    TOOL_COMPLETED = "session.tool_completed": durable ToolCompleted,
        r#"{"sessionId":"s1","executionId":"t1","status":"success","output":"12 passed","returnCode":0,"durationMs":2100}"#;
    /// An agent of the agent began.
    SUBAGENT_STARTED = "session.subagent_started": durable SubagentStarted,
        r#"{"sessionId":"s1","executionId":"t2","subagentType":"reviewer","description":"Review the change"}"#;
    /// An agent of the agent ended.
    SUBAGENT_COMPLETED = "session.subagent_completed": durable SubagentCompleted,
        r#"{"sessionId":"s1","executionId":"t2","status":"success","durationMs":31000}"#;
    /// The agent waits for a person.
    PERMISSION_REQUESTED = "session.permission_requested": durable PermissionRequested,
        r#"{"sessionId":"s1","requestId":"r1","tool":"Bash","input":{"command":"npm publish"},"options":[{"id":"allow","label":"Allow","kind":"allow_once"},{"id":"reject","label":"Reject","kind":"reject_once"}]}"#;
    /// A permission request was answered or withdrawn.
    PERMISSION_RESOLVED = "session.permission_resolved": durable PermissionResolved,
        r#"{"sessionId":"s1","requestId":"r1","decision":"allowed","optionId":"allow"}"#;
    /// The plan, and how much of it is done.
    PROGRESS = "session.progress": durable Progress,
        r#"{"sessionId":"s1","current":1,"total":2,"steps":[{"text":"Find it","status":"completed"},{"text":"Mend it","status":"in_progress"}]}"#;
    /// What a turn used.
    USAGE = "session.usage": durable Usage,
        r#"{"sessionId":"s1","inputTokens":1200,"outputTokens":350,"cacheReadTokens":9000,"costUsd":0.021}"#;
    /// The agent has answered what it was asked.
    TURN_COMPLETED = "session.turn_completed": durable TurnCompleted,
        r#"{"sessionId":"s1","status":"success","result":"The login works again.","durationMs":45000}"#;
    /// Something that the adapter does not know.
    RAW = "session.raw": durable Raw, r#"{"sessionId":"s1","source":"claude","data":{"type":"rate_limit"}}"#;
}

/// `session.agent_started`: the agent told who it is. It comes again when its conversation begins anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStarted {
    /// The session.
    pub session_id: SessionId,
    /// The agent's own id of the conversation: what it is resumed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub agent_session_id: Option<String>,
    /// The model that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version of the agent's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The names of its tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// What kind of agent it is now, as it says, such as `CODING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// Which time it begins, where it works in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
}

impl AgentStarted {
    /// An agent of which nothing is known yet.
    pub(in super::super) fn of(session_id: SessionId) -> Self {
        Self {
            session_id,
            agent_session_id: None,
            model: None,
            version: None,
            tools: Vec::new(),
            agent_type: None,
            iteration: None,
        }
    }
}

/// `session.text_delta` and `session.thinking_delta`, ephemeral: a piece of a message that is being
/// made. Worth nothing once the [`AgentMessage`] of the same `messageId` with this block is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextDelta {
    /// The session.
    pub session_id: SessionId,
    /// The message that it is a piece of.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub message_id: String,
    /// Which block of the message, from 0.
    pub block: u32,
    /// How much of the block came before it, in UTF-16 code units (what `length` of a JavaScript
    /// string counts). Whoever has less waits for what lies between; whoever has more cuts it.
    pub offset: u64,
    /// The text.
    pub text: String,
    /// The tool call of the subagent that speaks; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Speaker")]
pub enum Role {
    /// The agent, or one of its subagents.
    #[default]
    Assistant,
    /// Whoever it speaks with: a person, or the agent to its subagent.
    User,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Block {
    /// What is said.
    Text {
        /// The whole text.
        text: String,
    },
    /// What is thought.
    Thinking {
        /// The whole text.
        text: String,
    },
    /// Here a tool was called: the [`ToolStarted`] with this id.
    ToolUse {
        /// The call.
        execution_id: String,
        /// The tool.
        name: String,
    },
    /// Something that is no text, such as a picture.
    Other {
        /// What the agent calls it.
        kind: String,
    },
}

/// `session.message`: blocks of a message, whole. It replaces the deltas of these blocks. The blocks
/// of one message may come in several events with the same `messageId`, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentMessage {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub message_id: String,
    /// Who speaks; the agent if it does not say.
    #[serde(default)]
    pub role: Role,
    /// Which block of the message the first of these is, from 0.
    #[serde(default)]
    pub block: u32,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The model that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tool call of the subagent that speaks; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

/// `session.tool_started`: a tool was called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolStarted {
    /// The session.
    pub session_id: SessionId,
    /// The call. Its [`ToolCompleted`] has the same.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub execution_id: String,
    /// The tool.
    pub name: String,
    /// What it was called with; where that is longer than 64 KiB as JSON, a string: its beginning.
    #[serde(default)]
    pub input: Value,
    /// The tool call of the subagent that called it; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

/// How a tool or a subagent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what was asked.
    Success,
    /// It failed, or the session ended before it did.
    Error,
    /// It was not let run: refused by a person or by a rule.
    Blocked,
}

/// `session.tool_completed`: a tool call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCompleted {
    /// The session.
    pub session_id: SessionId,
    /// The call.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub execution_id: String,
    /// How it ended.
    pub status: Outcome,
    /// What it gave; where that is longer than 64 KiB as JSON, a string: its beginning.
    #[serde(default)]
    pub output: Value,
    /// The exit code, of a tool that runs a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_code: Option<i32>,
    /// How long it took, in milliseconds, as the server saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The tool call of the subagent that called it; none for the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
}

/// `session.subagent_started`: an agent of the agent's begins. What it says and does carries its
/// `executionId` as `parentExecutionId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubagentStarted {
    /// The session.
    pub session_id: SessionId,
    /// The tool call that it runs in.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub execution_id: String,
    /// What kind of agent it is, as the agent calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subagent_type: Option<String>,
    /// What it is to do, in few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `session.subagent_completed`: it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubagentCompleted {
    /// The session.
    pub session_id: SessionId,
    /// The tool call that it ran in.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub execution_id: String,
    /// How it ended.
    pub status: Outcome,
    /// How long it took, in milliseconds, as the server saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// What a permission request may be answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionOption {
    /// What the answer names.
    pub id: String,
    /// For people.
    pub label: String,
    /// What it means.
    pub kind: PermissionKind,
}

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PermissionKind {
    /// Let it, this once.
    AllowOnce,
    /// Let it, and do not ask again.
    AllowAlways,
    /// Do not let it, this once.
    RejectOnce,
    /// Do not let it, and do not ask again.
    RejectAlways,
}

impl PermissionKind {
    /// Whether it lets the tool run.
    #[must_use]
    pub fn allows(self) -> bool {
        matches!(self, Self::AllowOnce | Self::AllowAlways)
    }
}

/// `session.permission_requested`: the agent waits for a person. State until it is resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionRequested {
    /// The session.
    pub session_id: SessionId,
    /// The request; `session.resolve_permission` names it.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub request_id: String,
    /// The tool that wants to run.
    pub tool: String,
    /// What it would be called with; where that is longer than 64 KiB as JSON, a string: its beginning.
    #[serde(default)]
    pub input: Value,
    /// The answers that there are.
    #[validate(length(min = 1, message = "has one"))]
    pub options: Vec<PermissionOption>,
    /// The call that waits, if it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// When it is withdrawn by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whose attention it needs: a copy goes to `user:{userId}`. Never on the wire.
    #[serde(skip)]
    pub attention: Option<UserId>,
}

/// How a permission request was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PermissionDecision")]
pub enum Decision {
    /// A person let it.
    Allowed,
    /// A person did not.
    Rejected,
    /// The agent no longer asks, or the session ended.
    Withdrawn,
}

/// `session.permission_resolved`: answered, or withdrawn. Exactly one for each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionResolved {
    /// The session.
    pub session_id: SessionId,
    /// The request.
    #[validate(length(min = 1, max = 256, message = "is 1 to 256 characters"))]
    pub request_id: String,
    /// How.
    pub decision: Decision,
    /// The option that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// Whose attention it no longer needs. Never on the wire.
    #[serde(skip)]
    pub attention: Option<UserId>,
}

/// How a part of a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PlanStepStatus")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

/// A part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// What is to be done.
    pub text: String,
    /// How it is.
    pub status: StepStatus,
}

/// `session.progress`: the agent's plan, whole, and how much of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[validate(schema(function = "not_beyond_total"))]
pub struct Progress {
    /// The session.
    pub session_id: SessionId,
    /// How many parts are done.
    pub current: u64,
    /// How many there are.
    pub total: u64,
    /// The parts, if the agent names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<PlanStep>,
}

fn not_beyond_total(progress: &Progress) -> Result<(), ValidationError> {
    if progress.current > progress.total {
        return Err(ValidationError::new("current").with_message("current is at most total".into()));
    }
    Ok(())
}

/// `session.usage`: what a turn used, told once for each turn. The state has the sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The session.
    pub session_id: SessionId,
    /// Tokens read, without those from a cache.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens made, reasoning included.
    #[serde(default)]
    pub output_tokens: u64,
    /// Tokens read from a cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Tokens written to a cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// What it cost, in US dollars, where the agent says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 0.0, message = "is not negative"))]
    pub cost_usd: Option<f64>,
}

/// The `reason` of a turn that the server tells to have failed: the agent ended, and never told a result.
pub const NO_RESULT: &str = "no_result";

/// `session.turn_completed`: the agent has answered what it was asked. It may be asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TurnCompleted {
    /// The session.
    pub session_id: SessionId,
    /// Whether it did what was asked. An agent that calls its failure a success is told from its words.
    pub status: TurnStatus,
    /// Why it ended, as the agent calls it, such as `error_max_turns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last word, at most 256 KiB of it; of a failure, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Whether `result` is only the beginning of its last word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// How long it took, in milliseconds, as the agent says, else as the server saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// The agent did what was asked.
    Success,
    /// It did not.
    Error,
    /// It was interrupted.
    Cancelled,
}

/// `session.raw`: something that the adapter does not know, as the agent printed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Raw {
    /// The session.
    pub session_id: SessionId,
    /// The agent's format: the name of the adapter.
    pub source: String,
    /// What it was; where that is longer than 64 KiB, a string: its beginning.
    pub data: Value,
}
