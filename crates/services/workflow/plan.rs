//! A plan: a definition as the steps of one run, and what its expressions see.
//!
//! Guarantees: the steps of a plan stand in the places of [`RunState::steps`]; the same definition gives
//! the same plan in every life of the server. An expression sees what it names, where it lies: nothing is copied for
//! it. A condition is evaluated once, when all that it can name has ended.
//! It is not the decision what runs next: that is the scheduler's.

use std::{collections::HashMap, ops::Range, sync::OnceLock};

use super::{
    contract::Shape,
    definition::{Definition, Instance, Step, Work},
    expression::{Budget, Name, Scope, Template, Value},
    state::{RunState, StepStatus},
};
use crate::{programs::line, session::input::PROMPT_BYTES};

/// The most bytes of an argument or a variable with its name: what Linux takes, with the NUL after it.
const ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// What is said of an argument that is longer, and of a variable.
const TOO_LONG_PART: &str =
    "a part of the command is 128 KiB or longer with its values: what is so long is given to it by 'stdin'";
const TOO_LONG_VARIABLE: &str =
    "a variable is 128 KiB or longer with its value: what is so long is given to the command by 'stdin'";
/// The most bytes of what a person is asked.
const MESSAGE_BYTES: usize = 64 * 1024;

/// A definition and its steps in a run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) definition: Definition,
    /// How many steps run at once.
    pub(super) concurrency: usize,
    instances: Vec<Instance>,
    /// The places of the instances of each step of the definition.
    places: Vec<Range<usize>>,
    /// The steps of the definition, by name.
    names: HashMap<String, usize>,
    /// Whether the condition of each place is true, once that was evaluated: what it can name changes no more.
    conditions: Vec<OnceLock<bool>>,
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
        let names = definition.steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place)).collect();
        let most = if most == 0 { usize::MAX } else { most };
        let concurrency = definition.concurrency.unwrap_or(usize::MAX).min(most);
        let conditions = vec![OnceLock::new(); instances.len()];
        Self { definition, concurrency, instances, places, names, conditions }
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

    /// Whether a step has a condition that was not evaluated yet.
    pub(super) fn is_undecided(&self, place: usize) -> bool {
        self.step(place).condition.is_some() && self.conditions[place].get().is_none()
    }

    /// Whether a step runs, by its condition; none without one. To be asked once all that it needs has ended. `status`
    /// says how the step in a place is. The budget is for this condition alone.
    ///
    /// # Errors
    /// Why the condition has no value.
    pub(super) fn condition(
        &self,
        state: &RunState,
        place: usize,
        status: &dyn Fn(usize) -> StepStatus,
        budget: &mut Budget,
    ) -> Option<Result<bool, String>> {
        let condition = self.step(place).condition.as_ref()?;
        if let Some(known) = self.conditions[place].get() {
            return Some(Ok(*known));
        }
        let seen = Seen { plan: self, state, place, status };
        let is_true = condition.is_true(&seen, budget);
        Some(is_true.map(|is_true| *self.conditions[place].get_or_init(|| is_true)))
    }

    /// A step with the values of its expressions.
    ///
    /// # Errors
    /// Why one of them has none.
    pub(super) fn prepare(&self, state: &RunState, place: usize) -> Result<Prepared, String> {
        let seen = Seen { plan: self, state, place, status: &|place| state.steps[place].status };
        let budget = &mut Budget::default();
        let step = self.step(place);
        Ok(match &step.work {
            Work::Command(parts) => Prepared::Command {
                stdin: step
                    .stdin
                    .as_ref()
                    .map(|text| text.render(&seen, budget))
                    .transpose()?
                    .map(|rendered| rendered.text),
                argv: argv(parts, &seen, budget)?,
                env: variables(self.definition.env.iter().chain(&step.env), &seen, budget)?,
            },
            Work::Session { agent, prompt } => {
                let prompt = prompt.render(&seen, budget)?.text;
                let prompt = within(prompt, PROMPT_BYTES, "the prompt is longer than 64 KiB with its values")?;
                Prepared::Session { agent: agent.clone(), prompt }
            }
            Work::Approval { message } => {
                let message = message.render(&seen, budget)?.text;
                let message = within(message, MESSAGE_BYTES, "the message is longer than 64 KiB with its values")?;
                Prepared::Approval { message }
            }
        })
    }
}

/// What the expressions of a step see: each name where it lies.
struct Seen<'a> {
    plan: &'a Plan,
    state: &'a RunState,
    place: usize,
    status: &'a dyn Fn(usize) -> StepStatus,
}

impl Seen<'_> {
    /// The places of a step that this one needs, near or far.
    fn needed(&self, name: &str) -> Option<Range<usize>> {
        let step = *self.plan.names.get(name)?;
        self.plan.step(self.place).ancestors.contains(step).then(|| self.plan.places(step))
    }
}

impl Scope for Seen<'_> {
    fn value(&self, name: &Name) -> Option<Value<'_>> {
        let instance = self.plan.instances[self.place];
        Some(match name {
            Name::Success => {
                let succeeded = |place| self.plan.has_succeeded(place, (self.status)(place));
                Value::Boolean(self.plan.needs(self.place).all(succeeded))
            }
            Name::Failure => {
                let failed = |place| self.plan.has_failed(place, (self.status)(place));
                Value::Boolean(self.plan.needs(self.place).any(failed))
            }
            Name::RunId => Value::Text(self.state.run_id.as_ref()?.as_str().into()),
            Name::Input(name) => self.state.inputs.get(name)?.into(),
            Name::Matrix(key) => self.plan.step(self.place).matrix[instance.values].get(key)?.into(),
            Name::Status(step) => {
                let status = all_together(self.needed(step)?.map(self.status));
                Value::Text(status.as_str().into())
            }
            Name::Output { step, output } => {
                // Of a matrix, the last one of that name.
                let mut places = self.needed(step)?.rev();
                let value = places.find_map(|place| self.state.steps[place].outputs.get(output))?;
                Value::Text(value.as_str().into())
            }
        })
    }

    fn looks(&self, name: &Name) -> usize {
        match name {
            Name::Success | Name::Failure => self.plan.needs(self.place).count(),
            Name::Status(step) | Name::Output { step, .. } => self.needed(step).map_or(0, |places| places.len()),
            Name::RunId | Name::Input(_) | Name::Matrix(_) => 0,
        }
    }
}

/// A text that is no longer than it may be.
fn within(text: String, most: usize, why: &str) -> Result<String, String> {
    if text.len() > most { Err(why.to_owned()) } else { Ok(text) }
}

/// A command line with the values of its expressions. No value that the definition's author did not write becomes an
/// option: after a `--` there are none.
fn argv(parts: &[Template], seen: &Seen<'_>, budget: &mut Budget) -> Result<Vec<String>, String> {
    let mut argv: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        let rendered = part.render(seen, budget)?;
        let place = argv.len();
        if argv.is_empty() && !line::is_program(&rendered.text) {
            return Err("the command names no program: it is empty, or begins with '-'".to_owned());
        }
        let no_more_options = argv.iter().any(|word| word == "--");
        if !no_more_options && rendered.is_option_of_others {
            return Err(format!(
                "with the values of its expressions, part {place} of the command begins with '-' and would be an option: \
                 write '--' before it, or begin it with a text, as in --name=${{{{ … }}}}"
            ));
        }
        argv.push(within(rendered.text, ARGUMENT_BYTES, TOO_LONG_PART)?);
    }
    Ok(argv)
}

/// Variables with the values of their expressions.
fn variables<'a>(
    variables: impl Iterator<Item = &'a (String, Template)>,
    seen: &Seen<'_>,
    budget: &mut Budget,
) -> Result<Vec<(String, String)>, String> {
    let mut rendered = Vec::new();
    for (name, value) in variables {
        let value = value.render(seen, budget)?.text;
        // The system sees it as NAME=VALUE.
        let most = ARGUMENT_BYTES - name.len() - 1;
        let value = within(value, most, TOO_LONG_VARIABLE)?;
        rendered.push((name.clone(), value));
    }
    Ok(rendered)
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
