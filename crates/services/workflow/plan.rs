//! A plan: a definition as the steps of one run, and what its expressions see.
//!
//! Guarantees: the steps of a plan stand in the places of [`RunState::steps`]; the same definition gives
//! the same plan in every life of the server.
//! It is not the decision what runs next: that is the scheduler's.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Map, Value, json};

use super::{
    contract::Shape,
    definition::{Definition, Instance, Step, Work, expression::Template},
    state::{RunState, StepStatus},
};
use crate::programs::line;

/// A definition and its steps in a run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) definition: Definition,
    /// How many steps run at once.
    pub(super) concurrency: usize,
    instances: Vec<Instance>,
    /// The places of the instances of each step of the definition.
    places: Vec<Range<usize>>,
}

/// A step with all its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prepared {
    Command { argv: Vec<String>, env: Vec<(String, String)>, stdin: Option<String> },
    Session { agent: String, prompt: String },
    Approval { message: String },
}

impl Plan {
    /// A plan; `most` is how many of its steps may run at once.
    pub(super) fn new(definition: Definition, most: usize) -> Self {
        let instances: Vec<Instance> = definition.instances().collect();
        let mut places = Vec::with_capacity(definition.steps.len());
        let mut next = 0;
        for step in &definition.steps {
            places.push(next..next + step.matrix.len());
            next += step.matrix.len();
        }
        let most = if most == 0 { usize::MAX } else { most };
        let concurrency = definition.concurrency.unwrap_or(usize::MAX).min(most);
        Self { definition, concurrency, instances, places }
    }

    /// The step of the definition that stands in a place.
    pub(super) fn step(&self, place: usize) -> &Step {
        &self.definition.steps[self.instances[place].step]
    }

    /// The places of a step of the definition.
    pub(super) fn places(&self, step: usize) -> Range<usize> {
        self.places[step].clone()
    }

    /// The places of what a place needs.
    pub(super) fn needs(&self, place: usize) -> impl Iterator<Item = usize> {
        self.step(place).needs.iter().flat_map(|&need| self.places(need))
    }

    /// Whether what needs a step that is so may go on as if it had done everything.
    pub(super) fn has_succeeded(&self, place: usize, status: StepStatus) -> bool {
        status == StepStatus::Completed || (status == StepStatus::Failed && self.step(place).continue_on_error)
    }

    /// Whether a step that is so makes its run fail.
    pub(super) fn has_failed(&self, place: usize, status: StepStatus) -> bool {
        status == StepStatus::Failed && !self.step(place).continue_on_error
    }

    /// Whether a state is of this plan.
    pub(super) fn fits(&self, state: &RunState) -> bool {
        let ids = self.instances.iter().map(|&instance| self.definition.instance_id(instance));
        state.steps.len() == self.instances.len() && ids.zip(&state.steps).all(|(id, step)| id == step.step_id)
    }

    /// The graph as it is told.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let shape = |&instance: &Instance| {
            let step = &self.definition.steps[instance.step];
            Shape {
                step_id: self.definition.instance_id(instance),
                name: step.id.clone(),
                kind: step.work.kind(),
                needs: step.needs.iter().map(|&need| self.definition.steps[need].id.clone()).collect(),
                matrix: step.matrix[instance.values].clone(),
                reused: None,
            }
        };
        self.instances.iter().map(shape).collect()
    }

    /// What the expressions of a step see. `status` says how the step in a place is.
    pub(super) fn context(&self, state: &RunState, place: usize, status: &dyn Fn(usize) -> StepStatus) -> Value {
        let instance = self.instances[place];
        let step = &self.definition.steps[instance.step];
        let succeeded = |place: usize| self.has_succeeded(place, status(place));
        let failed = |place: usize| self.has_failed(place, status(place));
        let mut steps = Map::new();
        for &ancestor in &step.ancestors {
            let places = self.places(ancestor);
            let mut outputs: BTreeMap<&str, &str> = BTreeMap::new();
            for place in places.clone() {
                outputs.extend(state.steps[place].outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            }
            let status = all_together(places.map(status));
            let told = json!({"status": status.as_str(), "outputs": outputs});
            steps.insert(self.definition.steps[ancestor].id.clone(), told);
        }
        json!({
            "success": self.needs(place).all(succeeded),
            "failure": self.needs(place).any(failed),
            "inputs": state.inputs,
            "matrix": step.matrix[instance.values],
            "run": {"id": state.run_id},
            "steps": steps,
        })
    }

    /// A step with the values of its expressions.
    ///
    /// # Errors
    /// Why one of them has none.
    pub(super) fn prepare(&self, state: &RunState, place: usize) -> Result<Prepared, String> {
        let context = self.context(state, place, &|place| state.steps[place].status);
        let step = self.step(place);
        Ok(match &step.work {
            Work::Command(parts) => Prepared::Command {
                stdin: step.stdin.as_ref().map(|text| text.render(&context)).transpose()?,
                argv: argv(parts, &context)?,
                env: self
                    .definition
                    .env
                    .iter()
                    .chain(&step.env)
                    .map(|(name, value)| Ok((name.clone(), value.render(&context)?)))
                    .collect::<Result<_, String>>()?,
            },
            Work::Session { agent, prompt } => {
                Prepared::Session { agent: agent.clone(), prompt: prompt.render(&context)? }
            }
            Work::Approval { message } => Prepared::Approval { message: message.render(&context)? },
        })
    }
}

/// A command line with the values of its expressions. No value that the definition's author did not write becomes an
/// option: after a `--` there are none.
fn argv(parts: &[Template], context: &Value) -> Result<Vec<String>, String> {
    let mut argv: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        let word = part.render(context)?;
        if argv.is_empty() && !line::is_program(&word) {
            return Err("the command names no program: it is empty, or begins with '-'".to_owned());
        }
        let no_more_options = argv.iter().any(|word| word == "--");
        if !no_more_options && part.lets_others_begin_an_option(&word, context) {
            let place = argv.len();
            return Err(format!(
                "with the values of its expressions, part {place} of the command begins with '-' and would be an option: \
                 write '--' before it, or begin it with a text, as in --name=${{{{ … }}}}"
            ));
        }
        argv.push(word);
    }
    Ok(argv)
}

/// How the instances of a matrix are together.
fn all_together(each: impl Iterator<Item = StepStatus>) -> StepStatus {
    let rank = |status: StepStatus| match status {
        StepStatus::Failed => 3,
        StepStatus::Cancelled => 2,
        StepStatus::Completed => 1,
        _ => 0,
    };
    each.max_by_key(|&status| rank(status)).unwrap_or_default()
}
