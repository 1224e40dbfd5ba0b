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
    projection::{Snapshot, View},
};

use super::{
    contract::{Status, TerminalId},
    input::ListShells,
    shells::Shells,
    state::{Failure, ShellState},
};
use crate::{
    listing::{self, Listed, Listing},
    project::ProjectId,
    session::SessionId,
    telling::Told,
};

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
    /// The session whose program runs in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
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
pub type Page = listing::Page<Brief, TerminalId>;

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
        let ListShells { project_id, status, limit, cursor } = &query;
        let listing = Listing { project_id: project_id.as_ref(), limit: *limit, cursor: cursor.as_ref() };
        let wanted = |brief: &Brief| status.is_none_or(|status| status == brief.status);
        listing::list(&*self.ports.states, listing, wanted, visible).await
    }
}

impl Listed for Brief {
    type Id = TerminalId;
    const DOMAIN: &'static str = ShellState::DOMAIN;
    // A screen is large.
    const BATCH: usize = 100;

    fn of(view: &View) -> Option<Self> {
        let state = view.state::<ShellState>()?;
        // A channel that was only published to from outside is no terminal: nothing was opened there.
        state.opened_at?;
        let (cols, rows) = state.display.size();
        Some(Self {
            id: view.id.parse().ok()?,
            project_id: state.project_id.clone(),
            session_id: state.session_id.clone(),
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

    fn id(&self) -> &TerminalId {
        &self.id
    }
}
