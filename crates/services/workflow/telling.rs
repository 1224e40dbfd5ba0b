//! Telling: the events of one run.
//!
//! Guarantees: an event says what the state and what was done come to, and nothing else.
//! It is not the decision what happened, and not the way onto the bus.

use std::collections::BTreeMap;

use tidings_core::{Event, Timestamp, UserId};

use super::{
    contract::{
        Board, CANCELLED, COMPLETED, FAILED, Progress, RunCancelled, RunCompleted, RunFailed, RunId, RunStatus,
        RunUpdated, STEP_CANCELLED, STEP_COMPLETED, STEP_FAILED, STEP_SKIPPED, STEP_STARTED, STEP_WAITING,
        StepCancelled, StepCompleted, StepFailed, StepSkipped, StepStarted, StepWaiting, UPDATED, Usage,
    },
    plan::Plan,
    scheduler::{Decision, SERVER_STOPPED, retry_at},
    state::{RunState, StepState, StepStatus},
};
use crate::programs::decode::shortened;

/// The most bytes of the reason of a failure.
const MESSAGE_BYTES: usize = 1024;

/// The domain, as states are read back by it.
pub(super) const DOMAIN: &str = "workflow";

/// How an attempt of a step ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// What its agent used.
    pub(super) usage: Option<Usage>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Completed {
        outputs: BTreeMap<String, String>,
        progress: Progress,
    },
    Failed {
        code: String,
        message: String,
        exit_code: Option<i32>,
        signal: Option<i32>,
    },
    /// It was ended because its run was cancelled.
    Cancelled,
}

impl Outcome {
    pub(super) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed { code: code.to_owned(), message: message.into(), exit_code: None, signal: None }
    }

    /// The end of an attempt that the server's stop ended.
    pub(super) fn server_stopped() -> Self {
        Self::failed(SERVER_STOPPED, "the server stopped while the step was under way")
    }
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, usage: None }
    }
}

/// What makes events of a run: who and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) id: &'a RunId,
    pub(super) plan: &'a Plan,
    pub(super) state: &'a RunState,
    pub(super) now: Timestamp,
}

impl Teller<'_> {
    fn board(&self, status: RunStatus) -> Option<Board> {
        let project_id = self.state.project_id.clone()?;
        Some(Board { project_id, status: status.as_str(), title: self.state.title.clone(), at: self.now })
    }

    /// Whose attention a step no longer needs when it ends.
    fn attention(&self, step: &StepState) -> Option<UserId> {
        self.state.started_by.clone().filter(|_| step.status == StepStatus::Waiting)
    }

    fn since(&self, from: Option<Timestamp>) -> u64 {
        from.map_or(0, |from| u64::try_from(self.now.0.saturating_sub(from.0)).unwrap_or(0))
    }

    /// An attempt begins.
    pub(super) fn started(&self, place: usize) -> Event {
        let step = &self.state.steps[place];
        let data = StepStarted { run_id: self.id.clone(), step_id: step.step_id.clone(), attempt: step.attempt + 1 };
        Event::new(STEP_STARTED, data)
    }

    /// What was decided about a step.
    pub(super) fn decided(&self, decision: Decision) -> Event {
        match decision {
            Decision::Skip(place, reason) => {
                let (run_id, step_id) = (self.id.clone(), self.state.steps[place].step_id.clone());
                Event::new(STEP_SKIPPED, StepSkipped { run_id, step_id, reason })
            }
            Decision::Fail(place, why) => self.ended(place, Outcome::failed("expression_failed", why).into(), None),
            Decision::Cancel(place) => self.ended(place, Outcome::Cancelled.into(), None),
        }
    }

    /// The end of a step, or of its attempt if one is under way; `by` is the person who caused it.
    pub(super) fn ended(&self, place: usize, done: Done, by: Option<UserId>) -> Event {
        let (step, run_id, usage) = (&self.state.steps[place], self.id.clone(), done.usage);
        let under_way = step.status.is_under_way();
        let attempt = if under_way { step.attempt } else { 0 };
        let duration_ms = if under_way { self.since(step.started_at) } else { 0 };
        let (step_id, attention) = (step.step_id.clone(), self.attention(step));
        let event = match done.outcome {
            Outcome::Completed { outputs, progress } => {
                let progress = progress.done();
                let data = StepCompleted { run_id, step_id, attempt, outputs, duration_ms, progress, usage, attention };
                Event::new(STEP_COMPLETED, data)
            }
            Outcome::Failed { code, message, exit_code, signal } => {
                let again = retry_at(self.plan, self.state, place, &code, self.now);
                let retry_at = again.filter(|_| under_way && step.status == StepStatus::Running);
                let tolerated = retry_at.is_none() && self.plan.step(place).continue_on_error;
                let message = shortened(&message, MESSAGE_BYTES).to_owned();
                let data = StepFailed {
                    run_id,
                    step_id,
                    attempt,
                    code,
                    message,
                    exit_code,
                    signal,
                    duration_ms,
                    retry_at,
                    tolerated,
                    usage,
                    attention,
                };
                Event::new(STEP_FAILED, data)
            }
            Outcome::Cancelled => {
                Event::new(STEP_CANCELLED, StepCancelled { run_id, step_id, attempt, duration_ms, usage, attention })
            }
        };
        event.by(by)
    }

    /// The end of a step of a run that breaks off: its plan is not asked, and nothing is tried again.
    pub(super) fn broken_off(&self, place: usize, outcome: Outcome) -> Event {
        let Outcome::Failed { code, message, exit_code, signal } = outcome else {
            return self.ended(place, Outcome::Cancelled.into(), None);
        };
        let (step, message) = (&self.state.steps[place], shortened(&message, MESSAGE_BYTES).to_owned());
        let data = StepFailed {
            run_id: self.id.clone(),
            step_id: step.step_id.clone(),
            attempt: step.attempt,
            code,
            message,
            exit_code,
            signal,
            duration_ms: self.since(step.started_at),
            retry_at: None,
            tolerated: false,
            usage: None,
            attention: self.attention(step),
        };
        Event::new(STEP_FAILED, data)
    }

    /// An approval begins to wait.
    pub(super) fn waiting(&self, place: usize, message: String) -> Event {
        let step_id = self.state.steps[place].step_id.clone();
        let attention = self.state.started_by.clone();
        Event::new(STEP_WAITING, StepWaiting { run_id: self.id.clone(), step_id, message, attention })
    }

    /// The run is so now; `changed` if it was otherwise before.
    pub(super) fn updated(&self, status: RunStatus, changed: bool) -> Event {
        let board = if changed { self.board(status) } else { None };
        let data = RunUpdated { run_id: self.id.clone(), status, progress: self.state.counted(), board };
        Event::new(UPDATED, data)
    }

    /// The end of the run.
    pub(super) fn over(&self, status: RunStatus) -> Event {
        let (run_id, usage, board) = (self.id.clone(), self.state.usage, self.board(status));
        let duration_ms = self.since(self.state.started_at);
        match status {
            RunStatus::Completed => Event::new(COMPLETED, RunCompleted { run_id, duration_ms, usage, board }),
            RunStatus::Cancelled => Event::new(CANCELLED, RunCancelled { run_id, duration_ms, usage, board })
                .by(self.state.cancelled_by.clone()),
            _ => {
                let steps = self.state.steps.iter().enumerate();
                let failed = steps.filter(|(place, step)| self.plan.has_failed(*place, step.status));
                let failed: Vec<&str> = failed.map(|(_, step)| step.step_id.as_str()).collect();
                let shown = failed.iter().take(10).copied().collect::<Vec<_>>().join(", ");
                let message = match failed.len() {
                    1 => format!("the step {shown} failed"),
                    count if count > 10 => format!("{count} steps failed, among them {shown}"),
                    _ => format!("the steps {shown} failed"),
                };
                self.broken("step_failed", &message)
            }
        }
    }

    /// The run ends in a failure of its own.
    pub(super) fn broken(&self, code: &str, message: &str) -> Event {
        let data = RunFailed {
            run_id: self.id.clone(),
            code: code.to_owned(),
            message: shortened(message, MESSAGE_BYTES).to_owned(),
            duration_ms: self.since(self.state.started_at),
            usage: self.state.usage,
            board: self.board(RunStatus::Failed),
        };
        Event::new(FAILED, data)
    }
}
