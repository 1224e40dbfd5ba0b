//! The projection of `workflow:run:*`: the graph, how each step is, and the newest of what it printed.
//!
//! Guarantees: a pure fold. It is bounded by the graph, by what steps may give (`outputs`), by [`TAIL_BYTES`] for
//! each step and by [`TAILS_BYTES`] for all of them; the first end of a run, of a step and of an attempt counts, and no
//! later event changes it.
//! It is not the whole output: that is in the channel's history. What follows from a state is the
//! scheduler's to say.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Message, Payload, Timestamp, UserId, projection::Reducer};

use super::contract::{
    CANCELLED, COMPLETED, FAILED, Progress, RunCancelled, RunCompleted, RunFailed, RunId, RunStarted, RunStatus,
    RunUpdated, STARTED, STEP_CANCELLED, STEP_COMPLETED, STEP_FAILED, STEP_OUTPUT, STEP_PROGRESS, STEP_SESSION,
    STEP_SKIPPED, STEP_STARTED, STEP_WAITING, Shape, SkipReason, StepCancelled, StepCompleted, StepFailed, StepKind,
    StepOutput, StepProgress, StepSession, StepSkipped, StepStarted, StepWaiting, UPDATED, Usage,
};
use crate::{project::ProjectId, session::SessionId, workflow::scalar::Scalar};

/// The most bytes that a state keeps of the output of one step: the newest.
pub const TAIL_BYTES: usize = 4 * 1024;
/// The most bytes that a state keeps of the output of all steps: the tails of those that printed longest
/// ago leave first.
pub const TAILS_BYTES: usize = 256 * 1024;

/// How a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RunStepStatus")]
pub enum StepStatus {
    /// It waits for what it needs, for room, or for its next attempt.
    #[default]
    Pending,
    /// An attempt is under way.
    Running,
    /// It waits for a person.
    Waiting,
    /// It did what it was to do.
    Completed,
    /// It failed, and will not be tried again.
    Failed,
    /// It is not run.
    Skipped,
    /// It was ended, or not begun, with its run.
    Cancelled,
}

impl StepStatus {
    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// Whether an attempt is under way.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Waiting)
    }

    /// The name on the wire, which expressions compare.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunFailure")]
pub struct Failure {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A step of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepState {
    /// Its id: `test`, or of a matrix `test.2`.
    pub step_id: String,
    /// The step of the definition.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// The steps of the definition that end before it begins.
    pub needs: Vec<String>,
    /// Its values, of a matrix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, Scalar>,
    /// How it is.
    pub status: StepStatus,
    /// Which attempt is, or was last, under way; 0 before the first.
    pub attempt: u32,
    /// When its last attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How long all its attempts took together, in milliseconds.
    pub duration_ms: u64,
    /// When its next attempt starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// How much of it is done.
    pub progress: Progress,
    /// What it gave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Why its last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The exit code of its last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether its failure counts as a success.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
    /// Why it is not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipReason>,
    /// Whether it is not run because the run before gave it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// The session of its last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// What a person is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<UserId>,
    /// What the agents of all its attempts used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// How many bytes all its attempts printed.
    pub output_bytes: u64,
    /// The newest of what its last attempt printed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tail: String,
}

impl StepState {
    fn of(shape: &Shape, at: Timestamp) -> Self {
        let reused = shape.reused.is_some();
        Self {
            step_id: shape.step_id.clone(),
            name: shape.name.clone(),
            kind: shape.kind,
            needs: shape.needs.clone(),
            matrix: shape.matrix.clone(),
            status: if reused { StepStatus::Completed } else { StepStatus::Pending },
            outputs: shape.reused.clone().unwrap_or_default(),
            progress: if reused { Progress::default().done() } else { Progress::default() },
            ended_at: reused.then_some(at),
            reused,
            ..Self::default()
        }
    }

    fn start(&mut self, attempt: u32, at: Timestamp) {
        if self.status != StepStatus::Pending {
            return;
        }
        self.status = StepStatus::Running;
        self.attempt = attempt;
        self.started_at = Some(at);
        self.retry_at = None;
        self.error = None;
        self.exit_code = None;
        self.session_id = None;
        self.progress = Progress::default();
        self.tail.clear();
    }

    /// Ends the attempt, if one is under way, and the step with it.
    fn end(&mut self, status: StepStatus, duration_ms: u64, usage: Option<Usage>, at: Timestamp) -> bool {
        if self.status.has_ended() {
            return false;
        }
        self.status = status;
        self.ended_at = Some(at);
        self.retry_at = None;
        self.duration_ms = self.duration_ms.saturating_add(duration_ms);
        if let Some(usage) = usage {
            self.usage.get_or_insert_default().add(&usage);
        }
        true
    }

    fn complete(&mut self, event: &StepCompleted, at: Timestamp, by: Option<&UserId>) {
        if self.end(StepStatus::Completed, event.duration_ms, event.usage, at) {
            self.outputs.clone_from(&event.outputs);
            self.progress = event.progress;
            self.answer(by);
        }
    }

    fn fail(&mut self, event: &StepFailed, at: Timestamp, by: Option<&UserId>) {
        if !self.end(StepStatus::Failed, event.duration_ms, event.usage, at) {
            return;
        }
        self.error = Some(Failure { code: event.code.clone(), message: event.message.clone() });
        self.exit_code = event.exit_code;
        self.answer(by);
        self.tolerated = event.tolerated;
        if let Some(retry_at) = event.retry_at {
            self.status = StepStatus::Pending;
            self.ended_at = None;
            self.tolerated = false;
            self.retry_at = Some(retry_at);
        }
    }

    fn answer(&mut self, by: Option<&UserId>) {
        if self.kind == StepKind::Approval {
            self.answered_by = by.cloned();
        }
    }
}

/// The state of a run: the fold of its channel. Its JSON is the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunState {
    /// The run; none before its first event.
    pub run_id: Option<RunId>,
    /// The project that it runs in.
    pub project_id: Option<ProjectId>,
    /// What people call it.
    pub title: String,
    /// How it is.
    pub status: RunStatus,
    /// How many of its steps have ended.
    pub progress: Progress,
    /// The text of its definition.
    pub definition: String,
    /// The file of the project that it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it was given, with the defaults of the rest.
    pub inputs: BTreeMap<String, Scalar>,
    /// The run that it repeats, in part or whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// Who started it.
    pub started_by: Option<UserId>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When its newest message was published.
    pub updated_at: Option<Timestamp>,
    /// From its start to its end, in milliseconds.
    pub duration_ms: u64,
    /// Who cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<UserId>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What the agents of its steps used.
    pub usage: Usage,
    /// Its steps, in the order of the definition.
    pub steps: Vec<StepState>,
    /// The places of the steps that have a tail, the one that printed longest ago first.
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    tails: VecDeque<usize>,
}

impl RunState {
    /// A step.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&StepState> {
        self.steps.iter().find(|step| step.step_id == id)
    }

    /// How many of its steps have ended, of how many.
    #[must_use]
    pub fn counted(&self) -> Progress {
        let ended = self.steps.iter().filter(|step| step.status.has_ended()).count();
        Progress::of(ended as u64, self.steps.len() as u64, self.steps.len() == ended)
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.step_id == id)
    }

    fn start(&mut self, event: &RunStarted, at: Timestamp, by: Option<&UserId>) {
        if self.run_id.is_some() {
            return;
        }
        self.run_id = Some(event.run_id.clone());
        self.project_id = Some(event.project_id.clone());
        self.title.clone_from(&event.title);
        self.status = RunStatus::Running;
        self.definition.clone_from(&event.definition);
        self.file.clone_from(&event.file);
        self.inputs.clone_from(&event.inputs);
        self.rerun_of.clone_from(&event.rerun_of);
        self.started_by = by.cloned();
        self.started_at = Some(at);
        self.steps = event.steps.iter().map(|shape| StepState::of(shape, at)).collect();
        self.progress = self.counted();
    }

    fn update(&mut self, event: &RunUpdated, by: Option<&UserId>) {
        if !self.status.is_open() || !event.status.is_open() {
            return;
        }
        if event.status == RunStatus::Cancelling && self.status != RunStatus::Cancelling {
            self.cancelled_by = by.cloned();
        }
        self.status = event.status;
    }

    fn end(&mut self, status: RunStatus, duration_ms: u64, usage: Usage, at: Timestamp) -> bool {
        let first = self.status.is_open();
        if first {
            self.status = status;
            self.ended_at = Some(at);
            self.duration_ms = duration_ms;
            self.usage = usage;
        }
        first
    }

    fn print(&mut self, event: &StepOutput) {
        let Some(place) = self.place(&event.step_id) else { return };
        let step = &mut self.steps[place];
        step.output_bytes = step.output_bytes.saturating_add(event.content.len() as u64);
        step.tail.push_str(&event.content);
        let cut = step.tail.ceil_char_boundary(step.tail.len().saturating_sub(TAIL_BYTES));
        step.tail.drain(..cut);
        self.tails.retain(|known| *known != place);
        self.tails.push_back(place);
        let mut kept: usize = self.tails.iter().map(|place| self.steps[*place].tail.len()).sum();
        while kept > TAILS_BYTES {
            let Some(oldest) = self.tails.pop_front() else { break };
            kept -= self.steps[oldest].tail.len();
            self.steps[oldest].tail = String::new();
        }
    }

    /// Folds what happened.
    pub(super) fn apply(&mut self, event_type: &str, payload: &Payload, at: Timestamp, by: Option<&UserId>) {
        self.updated_at = Some(at);
        if !self.run_event(event_type, payload, at, by) {
            self.step_event(event_type, payload, at, by);
        }
    }

    /// Folds what happened to a step.
    fn step_event(&mut self, event_type: &str, payload: &Payload, at: Timestamp, by: Option<&UserId>) {
        let mut with = |id: &str, change: &dyn Fn(&mut StepState)| {
            if let Some(place) = self.place(id) {
                change(&mut self.steps[place]);
            }
        };
        match event_type {
            STEP_STARTED => {
                if let Ok(event) = payload.typed::<StepStarted>() {
                    with(&event.step_id, &|step| step.start(event.attempt, at));
                }
            }
            STEP_SESSION => {
                if let Ok(event) = payload.typed::<StepSession>() {
                    with(&event.step_id, &|step| step.session_id = Some(event.session_id.clone()));
                }
            }
            STEP_PROGRESS => {
                if let Ok(event) = payload.typed::<StepProgress>() {
                    with(&event.step_id, &|step| {
                        if step.status.is_under_way() {
                            step.progress = event.progress;
                        }
                    });
                }
            }
            STEP_WAITING => {
                if let Ok(event) = payload.typed::<StepWaiting>() {
                    with(&event.step_id, &|step| {
                        if step.status == StepStatus::Running {
                            step.status = StepStatus::Waiting;
                            step.message = Some(event.message.clone());
                        }
                    });
                }
            }
            STEP_COMPLETED => {
                if let Ok(event) = payload.typed::<StepCompleted>() {
                    with(&event.step_id, &|step| step.complete(&event, at, by));
                }
            }
            STEP_FAILED => {
                if let Ok(event) = payload.typed::<StepFailed>() {
                    with(&event.step_id, &|step| step.fail(&event, at, by));
                }
            }
            STEP_SKIPPED => {
                if let Ok(event) = payload.typed::<StepSkipped>() {
                    with(&event.step_id, &|step| {
                        if step.end(StepStatus::Skipped, 0, None, at) {
                            step.skipped = Some(event.reason);
                        }
                    });
                }
            }
            STEP_CANCELLED => {
                if let Ok(event) = payload.typed::<StepCancelled>() {
                    with(&event.step_id, &|step| {
                        step.end(StepStatus::Cancelled, event.duration_ms, event.usage, at);
                    });
                }
            }
            _ => return,
        }
        self.progress = self.counted();
        self.usage = Usage::default();
        self.steps.iter().filter_map(|step| step.usage).for_each(|usage| self.usage.add(&usage));
    }

    /// Folds what happened to the run as a whole; says whether it was such a thing.
    fn run_event(&mut self, event_type: &str, payload: &Payload, at: Timestamp, by: Option<&UserId>) -> bool {
        match event_type {
            STARTED => {
                if let Ok(event) = payload.typed::<RunStarted>() {
                    self.start(&event, at, by);
                }
            }
            UPDATED => {
                if let Ok(event) = payload.typed::<RunUpdated>() {
                    self.update(&event, by);
                }
            }
            COMPLETED => {
                if let Ok(event) = payload.typed::<RunCompleted>() {
                    self.end(RunStatus::Completed, event.duration_ms, event.usage, at);
                }
            }
            FAILED => {
                if let Ok(event) = payload.typed::<RunFailed>()
                    && self.end(RunStatus::Failed, event.duration_ms, event.usage, at)
                {
                    self.error = Some(Failure { code: event.code.clone(), message: event.message.clone() });
                }
            }
            CANCELLED => {
                if let Ok(event) = payload.typed::<RunCancelled>() {
                    self.end(RunStatus::Cancelled, event.duration_ms, event.usage, at);
                }
            }
            STEP_OUTPUT => {
                if let Ok(event) = payload.typed::<StepOutput>() {
                    self.print(&event);
                }
            }
            _ => return false,
        }
        true
    }
}

/// The reducer of a run's channel.
#[derive(Debug)]
pub struct RunReducer;

impl Reducer for RunReducer {
    type State = RunState;
    const VERSION: u32 = 1;
    const ENDS: &'static [&'static str] = &[COMPLETED, FAILED, CANCELLED];

    /// An open run goes on after a start.
    fn is_open(state: &RunState) -> bool {
        state.run_id.is_some() && state.status.is_open()
    }

    fn apply(state: &mut RunState, message: &Message) {
        if message.seq.is_some() {
            state.apply(message.event_type.as_str(), &message.payload, message.time, message.by.as_ref());
        }
    }
}
