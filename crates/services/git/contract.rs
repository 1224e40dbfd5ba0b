//! The contract of git: ids, event types and payloads, and what a project's state keeps of them.
//!
//! Guarantees: the JSON of these types is the wire's; each operation that started ends by exactly one of
//! `git.operation.completed`, `.failed`, `.cancelled`; every list is bounded.
//! It is not the service, and it names no channel.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::Timestamp;
use validator::Validate;

use crate::project::ProjectId;

tidings_core::id_type! {
    /// An operation on a repository.
    OperationId
}

/// The most files that a `git.status.changed` lists.
pub const STATUS_FILES: usize = 100;
/// The most paths that a failure lists as being in conflict.
pub const CONFLICT_PATHS: usize = 100;
/// The most open operations in a project's state: of the service those that wait and the one that runs; producers
/// outside may tell of others.
pub const OPEN_LIMIT: usize = 128;

tidings_core::events! {
    /// What the service tells of repositories, in the channels of their projects.
    pub const EVENTS;

    /// An operation has its place behind others and will start; an end without a start is possible.
    QUEUED = "git.operation.queued": durable OperationQueued, in "project",
        r#"{"projectId":"p1","operationId":"o2","kind":"commit"}"#;
    /// An operation on the repository started.
    STARTED = "git.operation.started": durable OperationStarted, in "project",
        r#"{"projectId":"p1","operationId":"o1","kind":"clone"}"#;
    /// How far an operation is; at most about one a second.
    PROGRESS = "git.operation.progress": durable OperationProgress, in "project",
        r#"{"projectId":"p1","operationId":"o1","progress":{"phase":"Receiving objects","current":50,"total":200,"percentage":25}}"#;
    /// An operation did what was asked.
    COMPLETED = "git.operation.completed": durable OperationCompleted, in "project",
        r#"{"projectId":"p1","operationId":"o1","kind":"clone","head":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","branch":"main"}"#;
    /// An operation failed; the code and the message say what to do.
    FAILED = "git.operation.failed": durable OperationFailed, in "project",
        r#"{"projectId":"p1","operationId":"o1","kind":"merge","code":"conflict","message":"there are conflicts","conflicts":["src/main.rs"]}"#;
    /// Somebody cancelled an operation, and it ended.
    CANCELLED = "git.operation.cancelled": durable OperationCancelled, in "project",
        r#"{"projectId":"p1","operationId":"o1","kind":"clone"}"#;
    /// What is changed in the working tree is different.
    STATUS_CHANGED = "git.status.changed": durable StatusChanged, in "project",
        r#"{"projectId":"p1","branch":"main","counts":{"staged":0,"unstaged":1,"untracked":0,"conflicts":0},"digest":"9f2c","files":[{"path":"src/main.rs","unstaged":"modified"}],"more":0}"#;
    /// Another commit or branch is checked out.
    HEAD_CHANGED = "git.head.changed": durable HeadChanged, in "project",
        r#"{"projectId":"p1","head":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","branch":"main"}"#;
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GitKind")]
pub enum Kind {
    /// Fills an empty project from a remote.
    Clone,
    /// Checks a branch or commit out.
    Checkout,
    /// Stages.
    Add,
    /// Takes out of what is staged.
    Unstage,
    /// Commits what is staged.
    Commit,
    /// Puts changes aside, or brings them back.
    Stash,
    /// Brings a remote's commits.
    Fetch,
    /// Fetches, and brings the branch up to date.
    Pull,
    /// Gives a remote the branch's commits.
    Push,
    /// Merges.
    Merge,
    /// Rebases.
    Rebase,
    /// Makes a further working tree.
    WorktreeAdd,
    /// Removes one.
    WorktreeRemove,
}

impl Kind {
    /// Whether it makes or removes working trees.
    pub(super) fn changes_trees(self) -> bool {
        matches!(self, Self::WorktreeAdd | Self::WorktreeRemove)
    }
}

/// `git.operation.queued`: as many as are told so have exactly one end, whether they start or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationQueued {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
    /// What it will do.
    pub kind: Kind,
    /// Whether it waits in this server, which ends it when it starts anew. Only the server says so.
    #[serde(default)]
    pub hosted: bool,
}

/// `git.operation.started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStarted {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
    /// What it does.
    pub kind: Kind,
    /// Whether this server runs it, and ends it when it starts anew. Only the server says so.
    #[serde(default)]
    pub hosted: bool,
}

/// How far a phase of an operation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitProgress")]
pub struct Progress {
    /// What git does now, in its words, such as `Receiving objects`.
    pub phase: String,
    /// How much of it is done.
    pub current: u64,
    /// Of how much; none where git does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `current / total * 100`, whole; none where git does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage: Option<u64>,
    /// What git says besides, such as how many bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// `git.operation.progress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationProgress {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
    /// How far it is.
    pub progress: Progress,
}

/// `git.operation.completed`, an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationCompleted {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
    /// What it did.
    pub kind: Kind,
    /// The commit that is checked out now, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The branch that is checked out now; none when it is no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// `git.operation.failed`, an end. Codes: see `failure`, `server_stopped` and `internal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationFailed {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
    /// What it was to do.
    pub kind: Kind,
    /// Why, for programs.
    pub code: String,
    /// Why, and what to do, for people.
    pub message: String,
    /// The newest lines that git said, with secrets taken out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// The paths that are in conflict, at most [`CONFLICT_PATHS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// What is told of an operation that ends with the server.
pub(crate) fn stopped(queued: bool) -> &'static str {
    if queued {
        "the server stopped before its turn came: nothing was done; ask again"
    } else {
        "the server stopped: look at the repository, and ask again"
    }
}

/// `git.operation.cancelled`, an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationCancelled {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
    /// What it was to do.
    pub kind: Kind,
}

/// What every event of an operation carries, and all that an end has to say to a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationNamed {
    /// The operation.
    pub operation_id: OperationId,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GitChange")]
pub enum Change {
    /// It is new.
    Added,
    /// Its content or its mode is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It had another name.
    Renamed,
    /// It is a copy.
    Copied,
    /// It is of another type, such as a symbolic link.
    TypeChanged,
    /// git does not know it.
    Untracked,
}

/// A path that is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitFileStatus")]
pub struct FileStatus {
    /// The path from the project's root. A folder of untracked files ends in `/`.
    pub path: String,
    /// What it was called before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How what is staged differs from the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Change>,
    /// How the working tree differs from what is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstaged: Option<Change>,
    /// Whether it is in conflict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
}

/// How many paths are changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "GitCounts")]
pub struct Counts {
    /// Staged.
    pub staged: u64,
    /// Changed and not staged.
    pub unstaged: u64,
    /// Unknown to git.
    pub untracked: u64,
    /// In conflict.
    pub conflicts: u64,
}

/// What was begun in a repository and is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GitUnfinished")]
pub enum Unfinished {
    /// A merge.
    Merge,
    /// A rebase.
    Rebase,
    /// A cherry-pick.
    CherryPick,
    /// A revert.
    Revert,
}

/// How a repository is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "GitStatus")]
pub struct Status {
    /// The commit that is checked out; none before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The branch; none when a commit is checked out by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The branch that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Commits that the upstream has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// Commits that only the upstream has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// What was begun and is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// How many paths are changed.
    pub counts: Counts,
    /// Two states with the same digest are the same, also beyond what is listed.
    pub digest: String,
}

/// `git.status.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusChanged {
    /// The project.
    pub project_id: ProjectId,
    /// How it is now.
    #[serde(flatten)]
    pub status: Status,
    /// The first of what is changed, at most [`STATUS_FILES`].
    pub files: Vec<FileStatus>,
    /// How many more there are.
    pub more: u64,
}

/// `git.head.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadChanged {
    /// The project.
    pub project_id: ProjectId,
    /// The commit that is checked out; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The branch; none when a commit is checked out by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that was checked out before, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// An operation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitOpenOperation")]
pub struct OpenOperation {
    /// What it does.
    pub kind: Kind,
    /// Since when it runs; of one that is queued, since when it waits.
    pub started_at: Timestamp,
    /// Whether it waits for its turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
    /// Whether this server runs it.
    #[serde(default)]
    pub hosted: bool,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// What a project's state keeps of git.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GitState {
    /// How the repository was when that was last told; none before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What has not ended, at most [`OPEN_LIMIT`].
    pub operations: BTreeMap<OperationId, OpenOperation>,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GitEndStatus")]
pub enum EndStatus {
    /// It did what was asked.
    Completed,
    /// It failed, for the `code` that is given.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// The end of an operation, for whoever waited for it: what its last event says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitEnd")]
pub struct OperationEnd {
    /// How it ended.
    pub status: EndStatus,
    /// Of a failure: why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of a failure: why, and what to do, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of a failure: the newest lines that git said, with secrets taken out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Of a failure: the paths that are in conflict, at most [`CONFLICT_PATHS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// Of what completed: the commit that is checked out now, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Of what completed: the branch that is checked out now; none when it is no branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// Answer of every command that begins an operation, and of `git.cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GitOperation")]
pub struct Begun {
    /// The operation.
    pub operation_id: OperationId,
    /// Whether it waited for its turn when it got its place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
    /// Its end, where that was waited for and came in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<OperationEnd>,
}

impl Begun {
    /// Of an operation that has not ended.
    pub(super) fn of(operation_id: OperationId, queued: bool) -> Self {
        Self { operation_id, queued, end: None }
    }
}
