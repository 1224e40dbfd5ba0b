//! What is told of the steps of a run.
//!
//! Guarantees: every payload names its run, its step, and its attempt where there is one.
//! It is not what is told of the run as a whole.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Timestamp, UserId};
use validator::Validate;

use super::{Progress, RunId, Usage};
use crate::session::SessionId;

/// `workflow.run.step.started`: an attempt began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStarted {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// `workflow.run.step.session`: the session in which this attempt works. Its channel tells the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepSession {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt.
    pub attempt: u32,
    /// The session.
    pub session_id: SessionId,
}

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StepStream")]
pub enum Stream {
    /// The program's standard output.
    #[default]
    Stdout,
    /// Its standard error.
    Stderr,
}

/// `workflow.run.step.output`: a piece of output, at most 16 KiB, cut between characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepOutput {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt.
    pub attempt: u32,
    /// Where it comes from.
    #[serde(default)]
    pub r#type: Stream,
    /// The text, redacted; bytes that are no UTF-8 are replaced by U+FFFD.
    pub content: String,
    /// How many bytes of this stream of this attempt came before it.
    #[serde(default)]
    pub offset: u64,
}

/// `workflow.run.step.progress`: how much of the step is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepProgress {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt.
    #[serde(default)]
    pub attempt: u32,
    /// How much.
    pub progress: Progress,
}

/// `workflow.run.step.waiting`: the step waits for a person, who answers with `workflow.run.approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepWaiting {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// What the person is asked.
    #[serde(default)]
    pub message: String,
    /// Whose attention it needs. Beside the payload: only the service asks for it.
    #[serde(skip)]
    pub attention: Option<UserId>,
}

/// What a person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ApprovalDecision")]
pub enum Decision {
    /// It may go on: the step completes.
    Approved,
    /// It may not: the step fails.
    Rejected,
}

/// `workflow.run.step.completed`, an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepCompleted {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt.
    #[serde(default)]
    pub attempt: u32,
    /// What it gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// From the start of the attempt, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// How much was done.
    #[serde(default)]
    pub progress: Progress,
    /// What its agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whose attention it no longer needs.
    #[serde(skip)]
    pub attention: Option<UserId>,
}

/// `workflow.run.step.failed`: an end, unless it has `retryAt`. Codes: `exit_code`, `killed` (by a signal
/// that the server did not send), `timeout`, `spawn_failed`, `output_limit`, `outputs_invalid`,
/// `expression_failed`, `rejected`, `server_stopped`, `internal`; of a session its own, or the refusal's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepFailed {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt; 0 if it failed before it could start.
    #[serde(default)]
    pub attempt: u32,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// The exit code, if a program exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The number of the signal that ended a program, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// From the start of the attempt, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// When the next attempt starts, if there will be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Whether the definition says to go on as if it had succeeded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
    /// What its agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whose attention it no longer needs.
    #[serde(skip)]
    pub attention: Option<UserId>,
}

/// Why a step is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its `if` is not true.
    Condition,
    /// Something that it needs did not succeed.
    Needs,
}

/// `workflow.run.step.skipped`, an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepSkipped {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Why.
    pub reason: SkipReason,
}

/// `workflow.run.step.cancelled`, an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepCancelled {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: String,
    /// Which attempt; 0 if none was under way.
    #[serde(default)]
    pub attempt: u32,
    /// From the start of the attempt, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// What its agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whose attention it no longer needs.
    #[serde(skip)]
    pub attention: Option<UserId>,
}
