//! What the commands of git take.
//!
//! Guarantees: what parses and validates is bounded, is no option of git, and stays in the project.
//! It is not the judgement of who may: that is each row's.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use validator::Validate;

use super::{
    contract::OperationId,
    names::{self, WORKTREES},
};
use crate::{
    project::ProjectId,
    together::{given, one_of},
};

/// What begins an operation: in which project, and for how long its end is waited for.
pub trait Asked {
    /// The project.
    fn project_id(&self) -> &ProjectId;
    /// How long the end is waited for, if it is.
    fn wait(&self) -> Option<Duration>;
}

macro_rules! asked {
    ($($input:ty),*) => {$(
        impl Asked for $input {
            fn project_id(&self) -> &ProjectId {
                &self.project_id
            }
            fn wait(&self) -> Option<Duration> {
                self.wait_ms.map(|ms| Duration::from_millis(ms.into()))
            }
        }
    )*};
}

asked!(CloneFrom, Checkout, Paths, Commit, Stash, Fetch, Pull, Push, Merge, Rebase, WorktreeAdd, WorktreeRemove);

/// Input of `git.status`, `git.branches`, `git.worktrees` and `git.unlock`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneProject {
    /// The project.
    pub project_id: ProjectId,
}

/// Input of `git.diff`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("if" = given("to", "string"), "then" = from_a_commit()))]
pub struct Diff {
    /// The project.
    pub project_id: ProjectId,
    /// Only these paths; by default all.
    #[validate(custom(function = "names::paths"))]
    #[schemars(length(min = 1, max = names::MOST_PATHS), inner(length(min = 1, max = names::LONGEST), regex(pattern = names::PATH_FOR_GIT)))]
    pub paths: Option<Vec<String>>,
    /// Compares from this revision; by default from what is staged.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub from: Option<String>,
    /// To this one, which needs a `from`; by default to the working tree.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub to: Option<String>,
    /// Compares the commit with what is staged, instead of that with the working tree.
    #[serde(default)]
    pub staged: bool,
}

/// What a diff to a commit needs.
fn from_a_commit() -> Value {
    json!({ "required": ["from"], "properties": { "from": { "type": "string" }, "staged": { "const": false } } })
}

/// Input of `git.log`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// The project.
    pub project_id: ProjectId,
    /// At most so many commits: 1 to 500, 50 by default.
    #[validate(range(min = 1, max = 500, message = "is 1 to 500"))]
    pub limit: Option<u32>,
    /// The `cursor` of the page before, which tells the `rev`, too.
    #[validate(custom(function = "names::cursor"))]
    #[schemars(regex(pattern = names::CURSOR))]
    pub after: Option<String>,
    /// From this revision on; `HEAD` by default.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub rev: Option<String>,
    /// Only commits that changed these paths.
    #[validate(custom(function = "names::paths"))]
    #[schemars(length(min = 1, max = names::MOST_PATHS), inner(length(min = 1, max = names::LONGEST), regex(pattern = names::PATH_FOR_GIT)))]
    pub paths: Option<Vec<String>>,
}

/// Input of `git.show`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Show {
    /// The project.
    pub project_id: ProjectId,
    /// The commit.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub rev: String,
}

/// Input of `git.clone`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloneFrom {
    /// The project, whose directory is empty.
    pub project_id: ProjectId,
    /// Where from.
    #[validate(custom(function = "names::address"))]
    #[schemars(length(min = 1, max = 2048), regex(pattern = names::ADDRESS))]
    pub url: String,
    /// The branch to check out; by default the remote's.
    #[validate(custom(function = "names::branch"))]
    #[schemars(length(min = 1, max = 200), regex(pattern = names::BRANCH))]
    pub branch: Option<String>,
    /// Only so many of the newest commits; by default all.
    #[validate(range(min = 1, max = 1_000_000, message = "is 1 to 1000000"))]
    pub depth: Option<u32>,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.checkout`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkout {
    /// The project.
    pub project_id: ProjectId,
    /// The branch; of one that only a remote has, a local one is made.
    #[validate(custom(function = "names::branch"))]
    #[schemars(length(min = 1, max = 200), regex(pattern = names::BRANCH))]
    pub branch: String,
    /// Whether it is a new one.
    #[serde(default)]
    pub create: bool,
    /// Where a new one begins; `HEAD` by default.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub from: Option<String>,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.add` and `git.unstage`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Paths {
    /// The project.
    pub project_id: ProjectId,
    /// Which; `.` is all.
    #[validate(custom(function = "names::paths"))]
    #[schemars(length(min = 1, max = names::MOST_PATHS), inner(length(min = 1, max = names::LONGEST), regex(pattern = names::PATH_FOR_GIT)))]
    pub paths: Vec<String>,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.commit`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Commit {
    /// The project.
    pub project_id: ProjectId,
    /// What it is about.
    #[validate(custom(function = "names::a_message"))]
    #[schemars(length(min = 1, max = names::MESSAGE_BYTES), regex(pattern = names::MESSAGE))]
    pub message: String,
    /// Stages what is changed in known files first.
    #[serde(default)]
    pub all: bool,
    /// Replaces the last commit.
    #[serde(default)]
    pub amend: bool,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// What to do with the stash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StashAction {
    /// Puts changes aside.
    Push,
    /// Brings them back, and forgets them.
    Pop,
    /// Brings them back, and keeps them.
    Apply,
    /// Forgets them.
    Drop,
}

/// Input of `git.stash`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stash {
    /// The project.
    pub project_id: ProjectId,
    /// What to do.
    pub action: StashAction,
    /// What a push is about.
    #[validate(custom(function = "names::a_message"))]
    #[schemars(length(min = 1, max = names::MESSAGE_BYTES), regex(pattern = names::MESSAGE))]
    pub message: Option<String>,
    /// Whether a push takes files along that git does not know.
    #[serde(default)]
    pub untracked: bool,
    /// Which one, the newest being 0, which is the default.
    #[serde(default)]
    pub index: u32,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.fetch`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fetch {
    /// The project.
    pub project_id: ProjectId,
    /// The remote; by default the branch's, else `origin`.
    #[validate(custom(function = "names::remote"))]
    #[schemars(regex(pattern = names::REMOTE))]
    pub remote: Option<String>,
    /// Forgets branches that the remote has no more.
    #[serde(default)]
    pub prune: bool,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// How a pull brings two lines together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullMode {
    /// Not at all: it fails where both have commits of their own.
    #[default]
    FastForward,
    /// By a merge.
    Merge,
    /// By a rebase.
    Rebase,
}

/// Input of `git.pull`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("if" = given("branch", "string"), "then" = given("remote", "string")))]
pub struct Pull {
    /// The project.
    pub project_id: ProjectId,
    /// The remote; by default the branch's.
    #[validate(custom(function = "names::remote"))]
    #[schemars(regex(pattern = names::REMOTE))]
    pub remote: Option<String>,
    /// Its branch, which needs a `remote`; by default the one that the branch follows.
    #[validate(custom(function = "names::branch"))]
    #[schemars(length(min = 1, max = 200), regex(pattern = names::BRANCH))]
    pub branch: Option<String>,
    /// How two lines come together.
    #[serde(default)]
    pub mode: PullMode,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.push`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Push {
    /// The project.
    pub project_id: ProjectId,
    /// The remote; `origin` by default.
    #[validate(custom(function = "names::remote"))]
    #[schemars(regex(pattern = names::REMOTE))]
    pub remote: Option<String>,
    /// The branch; by default the one that is checked out.
    #[validate(custom(function = "names::branch"))]
    #[schemars(length(min = 1, max = 200), regex(pattern = names::BRANCH))]
    pub branch: Option<String>,
    /// Whether the branch follows the remote's from now on.
    #[serde(default)]
    pub set_upstream: bool,
    /// Replaces the remote's branch, unless it has commits that were never fetched.
    #[serde(default)]
    pub force_with_lease: bool,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// What to do with a merge or a rebase that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Takes it back.
    Abort,
    /// Goes on, once all conflicts are resolved and staged.
    Continue,
}

/// Input of `git.merge`: a `rev` to merge, or what to do with a merge that is not finished.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = one_of(("rev", "string"), ("resume", "string"))))]
pub struct Merge {
    /// The project.
    pub project_id: ProjectId,
    /// What to merge.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub rev: Option<String>,
    /// What to do with an unfinished one.
    pub resume: Option<Resume>,
    /// Makes a merge commit also where none is needed.
    #[serde(default)]
    pub no_fast_forward: bool,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.rebase`: an `onto`, or what to do with a rebase that is not finished.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = one_of(("onto", "string"), ("resume", "string"))))]
pub struct Rebase {
    /// The project.
    pub project_id: ProjectId,
    /// Onto what.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub onto: Option<String>,
    /// What to do with an unfinished one.
    pub resume: Option<Resume>,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// A working tree that something is to run in: it is made, as by `git.worktree_add`, unless it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Worktree {
    /// Its name: it lies in `.worktrees/{name}`.
    #[validate(custom(function = "names::worktree"))]
    #[schemars(regex(pattern = names::WORKTREE))]
    pub name: String,
    /// The branch of one that is made; by default one of its name, a new one unless it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[validate(custom(function = "names::branch"))]
    #[schemars(length(min = 1, max = 200), regex(pattern = names::BRANCH))]
    pub branch: Option<String>,
    /// Whether that is a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// Where a new one begins; `HEAD` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub from: Option<String>,
}

impl Worktree {
    /// The one of this name, on a branch of its name where it is made; none for what is no name of one.
    #[must_use]
    pub fn named(name: String) -> Option<Self> {
        names::worktree(&name).is_ok().then_some(Self { name, branch: None, create: false, from: None })
    }

    /// Its directory, relative to the project's root.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("{WORKTREES}/{}", self.name)
    }
}

/// Input of `git.worktree_add`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorktreeAdd {
    /// The project.
    pub project_id: ProjectId,
    /// Its name: it lies in `.worktrees/{name}`.
    #[validate(custom(function = "names::worktree"))]
    #[schemars(regex(pattern = names::WORKTREE))]
    pub name: String,
    /// Its branch; by default a new one of its name.
    #[validate(custom(function = "names::branch"))]
    #[schemars(length(min = 1, max = 200), regex(pattern = names::BRANCH))]
    pub branch: Option<String>,
    /// Whether that is a new one.
    #[serde(default)]
    pub create: bool,
    /// Where a new one begins; `HEAD` by default.
    #[validate(custom(function = "names::revision"))]
    #[schemars(length(min = 1, max = 256), regex(pattern = names::REVISION))]
    pub from: Option<String>,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.worktree_remove`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorktreeRemove {
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    #[validate(custom(function = "names::worktree"))]
    #[schemars(regex(pattern = names::WORKTREE))]
    pub name: String,
    /// Also when something in it is not committed.
    #[serde(default)]
    pub force: bool,
    /// How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
    /// it is in the answer.
    #[validate(range(max = 60_000, message = "is 0 to 60000"))]
    pub wait_ms: Option<u32>,
}

/// Input of `git.cancel`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cancel {
    /// The project.
    pub project_id: ProjectId,
    /// The operation.
    pub operation_id: OperationId,
}
