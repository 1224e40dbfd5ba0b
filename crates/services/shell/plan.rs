//! The plan of a terminal: everything that is decided before it is opened.
//!
//! Guarantees: what is shown of a command line is redacted and bounded, what runs is exactly what was asked
//! for.
//! It is not the start: nothing here has an effect.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tidings_core::{Timestamp, UserId};

use super::{
    config::ShellConfig,
    contract::{Board, Opened, Status, TerminalId},
    input::OpenShell,
};
use crate::{
    programs::{Sandbox, line, meter::Meter},
    project::{Place, ProjectId},
    session::{SessionId, surroundings::Wanted},
};

/// The most characters of a title that the server makes.
const TITLE_CHARS: usize = 80;

/// What a terminal will be.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) user: UserId,
    pub(super) project_id: ProjectId,
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Where it runs.
    pub(super) place: Place,
    /// Variables beside those of every program.
    pub(super) env: BTreeMap<String, String>,
    pub(super) cols: u16,
    pub(super) rows: u16,
    /// The session whose program it is; none for a person's own.
    pub(super) session: Option<OfSession>,
    /// The sandbox of a session's agent.
    pub(super) sandbox: Option<Sandbox>,
    title: String,
    command: Option<Vec<String>>,
}

/// The session that a terminal is for.
#[derive(Debug, Clone)]
pub(super) struct OfSession {
    id: SessionId,
    /// Hears whenever the program writes.
    pub(super) meter: Arc<Meter>,
}

impl Plan {
    /// Decides what a request means. `shell` runs where none is named and none is configured.
    pub(super) fn new(config: &ShellConfig, user: UserId, place: Place, request: OpenShell, shell: &str) -> Self {
        let redact = |text: &str| config.redaction.redact(text).into_owned();
        let command = request.command.as_deref().map(|command| line::shown(command, redact));
        let argv = request.command.unwrap_or_else(|| match &config.command[..] {
            [] => vec![shell.to_owned()],
            configured => configured.to_vec(),
        });
        let name = argv.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
        let name = redact(&name.to_string_lossy());
        let title = name.chars().filter(|character| !character.is_control()).take(TITLE_CHARS).collect();
        let OpenShell { project_id, cols, rows, env, .. } = request;
        Self { user, project_id, argv, place, env, cols, rows, session: None, sandbox: None, title, command }
    }

    /// The terminal that a session wants. How many there may be, and for how long, is the session's.
    pub(super) fn of_session(wanted: Wanted, place: Place) -> Self {
        let Wanted { session_id, user, project_id, argv, command, title, cols, rows, meter, sandbox, .. } = wanted;
        let title = title.chars().filter(|character| !character.is_control()).collect();
        let session = Some(OfSession { id: session_id, meter });
        Self { user, project_id, argv, place, env: BTreeMap::new(), cols, rows, session, sandbox, title, command }
    }

    /// The event of its start.
    pub(super) fn opened(&self, id: &TerminalId, now: Timestamp) -> Opened {
        Opened {
            terminal_id: id.clone(),
            project_id: Some(self.project_id.clone()),
            title: Some(self.title.clone()),
            command: self.command.clone(),
            cwd: self.place.cwd.clone(),
            cols: self.cols,
            rows: self.rows,
            session_id: self.session.as_ref().map(|session| session.id.clone()),
            hosted: true,
            board: self.board(Status::Running, now),
        }
    }

    /// What its project's board is to show: nothing of a session's, which is there itself.
    pub(super) fn board(&self, status: Status, at: Timestamp) -> Option<Board> {
        let board =
            || Board { project_id: self.project_id.clone(), status: status.as_str(), title: self.title.clone(), at };
        self.session.is_none().then(board)
    }
}
