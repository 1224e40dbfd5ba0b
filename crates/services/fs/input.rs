//! What the commands of files take.
//!
//! Guarantees: a path that validates stays in the project by its name; that it does so in truth is checked when
//! it is opened.
//! It is not the judgement of who may: that is each row's.

use schemars::JsonSchema;
use serde::Deserialize;
use validator::Validate;

use crate::{
    git::{LONGEST, PATH, a_path},
    project::ProjectId,
};

/// Input of `fs.read`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadFile {
    /// The project.
    pub project_id: ProjectId,
    /// The file.
    #[validate(custom(function = "a_path"))]
    #[schemars(length(min = 1, max = LONGEST), regex(pattern = PATH))]
    pub path: String,
    /// From this byte on; 0 by default.
    #[serde(default)]
    pub offset: u64,
    /// At most so many bytes; as configured by default, and never more than that.
    pub length: Option<u32>,
}

/// Input of `fs.list`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListFolder {
    /// The project.
    pub project_id: ProjectId,
    /// The folder; the project's root by default.
    #[validate(custom(function = "a_path"))]
    #[schemars(length(min = 1, max = LONGEST), regex(pattern = PATH))]
    pub path: Option<String>,
    /// Only entries whose names come after this one: the `cursor` of the page before.
    #[validate(length(max = 255, message = "is at most 255 bytes"))]
    pub after: Option<String>,
}

/// Input of `fs.watch`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watch {
    /// The project.
    pub project_id: ProjectId,
}
