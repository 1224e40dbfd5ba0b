//! What the commands of workflows answer.
//!
//! Guarantees: the document of a command and its answer are one type.
//! It names no channel: the handler puts it in. State and output are answered as they are.

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Channel;

use super::{
    Brief,
    contract::{RunId, Shape},
    definition::Flaw,
};

/// Answer of `workflow.run.start` and `workflow.run.rerun`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BegunRun")]
pub struct Begun {
    /// The run.
    pub id: RunId,
    /// The same, by the name that events have for it.
    pub run_id: RunId,
    /// Where it is told.
    pub channel: Channel,
}

/// Answer of `workflow.validate`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Validated {
    /// Whether a run of it could start.
    pub valid: bool,
    /// What is wrong with it, in the order of the text; at most 20.
    pub flaws: Vec<Flaw>,
    /// The graph of a run of it.
    pub steps: Vec<Shape>,
}

/// Answer of a command that names a run and has nothing more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfRun {
    /// The run.
    pub run_id: RunId,
}

/// A run of a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ListedRun {
    /// The run.
    #[serde(flatten)]
    pub brief: Brief,
    /// Where it is told.
    pub channel: Channel,
}

/// Answer of `workflow.run.list`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ListedRuns {
    /// The runs, newest first; there may be fewer than asked for and a cursor all the same.
    pub runs: Vec<ListedRun>,
    /// For the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<RunId>,
}
