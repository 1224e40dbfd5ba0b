//! What the commands of workflows take.
//!
//! Guarantees: what parses and validates is bounded; an id is one segment of a name.
//! It is not the judgement of who may, nor of what a definition says.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Value, json, value::RawValue};
use tidings_core::json::from_str;
use validator::{Validate, ValidationError};

use super::{
    contract::{Decision, RunId, RunStatus},
    scalar::Scalar,
};
use crate::{project::ProjectId, together::one_of};

/// The most bytes of the inputs of a run, as JSON.
pub const INPUTS_BYTES: usize = 64 * 1024;

/// A definition as it is posted: a text in YAML or JSON, or the JSON itself.
#[derive(Debug, Clone)]
pub struct Posted(pub String);

impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let posted = Box::<RawValue>::deserialize(deserializer)?;
        match posted.get().as_bytes().first() {
            Some(b'"') => from_str(posted.get()).map(Self).map_err(D::Error::custom),
            Some(b'{') => Ok(Self(posted.get().to_owned())),
            _ => Err(D::Error::custom("expected a text or an object")),
        }
    }
}

impl JsonSchema for Posted {
    fn schema_name() -> Cow<'static, str> {
        "WorkflowDefinition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "object"], "description": "A definition: its text in YAML or JSON, or the JSON itself."})
    }
}

/// Input of `workflow.run.start`: a `definition` or a `file`, not both.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = definition_or_file()))]
pub struct StartRun {
    /// Where it runs.
    pub project_id: ProjectId,
    /// The definition.
    #[serde(default)]
    pub definition: Option<Posted>,
    /// A file of the project that holds it: a path from the project's root.
    #[serde(default)]
    #[validate(length(min = 1, max = 4096, message = "is 1 to 4096 characters"))]
    pub file: Option<String>,
    /// What the definition wants to be given, each of its type: texts, numbers and flags. Numbers keep their spelling.
    #[serde(default)]
    #[validate(custom(function = "some_inputs"))]
    pub inputs: BTreeMap<String, Scalar>,
    /// What people call it; by default the definition's name, or its file's.
    #[serde(default)]
    #[validate(length(min = 1, max = 200, message = "is 1 to 200 characters"))]
    pub title: Option<String>,
}

/// Of both, exactly one is there.
fn definition_or_file() -> Value {
    let mut either = one_of(("definition", "string"), ("file", "string"));
    either[0]["properties"]["definition"]["type"] = json!(["string", "object"]);
    either
}

/// Input of `workflow.validate`: a `definition` or a `file`, not both.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = definition_or_file()))]
pub struct ValidateWorkflow {
    /// Where it would run.
    pub project_id: ProjectId,
    /// The definition.
    #[serde(default)]
    pub definition: Option<Posted>,
    /// A file of the project that holds it.
    #[serde(default)]
    #[validate(length(min = 1, max = 4096, message = "is 1 to 4096 characters"))]
    pub file: Option<String>,
}

/// Input of `workflow.run.list`.
#[derive(Debug, Clone, Default, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListRuns {
    /// Only those of this project.
    #[serde(default)]
    pub project_id: Option<ProjectId>,
    /// Only those that are so.
    #[serde(default)]
    pub status: Option<RunStatus>,
    /// At most so many: 1 to 200, 50 by default.
    #[serde(default)]
    #[validate(range(min = 1, max = 200, message = "is 1 to 200"))]
    pub limit: Option<u32>,
    /// The `cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<RunId>,
}

/// Input of `workflow.run.get` and `.cancel`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneRun {
    /// The run.
    pub run_id: RunId,
}

/// Input of `workflow.run.rerun`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rerun {
    /// The run that ended.
    pub run_id: RunId,
    /// The step from which it is run again, with everything that follows from it; what else completed is
    /// kept. Without it, all steps are run again.
    #[serde(default)]
    #[validate(length(min = 1, max = 128, message = "is 1 to 128 characters"))]
    pub from: Option<String>,
}

/// Input of `workflow.run.approve`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    /// The run.
    pub run_id: RunId,
    /// The step that waits.
    #[validate(length(min = 1, max = 128, message = "is 1 to 128 characters"))]
    pub step_id: String,
    /// The answer. The first one counts.
    pub decision: Decision,
}

/// Input of `workflow.run.output`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadStepOutput {
    /// The run.
    pub run_id: RunId,
    /// The step.
    #[validate(length(min = 1, max = 128, message = "is 1 to 128 characters"))]
    pub step_id: String,
    /// Which attempt, from 1; the last one by default.
    #[serde(default)]
    pub attempt: Option<u32>,
}

fn some_inputs(inputs: &BTreeMap<String, Scalar>) -> Result<(), ValidationError> {
    // As JSON: with its quotes and escapes.
    let json = |value: &Scalar| serde_json::to_string(value).map_or(0, |json| json.len());
    let bytes: usize = inputs.iter().map(|(name, value)| name.len() + json(value)).sum();
    if bytes > INPUTS_BYTES {
        return Err(ValidationError::new("inputs").with_message("are at most 64 KiB".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_a_text_or_the_json_itself() {
        let posted =
            |json: &str| serde_json::from_str::<StartRun>(json).map(|input| input.definition.expect("given").0);
        assert_eq!(posted(r#"{"projectId":"p","definition":"a: \"1\"\n"}"#).expect("parses"), "a: \"1\"\n");
        assert_eq!(posted("{\"projectId\":\"p\",\"definition\":{\"a\":\n1}}").expect("parses"), "{\"a\":\n1}");
        assert!(posted(r#"{"projectId":"p","definition":[1]}"#).is_err());
    }

    #[test]
    fn inputs_out_of_bounds_are_refused_with_the_reason() {
        let read = |inputs: &str| {
            let json = format!(r#"{{"projectId":"p","definition":"x","inputs":{inputs}}}"#);
            tidings_core::refusal::read::<StartRun>(&json)
        };
        let kept = read(r#"{"a":3.10,"b":1e3,"c":true}"#).expect("read").inputs;
        assert_eq!(kept.values().map(Scalar::as_str).collect::<Vec<_>>(), ["3.10", "1e3", "true"]);
        let refusal = |inputs: &str| {
            let refused = read(inputs).and_then(|input| tidings_core::command::check(&input)).expect_err("refused");
            refused.to_string()
        };
        for odd in ["[1]", "null", "{}"] {
            assert!(refusal(&format!(r#"{{"a":{odd}}}"#)).contains("inputs.a"), "{odd}");
        }
        assert!(refusal(&format!(r#"{{"a":"{}"}}"#, "x".repeat(INPUTS_BYTES))).contains("64 KiB"));
    }
}
