//! The contract of workflows: ids, event types and their payloads.
//!
//! Guarantees: the JSON of these types is the wire's. A run has one `workflow.run.started` and one end.
//! Each attempt of a step has one `workflow.run.step.started` and one end of the same `attempt`; the end
//! of the step itself is the one without `retryAt`.
//! It is not the service, and it names no channel: that is the handler's.

mod step;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

pub use self::step::{
    Decision, SkipReason, StepCancelled, StepCompleted, StepFailed, StepOutput, StepProgress, StepSession, StepSkipped,
    StepStarted, StepWaiting, Stream,
};
pub use super::definition::StepKind;
pub use crate::project::contract::Board;
use crate::{project::ProjectId, workflow::scalar::Scalar};

tidings_core::id_type! {
    /// A run of a workflow. Ids sort by the time of their start.
    RunId
}

tidings_core::events! {
    /// What the service tells of a run and its steps.
    pub const EVENTS;

    /// A run started: its graph. A start of the server goes on with what is open: only the server says so.
    STARTED = "workflow.run.started": durable RunStarted, from server,
        r#"{"runId":"r1","projectId":"p1","title":"Release","definition":"steps: {build: {command: [make]}}","steps":[{"stepId":"build","name":"build","kind":"command"}]}"#;
    /// The status of a run changed, or how much of it is done.
    UPDATED = "workflow.run.updated": durable RunUpdated,
        r#"{"runId":"r1","status":"running","progress":{"current":1,"total":4,"percentage":25.0}}"#;
    /// Every step ended, and none failed.
    COMPLETED = "workflow.run.completed": durable RunCompleted,
        r#"{"runId":"r1","durationMs":64000,"usage":{"inputTokens":1200,"outputTokens":300,"costUsd":0.02}}"#;
    /// Every step ended, and some failed.
    FAILED = "workflow.run.failed": durable RunFailed,
        r#"{"runId":"r1","code":"step_failed","message":"the step build failed","durationMs":3000}"#;
    /// Somebody cancelled the run, and all its steps ended.
    CANCELLED = "workflow.run.cancelled": durable RunCancelled, r#"{"runId":"r1","durationMs":3000}"#;
    /// An attempt of a step started.
    STEP_STARTED = "workflow.run.step.started": durable StepStarted,
        r#"{"runId":"r1","stepId":"build","attempt":1}"#;
    /// The session in which a step works.
    STEP_SESSION = "workflow.run.step.session": durable StepSession,
        r#"{"runId":"r1","stepId":"review","attempt":1,"sessionId":"s1"}"#;
    /// The program of a step printed.
    STEP_OUTPUT = "workflow.run.step.output": durable StepOutput,
        r#"{"runId":"r1","stepId":"build","attempt":1,"type":"stdout","content":"built\n","offset":0}"#;
    /// How much of a step is done.
    STEP_PROGRESS = "workflow.run.step.progress": durable StepProgress,
        r#"{"runId":"r1","stepId":"build","attempt":1,"progress":{"current":3,"total":10,"percentage":30.0}}"#;
    /// A step waits for a person.
    STEP_WAITING = "workflow.run.step.waiting": durable StepWaiting,
        r#"{"runId":"r1","stepId":"ask","message":"Release it?"}"#;
    /// A step did what it was to do.
    STEP_COMPLETED = "workflow.run.step.completed": durable StepCompleted,
        r#"{"runId":"r1","stepId":"build","attempt":1,"outputs":{"archive":"a.tar"},"durationMs":2000,"progress":{"current":10,"total":10,"percentage":100.0}}"#;
    /// An attempt of a step failed: the end of the step, unless it is tried again.
    STEP_FAILED = "workflow.run.step.failed": durable StepFailed,
        r#"{"runId":"r1","stepId":"build","attempt":1,"code":"exit_code","message":"the program exited with 2","exitCode":2,"durationMs":2000}"#;
    /// A step is not run.
    STEP_SKIPPED = "workflow.run.step.skipped": durable StepSkipped,
        r#"{"runId":"r1","stepId":"ship","reason":"needs"}"#;
    /// A step was ended, or not begun, with its run.
    STEP_CANCELLED = "workflow.run.step.cancelled": durable StepCancelled,
        r#"{"runId":"r1","stepId":"build","attempt":1,"durationMs":2000}"#;
}

/// How a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Its start has not been told yet.
    #[default]
    Starting,
    /// Its steps run, or are about to.
    Running,
    /// Nothing goes on before a person has answered.
    Waiting,
    /// Somebody cancelled it, and its steps are ending.
    Cancelling,
    /// Every step ended, and none failed.
    Completed,
    /// Every step ended, and some failed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl RunStatus {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Waiting | Self::Cancelling)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How much of something is done.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "HowMuch")]
pub struct Progress {
    /// How much is done.
    pub current: u64,
    /// How much there is; 0 if nobody knows, or there is nothing.
    pub total: u64,
    /// `current / total * 100`; where total is 0, 100 once it is done, else 0.
    pub percentage: f64,
}

impl Progress {
    /// So much of so much.
    #[must_use]
    pub fn of(current: u64, total: u64, done: bool) -> Self {
        let percentage = match total {
            0 if done => 100.0,
            0 => 0.0,
            total => current as f64 / total as f64 * 100.0,
        };
        Self { current, total, percentage }
    }

    /// The same once it is done: of nothing, that is all of it.
    #[must_use]
    pub fn done(self) -> Self {
        Self::of(self.current, self.total, true)
    }
}

/// What agents used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "RunUsage")]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens made.
    pub output_tokens: u64,
    /// What it cost, in US dollars, as far as agents say so.
    pub cost_usd: f64,
}

impl Usage {
    /// Adds what was used elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost_usd += other.cost_usd;
    }
}

/// A step of a run as its graph has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "StepShape")]
pub struct Shape {
    /// The step of the run: `test`, or of a matrix `test.2`.
    pub step_id: String,
    /// The step of the definition.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub kind: StepKind,
    /// The steps of the definition that end before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Its values, of a matrix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, Scalar>,
    /// What it gave in the run before, where it is not run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<BTreeMap<String, String>>,
}

/// `workflow.run.started`: the first event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStarted {
    /// The run.
    pub run_id: RunId,
    /// The project that it runs in.
    pub project_id: ProjectId,
    /// What people call it.
    pub title: String,
    /// The text of its definition: what a later life of the server goes on by.
    pub definition: String,
    /// The file of the project that it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it was given, with the defaults of the rest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Scalar>,
    /// The run that it repeats, in part or whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// Its graph, in the order of the definition.
    pub steps: Vec<Shape>,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `workflow.run.updated`: its status changed, or how much of it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunUpdated {
    /// The run.
    pub run_id: RunId,
    /// How it is.
    pub status: RunStatus,
    /// How many of its steps have ended.
    pub progress: Progress,
    /// For the board, when the status is another.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `workflow.run.completed`, an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunCompleted {
    /// The run.
    pub run_id: RunId,
    /// From its start, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// What its session steps used.
    #[serde(default)]
    pub usage: Usage,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `workflow.run.failed`, an end. Codes: `step_failed`, `definition_invalid` (this version of the server
/// does not take what an older one took), `expression_failed`, `project_removed`, `root_refused`, `internal`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunFailed {
    /// The run.
    pub run_id: RunId,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// From its start, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// What its session steps used.
    #[serde(default)]
    pub usage: Usage,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}

/// `workflow.run.cancelled`, an end: somebody asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunCancelled {
    /// The run.
    pub run_id: RunId,
    /// From its start, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// What its session steps used.
    #[serde(default)]
    pub usage: Usage,
    /// For the board.
    #[serde(skip)]
    pub board: Option<Board>,
}
