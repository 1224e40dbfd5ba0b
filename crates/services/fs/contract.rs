//! The contract of files: event types and payloads, and the ports of watching.
//!
//! Guarantees: the JSON of these types is the wire's; an event has a bounded number of changes.
//! It is not the service, and it names no channel.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::project::ProjectId;

/// The most changes of one event.
pub const CHANGES: usize = 500;

tidings_core::events! {
    /// What the service tells of files, in the channels of their projects.
    pub const EVENTS;

    /// Files of a watched project changed.
    CHANGED = "fs.changed": durable Changed, in "project",
        r#"{"projectId":"p1","changes":[{"path":"src/main.rs","kind":"modified"},{"path":"b.txt","kind":"renamed","from":"a.txt"}]}"#;
    /// Not every change was told: look anew.
    RESCAN = "fs.rescan": durable Rescan, in "project", r#"{"projectId":"p1","reason":"overflow"}"#;
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is there now, perhaps in the place of another with everything that was in it.
    Created,
    /// Its content, its mode or its owner is another.
    Modified,
    /// It is gone, with everything in it.
    Removed,
    /// It had another name in the project, and is there now, perhaps in the place of another. Of a file the content may
    /// be another, too.
    Renamed,
}

/// A path that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// The path from the project's root.
    pub path: String,
    /// What became of it.
    pub kind: ChangeKind,
    /// What it was called when that was told last, where it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// `fs.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// The project.
    pub project_id: ProjectId,
    /// What changed, each path once, at most [`CHANGES`].
    #[validate(length(max = 500, message = "are at most 500"))]
    pub changes: Vec<FileChange>,
}

/// Why not every change was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RescanReason")]
pub enum Reason {
    /// More happened than the system could note.
    Overflow,
    /// More happened than is told one by one.
    TooMany,
    /// There are more directories than are watched.
    Limit,
    /// The project's directory is gone; the watch has ended.
    Gone,
    /// The log did not take what was to be told.
    Untold,
}

/// `fs.rescan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rescan {
    /// The project.
    pub project_id: ProjectId,
    /// Why.
    pub reason: Reason,
}

/// Somebody who wants to know at once that something in a watched project changed, or in its repository.
pub trait Witness: Send + Sync {
    /// Hears of it. Must return at once.
    fn saw(&self, project_id: &ProjectId, root: &Path);
}
