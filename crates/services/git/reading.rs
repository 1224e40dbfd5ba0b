//! What reads a repository and answers at once: its status, differences, commits, branches, working trees.
//!
//! Guarantees: nothing is written, nobody is reached, no program of the repository is run; every answer is bounded
//! and says what it leaves out; so many read at once as have a turn, and an answer is never older than its question.
//! It tells no event.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{Code, Error, Result, UserId, command::Json};

use super::{
    contract::{Change, FileStatus, Status, Unfinished},
    execute::{Finished, Git, Stop},
    failure,
    input::{Diff, Log, OneProject, Show},
    listing::{self, BRANCH, BranchInfo, COMMIT, CommitInfo, FileChange, WorktreeInfo},
    looks::Seen,
    names::parse_cursor,
    place::{Place, Purpose},
    repositories::Repositories,
    status::{self, Report},
    turns::Turn,
};
use crate::{beneath::Root, blocking::blocking, project::ProjectId};

/// The most files of an answer.
const FILES: usize = 1000;
/// The most bytes of a list that git prints.
const LIST_BYTES: usize = 4 * 1024 * 1024;
/// How many commits a page of the log has, unless asked otherwise.
const LOG_LIMIT: u32 = 50;

/// Answer of `git.status`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusAnswer {
    /// How it is.
    #[serde(flatten)]
    pub status: Status,
    /// What is changed, at most 1,000 paths.
    pub files: Vec<FileStatus>,
    /// How many more there are.
    pub more: u64,
}

/// Answer of `git.diff` and `git.show`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffAnswer {
    /// The commit that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitInfo>,
    /// What differs, at most 1,000 files.
    pub files: Vec<FileChange>,
    /// How many more there are.
    pub more: u64,
    /// The differences as `git diff` prints them.
    pub patch: String,
    /// Whether the patch was cut, at the end of a line.
    pub truncated: bool,
}

/// Answer of `git.log`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogAnswer {
    /// The commits, newest first.
    pub commits: Vec<CommitInfo>,
    /// The `after` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Answer of `git.branches`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BranchesAnswer {
    /// The branches, local ones first, at most 1,000.
    pub branches: Vec<BranchInfo>,
}

/// Answer of `git.worktrees`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorktreesAnswer {
    /// The working trees, the project's own first.
    pub worktrees: Vec<WorktreeInfo>,
}

/// How `status` is asked for.
const STATUS: [&str; 6] =
    ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty"];

impl Git {
    /// How a repository is, with at most `limit` files.
    pub(super) async fn status(&self, place: &Place, limit: usize) -> Result<Report> {
        let printed = good(self.read(place, &STATUS, LIST_BYTES).await?)?.printed;
        let mut report = status::parse(&printed, limit);
        let root = place.root.clone();
        report.status.unfinished = blocking(move || unfinished(&root)).await?;
        Ok(report)
    }

    /// The former names of what is staged as renamed and shown under one of these paths: a rename is shown as one, and
    /// is two changes of what is staged.
    pub(super) async fn other_halves(&self, place: &Place, paths: &[String]) -> Result<Vec<String>> {
        let place = self.to_read(place).await?;
        let finished = good(self.read(&place, &STATUS, LIST_BYTES).await?)?;
        if finished.stopped.is_some() {
            return Err(Error::new(Code::Conflict, "more is changed than can be looked at: unstage \".\""));
        }
        let renamed = status::parse(&finished.printed, usize::MAX).files.into_iter();
        let shown = |file: &FileStatus| paths.iter().any(|path| covers(path, &file.path));
        let halves = renamed.filter(|file| file.staged == Some(Change::Renamed) && shown(file));
        Ok(halves.filter_map(|file| file.from).collect())
    }

    /// Numbers and patch of what this command compares.
    async fn compare(&self, place: &Place, command: &[&str], what: &[&str]) -> Result<DiffAnswer> {
        let safe = [
            "--no-ext-diff",
            "--no-textconv",
            "--ignore-submodules=dirty",
            "--submodule=short",
            "--no-color",
            "--find-renames",
        ];
        let line = |form: &[&'static str]| [command, &safe, form, &["--end-of-options"], what].concat();
        let numbers = good(self.read(place, &line(&["--numstat", "-z"]), LIST_BYTES).await?)?;
        let (files, more) = listing::changes(&numbers.printed, FILES);
        let patch = good(self.read(place, &line(&["--patch"]), self.config.max_patch_bytes).await?)?;
        let truncated = patch.stopped == Some(Stop::Enough);
        let mut text = String::from_utf8_lossy(&patch.printed).into_owned();
        if truncated {
            // The last line may be half of one.
            text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        }
        Ok(DiffAnswer { commit: None, files, more, patch: text, truncated })
    }
}

impl Repositories {
    /// `git.status`.
    ///
    /// # Errors
    /// `not_found`, `conflict` where there is no repository, `overloaded`, `unavailable`.
    pub async fn status(self: Arc<Self>, user: UserId, input: OneProject) -> Result<Json<StatusAnswer>> {
        // A project that is not there is told before others are waited for.
        self.root(&input.project_id).await?;
        let seen = loop {
            if let Some(seen) = self.look(&user, &input.project_id).await? {
                break seen?;
            }
            // Whoever was about to look is gone: it is asked for again.
        };
        let Report { status, files, more } = Report::clone(&seen);
        Ok(Json(StatusAnswer { status, files, more }))
    }

    /// How a repository is: by the look that waits for its turn already, or a new one. One that has begun may have
    /// missed what came after, and is nobody's but theirs who had asked by then.
    async fn look(&self, user: &UserId, project_id: &ProjectId) -> Result<Option<Seen>> {
        let (told, ticket) = self.looks.join(&self.turns, user, project_id)?;
        let Some(mut ticket) = ticket else { return Ok(told.await) };
        let turn = tokio::select! {
            biased;
            seen = told.clone() => return Ok(seen),
            turn = ticket.turn() => turn?,
        };
        let Some(tell) = ticket.begin() else {
            drop(turn);
            return Ok(told.await);
        };
        let seen = self.see(project_id).await;
        drop(turn);
        // They may all have gone.
        drop(tell.send(seen.clone()));
        Ok(Some(seen))
    }

    async fn see(&self, project_id: &ProjectId) -> Seen {
        let root = self.root(project_id).await?;
        let place = self.git.repository(&root, Purpose::Read).await?;
        self.git.status(&place, FILES).await.map(Arc::new)
    }

    /// `git.diff`.
    ///
    /// # Errors
    /// As [`Repositories::status`]; `invalid_data` for a `to` without a `from`, or with `staged`.
    pub async fn diff(self: Arc<Self>, user: UserId, input: Diff) -> Result<Json<DiffAnswer>> {
        if input.to.is_some() && (input.from.is_none() || input.staged) {
            return Err(Error::invalid_field("to", "needs a from, and does not go with staged"));
        }
        let (place, _turn) = self.to_read(&user, &input.project_id).await?;
        let command: &[&str] = if input.staged { &["diff", "--cached"] } else { &["diff"] };
        let mut what: Vec<&str> = input.from.iter().chain(&input.to).map(String::as_str).collect();
        what.push("--");
        what.extend(input.paths.iter().flatten().map(String::as_str));
        Ok(Json(self.git.compare(&place, command, &what).await?))
    }

    /// `git.show`.
    ///
    /// # Errors
    /// As [`Repositories::status`]; `not_found` for a revision that is not there.
    pub async fn show(self: Arc<Self>, user: UserId, input: Show) -> Result<Json<DiffAnswer>> {
        let (place, _turn) = self.to_read(&user, &input.project_id).await?;
        // Not a file, and not what a tag points at otherwise.
        let commit = format!("{}^{{commit}}", input.rev);
        let log = ["log", "-1", "-z", COMMIT, "--end-of-options", commit.as_str(), "--"];
        let log = good(self.git.read(&place, &log, LIST_BYTES).await?)?;
        let command = ["show", "--format=", "--diff-merges=first-parent"];
        let compared = self.git.compare(&place, &command, &[commit.as_str(), "--"]).await?;
        let commit = listing::commits(&log.printed).pop();
        Ok(Json(DiffAnswer { commit, ..compared }))
    }

    /// `git.log`: newest first.
    ///
    /// # Errors
    /// As [`Repositories::show`].
    pub async fn log(self: Arc<Self>, user: UserId, input: Log) -> Result<Json<LogAnswer>> {
        let (place, _turn) = self.to_read(&user, &input.project_id).await?;
        let limit = input.limit.unwrap_or(LOG_LIMIT);
        let (start, seen) = match input.after.as_deref().and_then(parse_cursor) {
            Some((commit, seen)) => (commit.to_owned(), seen),
            None => (input.rev.clone().unwrap_or_else(|| "HEAD".to_owned()), 0),
        };
        let (count, skip) = (format!("--max-count={}", limit + 1), format!("--skip={seen}"));
        let mut args = vec!["log", "-z", COMMIT, &count, &skip, "--end-of-options", &start, "--"];
        args.extend(input.paths.iter().flatten().map(String::as_str));
        let finished = self.git.read(&place, &args, LIST_BYTES).await?;
        if finished.said.contains("does not have any commits yet") || (start == "HEAD" && is_unborn(&finished)) {
            return Ok(Json(LogAnswer { commits: Vec::new(), cursor: None }));
        }
        let mut commits = listing::commits(&good(finished)?.printed);
        let more = commits.len() > limit as usize;
        commits.truncate(limit as usize);
        let first = if seen == 0 { commits.first().map(|commit| commit.id.clone()) } else { Some(start) };
        let cursor = first.filter(|_| more).map(|first| format!("{first}-{}", seen + limit));
        Ok(Json(LogAnswer { commits, cursor }))
    }

    /// `git.branches`: local and remote, at most 1,000.
    ///
    /// # Errors
    /// As [`Repositories::status`].
    pub async fn branches(self: Arc<Self>, user: UserId, input: OneProject) -> Result<Json<BranchesAnswer>> {
        let (place, _turn) = self.to_read(&user, &input.project_id).await?;
        let args = ["for-each-ref", "--count=1000", BRANCH, "refs/heads", "refs/remotes"];
        let finished = good(self.git.read(&place, &args, LIST_BYTES).await?)?;
        Ok(Json(BranchesAnswer { branches: listing::branches(&finished.printed) }))
    }

    /// `git.worktrees`.
    ///
    /// # Errors
    /// As [`Repositories::status`].
    pub async fn worktrees(self: Arc<Self>, user: UserId, input: OneProject) -> Result<Json<WorktreesAnswer>> {
        let (place, _turn) = self.to_read(&user, &input.project_id).await?;
        let finished = good(self.git.read(&place, &["worktree", "list", "--porcelain", "-z"], LIST_BYTES).await?)?;
        let mut worktrees = listing::worktrees(&finished.printed);
        // Behind a shadow git takes that for the place of the project's own.
        if let Some(own) = worktrees.first_mut() {
            own.path = place.root.to_string_lossy().into_owned();
        }
        Ok(Json(WorktreesAnswer { worktrees }))
    }

    /// The repository of a project, and the turn to read it.
    async fn to_read(&self, user: &UserId, project: &ProjectId) -> Result<(Place, Turn)> {
        // A project that is not there is told before others are waited for.
        self.root(project).await?;
        let turn = self.turns.next(user, project).await?;
        let root = self.root(project).await?;
        Ok((self.git.repository(&root, Purpose::Read).await?, turn))
    }
}

/// Whether a path that somebody names is a file or a folder above it.
fn covers(path: &str, file: &str) -> bool {
    let parts = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    Path::new(file).starts_with(parts.collect::<PathBuf>())
}

fn is_unborn(finished: &Finished) -> bool {
    !finished.status.success() && finished.said.contains("'HEAD'")
}

/// The result of a run that ended well, or was ended because it printed enough.
fn good(finished: Finished) -> Result<Finished> {
    if finished.status.success() || finished.stopped == Some(Stop::Enough) {
        return Ok(finished);
    }
    let (code, message) = failure::of(&finished.said);
    Err(Error::new(if code == "not_found" { Code::NotFound } else { Code::Conflict }, message))
}

/// What was begun in the repository, by the files that git leaves for itself.
fn unfinished(root: &Path) -> Option<Unfinished> {
    let root = Root::open(root).ok()?;
    let there = |name: &str| root.holds(&format!(".git/{name}")).is_ok_and(|there| there);
    let signs = [
        ("rebase-merge", Unfinished::Rebase),
        ("rebase-apply", Unfinished::Rebase),
        ("MERGE_HEAD", Unfinished::Merge),
        ("CHERRY_PICK_HEAD", Unfinished::CherryPick),
        ("REVERT_HEAD", Unfinished::Revert),
    ];
    signs.into_iter().find(|(name, _)| there(name)).map(|(_, sign)| sign)
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_path_covers_itself_and_what_is_in_it_however_it_is_written() {
        for (path, file, expected) in [
            ("a/b", "a/b", true),
            ("./a/", "a/b", true),
            ("a//b", "a/b", true),
            (".", "a/b", true),
            ("a/b", "a/bc", false),
            ("b", "a/b", false),
        ] {
            assert_eq!(covers(path, file), expected, "{path} {file}");
        }
    }
}
