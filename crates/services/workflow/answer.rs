//! What the commands of workflows answer.
//!
//! Guarantees: the document of a command and its answer are one type.
//! It names no channel: the handler puts it in. State and output are answered as they are.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Channel;

use super::{
    Brief,
    contract::{RunId, Shape},
    definition::{Definition, Flaw, Input, InputType},
    plan::Plan,
    scalar::Scalar,
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
    /// What a run of it has to be, or may be, given.
    pub inputs: BTreeMap<String, WantedInput>,
}

/// An input of a definition.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "WorkflowInput")]
pub struct WantedInput {
    /// What it is held to: `string`, `number`, `boolean` or `choice`; absent where that is any of the first three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'static str>,
    /// What it is when nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// The texts of a choice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl From<Input> for WantedInput {
    fn from(input: Input) -> Self {
        let Input { r#type, default, description } = input;
        let name = r#type.name();
        let options = if let InputType::Choice(options) = r#type { options } else { Vec::new() };
        Self { r#type: name, default, options, description }
    }
}

impl Validated {
    /// What is said of a definition that was read.
    pub(super) fn of(read: Result<Definition, Vec<Flaw>>) -> Self {
        match read {
            Ok(mut definition) => {
                let inputs = std::mem::take(&mut definition.inputs).into_iter();
                let inputs = inputs.map(|(name, input)| (name, input.into())).collect();
                Self { valid: true, flaws: Vec::new(), steps: Plan::new(definition, 0).shapes(), inputs }
            }
            Err(flaws) => Self { valid: false, flaws, steps: Vec::new(), inputs: BTreeMap::new() },
        }
    }
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
