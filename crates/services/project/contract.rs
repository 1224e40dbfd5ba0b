//! The contract of projects: ids, events, inputs and the state that others may read.
//!
//! Guarantees: the JSON of these types is the wire's; a state is bounded, however long a project lives.
//! It is not the service: what makes these events is [`Projects`](super::Projects).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Channel, Timestamp, UserId, principal::Membership};
use validator::{Validate, ValidationError};

use crate::git::contract::GitState;

tidings_core::id_type! {
    /// A project: a directory in which programs may run, and its members.
    ProjectId
}

/// The most sessions on a project's board, the most terminals, and the most runs of workflows. The one that changed
/// longest ago leaves first.
pub const BOARD_LIMIT: usize = 500;
/// The most members of a project.
pub const MEMBERS_LIMIT: usize = 1_000;

tidings_core::events! {
    /// The events of projects. They give rights, so that nobody outside can publish one.
    pub const EVENTS;

    /// A directory became a project.
    REGISTERED = "project.registered": durable Registered, from server,
        r#"{"projectId":"p1","name":"shop","root":"/srv/shop"}"#;
    /// Somebody became a member, or another kind of member.
    MEMBER_SET = "project.member_set": durable MemberSet, from server,
        r#"{"projectId":"p1","userId":"u1","membership":"operator"}"#;
    /// Somebody is no member any more.
    MEMBER_REMOVED = "project.member_removed": durable MemberRemoved, from server,
        r#"{"projectId":"p1","userId":"u1"}"#;
    /// Nothing can be started in the project any more.
    REMOVED = "project.removed": durable Removed, from server, r#"{"projectId":"p1"}"#;
}

tidings_core::events! {
    /// What the handler of sessions copies into a project's channel, for its board.
    pub const SUMMARIES;

    /// How a session of the project is: a copy of its starts and ends, for the project's board.
    SESSION_SUMMARY = "session.summary": durable Summary, from server, in "project",
        r#"{"id":"s1","channel":"session:s1","status":"running","title":"Fix the login","updatedAt":"2026-11-20T20:31:29.123Z"}"#;
}

tidings_core::events! {
    /// What the handler of terminals copies there.
    pub const SHELL_SUMMARIES;

    /// How a terminal of the project is: a copy of its start and its end, for the project's board.
    SHELL_SUMMARY = "shell.summary": durable Summary, from server, in "project",
        r#"{"id":"t1","channel":"shell:terminal:t1","status":"running","title":"bash","updatedAt":"2026-11-20T20:31:29.123Z"}"#;
}

tidings_core::events! {
    /// What the handler of workflows copies into a project's channel, for its board.
    pub const WORKFLOW_SUMMARIES;

    /// How a run of a workflow of the project is: a copy whenever its status changes, for the project's board.
    WORKFLOW_RUN_SUMMARY = "workflow.run.summary": durable Summary, from server, in "project",
        r#"{"id":"r1","channel":"workflow:run:r1","status":"waiting","title":"Release","updatedAt":"2026-11-20T20:31:29.123Z"}"#;
}

/// What a project's board is to show of a thing after an event. It travels beside the payload and is never
/// on the wire, so that only a service can write to a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Whose board.
    pub project_id: ProjectId,
    /// How the thing is now, in its domain's words.
    pub status: &'static str,
    /// What people call it.
    pub title: String,
    /// When that was.
    pub at: Timestamp,
}

/// `project.registered`: a directory became a project. The first event of its channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// The project.
    pub project_id: ProjectId,
    /// Its name, for people.
    pub name: String,
    /// Its directory: absolute, without symbolic links.
    pub root: String,
}

/// `project.member_set`: somebody became a member, or another kind of member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberSet {
    /// The project.
    pub project_id: ProjectId,
    /// Who.
    pub user_id: UserId,
    /// What they are now.
    pub membership: Membership,
}

/// `project.member_removed`: somebody is no member any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberRemoved {
    /// The project.
    pub project_id: ProjectId,
    /// Who.
    pub user_id: UserId,
}

/// `project.removed`: nothing can be started in it any more. Its history stays readable to administrators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// The project.
    pub project_id: ProjectId,
}

/// A thing of a project as its board shows it, such as a session. Made by the handler of the thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The thing's id.
    pub id: String,
    /// The channel with the whole of it.
    pub channel: Channel,
    /// How it is, in its domain's words.
    pub status: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it changed.
    pub updated_at: Timestamp,
}

/// The state of a project: the fold of its channel. Its JSON is the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectState {
    /// The project; none before it was registered.
    pub project_id: Option<ProjectId>,
    /// Its name.
    pub name: String,
    /// Its directory: absolute, without symbolic links.
    pub root: String,
    /// Whether it was removed: nothing may be started in it.
    pub removed: bool,
    /// Its members and what they are.
    pub members: BTreeMap<UserId, Membership>,
    /// The board: its sessions, the one that changed last first, at most [`BOARD_LIMIT`].
    pub sessions: Vec<Summary>,
    /// How its repository is, and what is done with it now.
    pub git: GitState,
    /// Its terminals on the board, in the same way.
    pub shells: Vec<Summary>,
    /// The board: its runs of workflows, in the same way.
    pub runs: Vec<Summary>,
}

impl ProjectState {
    /// Whether things may be started in it: it was registered and not removed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.project_id.is_some() && !self.removed
    }
}

/// Input of `project.register`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Register {
    /// Its name, for people: 1 to 100 characters.
    #[validate(length(min = 1, max = 100, message = "is 1 to 100 characters"), custom(function = "no_control"))]
    #[schemars(regex(pattern = NAME))]
    pub name: String,
    /// An existing directory, absolute; symbolic links are followed once, now.
    #[validate(length(min = 1, max = 4096, message = "is 1 to 4096 characters"))]
    #[schemars(regex(pattern = "^/"))]
    pub root: String,
}

/// Input of `project.list`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct List {
    /// At most so many: 1 to 500, 100 by default.
    #[validate(range(min = 1, max = 500, message = "is 1 to 500"))]
    pub limit: Option<u32>,
    /// The `cursor` of the page before; without it, the first page.
    pub cursor: Option<ProjectId>,
}

/// Input of `project.get` and `project.remove`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// The project.
    pub project_id: ProjectId,
}

/// Input of `project.set_member`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetMember {
    /// The project.
    pub project_id: ProjectId,
    /// Who; also a user whom only tokens minted elsewhere name.
    pub user_id: UserId,
    /// What they are from now on.
    pub membership: Membership,
}

/// Input of `project.remove_member`.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveMember {
    /// The project.
    pub project_id: ProjectId,
    /// Who.
    pub user_id: UserId,
}

/// A project as lists and the answer of `project.register` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProjectShown")]
pub struct Shown {
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub name: String,
    /// Its directory.
    pub root: String,
    /// What the caller is there; absent for whoever is no member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
}

/// Answer of `project.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Listed {
    /// The projects, newest first.
    pub projects: Vec<Shown>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<ProjectId>,
}

/// What [`no_control`] takes: something that is neither white space nor a control character, and none of these.
const NAME: &str = concat!(
    r"^[^\x00-\x1F\x7F-\x9F]*",
    r"[^\x00-\x20\x7F-\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]",
    r"[^\x00-\x1F\x7F-\x9F]*$"
);

fn no_control(text: &str) -> Result<(), ValidationError> {
    if text.chars().any(char::is_control) || text.trim().is_empty() {
        return Err(
            ValidationError::new("text").with_message("holds something to read and no control characters".into())
        );
    }
    Ok(())
}
