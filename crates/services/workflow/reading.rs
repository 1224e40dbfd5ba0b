//! Reading runs: one, many, and the output of a step as plain text.
//!
//! Guarantees: what is answered is the projection, so that it agrees with the snapshot; a list shows
//! only what the caller may see; every answer is bounded.
//! It is not live: that is the channel.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{
    Error, Result, Timestamp, UserId,
    projection::{Snapshot, View},
};

use super::{
    contract::{Progress, RunId, RunStatus, STEP_OUTPUT, StepOutput, Usage},
    input::{ListRuns, ReadStepOutput},
    runs::Runs,
    state::{Failure, RunState},
    telling::DOMAIN,
};
use crate::{
    listing::{self, Listed, Listing},
    project::ProjectId,
};

/// How many states, or messages, are read at once.
const BATCH: usize = 200;
/// The most bytes of output in one answer: the newest.
const OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// A run in a list: what its state says, but for its definition and its steps.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RunBrief")]
pub struct Brief {
    /// The run.
    pub id: RunId,
    /// The project that it runs in.
    pub project_id: Option<ProjectId>,
    /// How it is.
    pub status: RunStatus,
    /// What people call it.
    pub title: String,
    /// How many of its steps have ended.
    pub progress: Progress,
    /// Who started it.
    pub started_by: Option<UserId>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The run that it repeats.
    pub rerun_of: Option<RunId>,
    /// What the agents of its steps used.
    pub usage: Usage,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
}

/// A page of runs, newest first.
pub type Page = listing::Page<Brief, RunId>;

impl Runs {
    /// The snapshot of a run.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get(self: Arc<Self>, id: RunId) -> Result<Snapshot<RunState>> {
        let view = self.ports.states.get(DOMAIN, id.as_str()).await?;
        view.and_then(|view| view.snapshot()).ok_or_else(Error::not_found)
    }

    /// Runs that `visible` lets through, newest first. It is asked with id, owner and project.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list(
        self: Arc<Self>,
        query: ListRuns,
        visible: impl Fn(&RunId, Option<&UserId>, Option<&str>) -> bool + Send + Sync + 'static,
    ) -> Result<Page> {
        let ListRuns { project_id, status, limit, cursor } = &query;
        let listing = Listing { project_id: project_id.as_ref(), limit: *limit, cursor: cursor.as_ref() };
        let wanted = |brief: &Brief| status.is_none_or(|status| status == brief.status);
        listing::list(&*self.ports.states, listing, wanted, visible).await
    }

    /// What an attempt of a step printed, as plain text: the newest 8 MiB of what is kept.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn output(self: Arc<Self>, input: ReadStepOutput) -> Result<String> {
        let state = self.state(&input.run_id).await?.ok_or_else(Error::not_found)?;
        let step = state.step(&input.step_id).ok_or_else(Error::not_found)?;
        let attempt = input.attempt.unwrap_or(step.attempt);
        // It never closes.
        let _turn = self.reading.acquire().await.map_err(|_| Error::internal())?;
        let (mut text, mut after) = (String::new(), 0);
        loop {
            let (messages, more) = self.ports.states.messages(DOMAIN, input.run_id.as_str(), after, BATCH).await?;
            let Some(last) = messages.last().and_then(|message| message.seq) else { return Ok(text) };
            after = last;
            let printed = messages.iter().filter(|message| message.event_type.as_str() == STEP_OUTPUT);
            for event in printed.filter_map(|message| message.payload.typed::<StepOutput>().ok()) {
                if event.step_id == input.step_id && event.attempt == attempt {
                    text.push_str(&event.content);
                }
            }
            if text.len() > OUTPUT_BYTES {
                let cut = text.ceil_char_boundary(text.len() - OUTPUT_BYTES);
                text.drain(..cut);
            }
            if !more {
                return Ok(text);
            }
        }
    }
}

impl Listed for Brief {
    type Id = RunId;
    const DOMAIN: &'static str = DOMAIN;
    const BATCH: usize = BATCH;

    fn of(view: &View) -> Option<Self> {
        let state = view.state::<RunState>()?;
        // A channel that was only published to from outside is no run: nothing was started there.
        state.run_id.as_ref()?;
        Some(Self {
            id: view.id.parse().ok()?,
            project_id: state.project_id.clone(),
            status: state.status,
            title: state.title.clone(),
            progress: state.progress,
            started_by: state.started_by.clone(),
            started_at: state.started_at,
            ended_at: state.ended_at,
            rerun_of: state.rerun_of.clone(),
            usage: state.usage,
            error: state.error.clone(),
        })
    }

    fn id(&self) -> &RunId {
        &self.id
    }
}
