//! Reading terminals: one, and many.
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
    contract::{Status, TerminalId},
    input::ListShells,
    shells::Shells,
    state::{Failure, ShellState},
};
use crate::{project::ProjectId, telling::Told};

/// How many terminals a page has, unless the caller says.
const PAGE: usize = 50;
/// How many states one request looks through at most; then it answers with a cursor.
const SCAN: usize = 2_000;
/// How many states are read at once.
const BATCH: usize = 100;

/// A terminal in a list: what its state says, but for the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brief {
    /// The terminal.
    pub id: TerminalId,
    /// The project that it runs in.
    pub project_id: Option<ProjectId>,
    /// How it is.
    pub status: Status,
    /// What people call it.
    pub title: Option<String>,
    /// How many columns.
    pub cols: u16,
    /// How many rows.
    pub rows: u16,
    /// When it was opened.
    pub opened_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When its newest message was published.
    pub updated_at: Option<Timestamp>,
    /// The exit code, once the program exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
}

/// A page of terminals, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The terminals; there may be fewer than asked for and a cursor all the same.
    pub shells: Vec<Brief>,
    /// For the next page; none on the last one.
    pub cursor: Option<TerminalId>,
}

impl Shells {
    /// The snapshot of a terminal.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get(self: Arc<Self>, id: TerminalId) -> Result<Snapshot<ShellState>> {
        let view = self.ports.states.get(ShellState::DOMAIN, id.as_str()).await?;
        view.and_then(|view| view.snapshot()).ok_or_else(Error::not_found)
    }

    /// Terminals that `visible` lets through, newest first. It is asked with id, owner and project.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list(
        self: Arc<Self>,
        query: ListShells,
        visible: impl Fn(&TerminalId, Option<&UserId>, Option<&str>) -> bool + Send + Sync + 'static,
    ) -> Result<Page> {
        let limit = query.limit.map_or(PAGE, |limit| limit as usize);
        let project: Option<&str> = query.project_id.as_ref().map(ProjectId::as_str);
        let mut below = query.cursor.as_ref().map(|cursor| cursor.as_str().into());
        let mut page = Page { shells: Vec::new(), cursor: None };
        for _ in 0..SCAN / BATCH {
            let ask = ListStates { project: project.map(Into::into), below, limit: BATCH };
            let views = self.ports.states.list(ShellState::DOMAIN, ask).await?;
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
                if page.shells.len() == limit {
                    page.cursor = page.shells.last().map(|last| last.id.clone());
                    return Ok(page);
                }
                page.shells.push(brief);
            }
        }
        page.cursor = below.and_then(|id| id.parse().ok());
        Ok(page)
    }
}

fn brief(view: &View) -> Option<Brief> {
    let state = view.state::<ShellState>()?;
    // A channel that was only published to from outside is no terminal: nothing was opened there.
    state.opened_at?;
    let (cols, rows) = state.display.size();
    Some(Brief {
        id: view.id.parse().ok()?,
        project_id: state.project_id.clone(),
        status: state.status,
        title: state.title.clone(),
        cols,
        rows,
        opened_at: state.opened_at,
        ended_at: state.ended_at,
        updated_at: state.updated_at,
        code: state.code,
        signal: state.signal,
        error: state.error.clone(),
    })
}
