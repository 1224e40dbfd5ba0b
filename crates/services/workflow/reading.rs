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
    projection::{ListStates, Snapshot, View},
};

use super::{
    contract::{Progress, RunId, RunStatus, STEP_OUTPUT, StepOutput, Usage},
    input::{ListRuns, ReadStepOutput},
    runs::Runs,
    state::{Failure, RunState},
    telling::DOMAIN,
};
use crate::project::ProjectId;

/// How many runs a page has, unless the caller says.
const PAGE: usize = 50;
/// How many states one request looks through at most; then it answers with a cursor.
const SCAN: usize = 2_000;
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
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The runs; there may be fewer than asked for and a cursor all the same.
    pub runs: Vec<Brief>,
    /// For the next page; none on the last one.
    pub cursor: Option<RunId>,
}

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
        let limit = query.limit.map_or(PAGE, |limit| limit as usize);
        let project: Option<&str> = query.project_id.as_ref().map(ProjectId::as_str);
        let mut below = query.cursor.as_ref().map(|cursor| cursor.as_str().into());
        let mut page = Page { runs: Vec::new(), cursor: None };
        for _ in 0..SCAN / BATCH {
            let ask = ListStates { project: project.map(Into::into), below, limit: BATCH };
            let views = self.ports.states.list(DOMAIN, ask).await?;
            let Some(last) = views.last() else { return Ok(page) };
            below = Some(last.id.clone());
            for view in views {
                let Some(brief) = brief(&view).filter(|brief| query.status.is_none_or(|status| status == brief.status))
                else {
                    continue;
                };
                if !visible(&brief.id, view.owner.as_ref(), view.project.as_deref()) {
                    continue;
                }
                if page.runs.len() == limit {
                    page.cursor = page.runs.last().map(|last| last.id.clone());
                    return Ok(page);
                }
                page.runs.push(brief);
            }
        }
        page.cursor = below.and_then(|id| id.parse().ok());
        Ok(page)
    }

    /// What an attempt of a step printed, as plain text: the newest 8 MiB of what is kept.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn output(self: Arc<Self>, input: ReadStepOutput) -> Result<String> {
        let state = self.state(&input.run_id).await?.ok_or_else(Error::not_found)?;
        let step = state.step(&input.step_id).ok_or_else(Error::not_found)?;
        let attempt = input.attempt.unwrap_or(step.attempt);
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

fn brief(view: &View) -> Option<Brief> {
    let state = view.state::<RunState>()?;
    // A channel that was only published to from outside is no run: nothing was started there.
    state.run_id.as_ref()?;
    Some(Brief {
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
