//! What other domains do for sessions: terminals that programs run in, and working trees of their own.
//!
//! Guarantees: a terminal that was opened ends, and says how; what is given here names no channel.
//! It is not where terminals and repositories are: those are services of their own, bound by the root.

use std::{path::PathBuf, process::ExitStatus, sync::Arc};

use tidings_core::{BoxFuture, Result, UserId};

use super::contract::SessionId;
use crate::{
    git::input::Worktree,
    programs::{Sandbox, meter::Meter},
    project::ProjectId,
    shell::TerminalId,
};

/// Terminals and working trees, as sessions get them.
pub trait Surroundings: Send + Sync {
    /// Opens a terminal, and starts a session's program in it. Resolves when the start is durable.
    ///
    /// # Errors
    /// `conflict` when the project's directory is gone, `invalid_data` for a directory that is not inside it,
    /// `draining`, `unavailable`.
    fn terminal(&self, wanted: Wanted) -> BoxFuture<'_, Result<Terminal>>;

    /// The directory of a working tree, which is made unless it is there.
    ///
    /// # Errors
    /// `conflict` with what git said; `not_found`, `draining`, `unavailable`.
    fn worktree(&self, user: UserId, project_id: ProjectId, tree: Worktree) -> BoxFuture<'_, Result<PathBuf>>;
}

/// A terminal that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub(crate) session_id: SessionId,
    pub(crate) user: UserId,
    pub(crate) project_id: ProjectId,
    /// The project's directory.
    pub(crate) root: PathBuf,
    /// The program's, relative to it; none for the same.
    pub(crate) cwd: Option<String>,
    pub(crate) argv: Vec<String>,
    /// What others see of a free command line; none of an agent's.
    pub(crate) command: Option<Vec<String>>,
    /// What people call it.
    pub(crate) title: String,
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    /// Hears whenever the program writes.
    pub(crate) meter: Arc<Meter>,
    /// The agent's own sandbox.
    pub(crate) sandbox: Option<Sandbox>,
}

/// A terminal that a session's program runs in.
pub struct Terminal {
    pub(crate) id: TerminalId,
    pub(crate) keys: Box<dyn Keys>,
    /// Resolves once the end of the terminal is told.
    pub(crate) ended: BoxFuture<'static, Ended>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Terminal({})", self.id)
    }
}

/// What a session does with its terminal. Dropping it closes the terminal.
pub(crate) trait Keys: Send + Sync {
    /// Types a text as if somebody pasted it, and Enter. Waits while the program does not read.
    ///
    /// # Errors
    /// `conflict` when the terminal has ended.
    fn paste(&self, text: String) -> BoxFuture<'_, Result<()>>;

    /// Resolves once its program has exited, or never starts.
    fn exited(&self) -> BoxFuture<'_, ()>;

    /// Closes it: its program is told that it hangs up, and killed after the grace.
    fn hang_up(&self);
}

/// How a terminal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its program did, also when the session asked for it.
    Exited(ExitStatus),
    /// This user closed it.
    Closed(UserId),
    /// It was closed before its program started.
    Never,
    /// The server stopped.
    ServerStopped,
    /// It failed: why, for programs and for people.
    Failed(&'static str, String),
}
