//! The plan of a terminal: everything that is decided before it is opened.
//!
//! Guarantees: its directory is inside the project's root, with every symbolic link followed; what is shown
//! of a command line is redacted and bounded, what runs is exactly what was asked for.
//! It is not the start: nothing here has an effect.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tidings_core::{Code, Error, Result, Timestamp, UserId};

use super::{
    config::ShellConfig,
    contract::{Board, Opened, Status, TerminalId},
    input::OpenShell,
};
use crate::{programs::decode::shortened, project::ProjectId};

/// The most bytes that are shown of a command line.
const SHOWN_COMMAND: usize = 4 * 1024;
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
    title: String,
    command: Option<Vec<String>>,
}

impl Plan {
    /// Decides what a request means. `shell` runs where none is named and none is configured.
    pub(super) fn new(config: &ShellConfig, user: UserId, place: Place, request: OpenShell, shell: &str) -> Self {
        let redact = |text: &str| config.redaction.redact(text).into_owned();
        let command = request.command.as_deref().map(|command| shown_command(command, redact));
        let argv = request.command.unwrap_or_else(|| match &config.command[..] {
            [] => vec![shell.to_owned()],
            configured => configured.to_vec(),
        });
        let name = argv.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
        let name = redact(&name.to_string_lossy());
        let title = name.chars().filter(|character| !character.is_control()).take(TITLE_CHARS).collect();
        let OpenShell { project_id, cols, rows, env, .. } = request;
        Self { user, project_id, argv, place, env, cols, rows, title, command }
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
            hosted: true,
            board: Some(self.board(Status::Running, now)),
        }
    }

    /// What its project's board is to show.
    pub(super) fn board(&self, status: Status, at: Timestamp) -> Board {
        Board { project_id: self.project_id.clone(), status: status.as_str(), title: self.title.clone(), at }
    }
}

/// A directory of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The project's directory.
    pub(super) root: PathBuf,
    /// The directory, absolute, without symbolic links.
    pub(super) dir: PathBuf,
    /// Relative to the root; none for the root itself.
    pub(super) cwd: Option<String>,
}

impl Place {
    /// The directory `cwd` of a project. Blocks on small reads.
    ///
    /// # Errors
    /// `conflict` when the project's directory is not there any more, `invalid_data` for a directory that is
    /// not there or not inside it.
    pub(super) fn find(root: &Path, cwd: Option<&str>) -> Result<Self> {
        let gone = || Error::new(Code::Conflict, "the project's directory is not there");
        let refuse = |why: &str| Error::invalid_field("cwd", why);
        // The root was recorded without symbolic links: one that is there now leads somewhere else.
        let known = root.canonicalize().ok().filter(|now| now == root && now.is_dir()).ok_or_else(gone)?;
        let Some(cwd) = cwd else { return Ok(Self { root: known.clone(), dir: known, cwd: None }) };
        // Outside and missing are the same answer: nobody learns what is there.
        let inside = known.join(cwd).canonicalize().ok().filter(|dir| dir.starts_with(&known) && dir.is_dir());
        let dir = inside.ok_or_else(|| refuse("is not a directory inside the project"))?;
        let below = dir.strip_prefix(&known).map(|below| below.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { root: known, dir, cwd: Some(below).filter(|below| !below.is_empty()) })
    }
}

/// A command line as people see it: as much of it as fits.
pub(super) fn shown_command(command: &[String], redact: impl Fn(&str) -> String) -> Vec<String> {
    let mut left = SHOWN_COMMAND;
    let mut shown = Vec::new();
    for part in command {
        let part = redact(part);
        let cut = shortened(&part, left);
        shown.push(cut.to_owned());
        if cut.len() < part.len() {
            break;
        }
        left -= cut.len();
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_found_inside_the_root_only_wherever_links_lead() {
        let temporary = tempfile::tempdir().expect("a directory");
        let base = temporary.path().canonicalize().expect("a path");
        let root = base.join("root");
        for dir in ["root/a/b", "root/odd\n\u{1b}[31mname", "rootless", "other"] {
            std::fs::create_dir_all(base.join(dir)).expect("a directory");
        }
        std::fs::write(root.join("file"), "").expect("a file");
        symlink("a/b", root.join("in")).expect("a link");
        symlink("../other", root.join("out")).expect("a link");
        let find = |cwd: Option<&str>| Place::find(&root, cwd).map(|place| (place.dir, place.cwd));
        let inside = |below: &str| Ok((root.join(below), Some(below.to_owned())));
        assert_eq!(find(None), Ok((root.clone(), None)));
        assert_eq!(find(Some(".")), Ok((root.clone(), None)));
        assert_eq!(find(Some("a/../a/b")), inside("a/b"));
        assert_eq!(find(Some("in")), inside("a/b"));
        assert_eq!(find(Some(root.join("a").to_str().expect("text"))), inside("a"));
        assert_eq!(find(Some("odd\n\u{1b}[31mname")), inside("odd\n\u{1b}[31mname"));
        for cwd in ["out", "..", "../rootless", "/", "/etc", "file", "missing", "a/b/../../.."] {
            assert_eq!(find(Some(cwd)).expect_err(cwd).code(), Code::InvalidData, "{cwd}");
        }
    }

    #[test]
    fn a_root_that_is_gone_or_has_become_a_link_is_refused() {
        let temporary = tempfile::tempdir().expect("a directory");
        let base = temporary.path().canonicalize().expect("a path");
        let root = base.join("root");
        assert_eq!(Place::find(&root, None).expect_err("gone").code(), Code::Conflict);
        std::fs::create_dir(base.join("other")).expect("a directory");
        symlink("other", &root).expect("a link");
        assert_eq!(Place::find(&root, None).expect_err("a link").code(), Code::Conflict);
    }
}
