//! Definitions of workflows: a text becomes a graph of steps, or a list of what is wrong with it.
//!
//! - [`yaml`](self): lines and bounds; `flaws`: what is wrong; `reading`: what each key means; `inputs`: what is given;
//!   `graph`: what needs what, and which names and types expressions have, with `places`: sets of steps. Expressions are
//!   [`super::expression`]'s.
//!
//! Guarantees: what [`read`] gives can be run: it has no cycle, no unknown name, no expression that is
//! none or cannot have a value for its types, and no more steps than it may. Reading evaluates nothing and has no
//! effect. Equal texts give equal definitions.
//! It is not a run: nothing here knows what happened.

mod flaws;
mod graph;
mod inputs;
mod places;
mod reading;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;

use tidings_core::Error;

use self::flaws::Flaws;
pub use self::{
    flaws::Flaw,
    inputs::{Input, InputType},
    places::Places,
};
use super::{
    expression::{Expression, Template},
    scalar::Scalar,
};

/// The most flaws that are told of one definition.
pub const FLAWS: usize = 20;
/// The most bytes of what the steps of a run have: see [`Bounds::expanded`]. A run is told of them at once.
pub const EXPANDED_BYTES: usize = 4 << 20;

/// What a definition may be. Zero means without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most bytes of its text.
    pub bytes: usize,
    /// The most steps, with each of a matrix.
    pub steps: usize,
    /// The most bytes of what all steps have, each of a matrix for itself: the names of what it needs, and its values.
    pub expanded: usize,
}

/// A workflow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Definition {
    /// What people call it.
    pub name: Option<String>,
    /// What has to be, or may be, given to a run.
    pub inputs: BTreeMap<String, Input>,
    /// Variables of every command.
    pub env: Vec<(String, Template)>,
    /// How many steps run at once; none if it does not say.
    pub concurrency: Option<usize>,
    /// The steps, in the order of the text.
    pub steps: Vec<Step>,
    /// Places of the steps, each after what it needs.
    pub order: Vec<usize>,
}

/// A step of a definition: one of a run, or with a matrix several.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub line: usize,
    /// The steps that end before it begins: places in [`Definition::steps`].
    pub needs: Vec<usize>,
    /// All steps that it builds on, near and far.
    pub ancestors: Places,
    /// What it does.
    pub work: Work,
    /// Further variables of its command.
    pub env: Vec<(String, Template)>,
    /// What its command reads from its standard input; none is nothing.
    pub stdin: Option<Template>,
    /// How long one attempt may take, in milliseconds; none is without limit.
    pub timeout_ms: Option<u64>,
    /// What follows a failure.
    pub retries: Retries,
    /// Whether it runs at all. Without one: if everything that it needs succeeded.
    pub condition: Option<Expression>,
    /// Whether its failure counts as a success for what needs it and for the run.
    pub continue_on_error: bool,
    /// The values of each of its instances; one empty set without a matrix.
    pub matrix: Vec<BTreeMap<String, Scalar>>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Runs a program: itself and its arguments.
    Command(Vec<Template>),
    /// Asks an agent.
    Session {
        /// A configured agent.
        agent: String,
        /// What it is asked.
        prompt: Template,
    },
    /// Waits for a person.
    Approval {
        /// What the person is asked.
        message: Template,
    },
}

impl Work {
    /// The kind, as the wire has it.
    #[must_use]
    pub fn kind(&self) -> StepKind {
        match self {
            Self::Command(_) => StepKind::Command,
            Self::Session { .. } => StepKind::Session,
            Self::Approval { .. } => StepKind::Approval,
        }
    }
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// It runs a program.
    #[default]
    Command,
    /// It asks an agent.
    Session,
    /// It waits for a person.
    Approval,
}

/// How often a step is tried again, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// How many attempts may follow the first.
    pub max: u32,
    /// Before the second attempt, in milliseconds.
    pub backoff_ms: u64,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// The longest wait, in milliseconds.
    pub max_backoff_ms: u64,
    /// Whether an attempt that the server's stop ended counts as a failure to be tried again. It may
    /// have done its work in part.
    pub on_server_stop: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self { max: 0, backoff_ms: 1_000, factor: 2.0, max_backoff_ms: 60_000, on_server_stop: false }
    }
}

impl Retries {
    /// How long to wait after this many attempts, in milliseconds.
    #[must_use]
    pub fn wait_ms(&self, attempts: u32) -> u64 {
        let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.backoff_ms as f64 * self.factor.powi(exponent);
        // A wait beyond every bound, or none that is a number, is the longest.
        if wait < self.max_backoff_ms as f64 { wait as u64 } else { self.max_backoff_ms }
    }
}

/// One step of a run: a step of the definition, or one of its matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// Its step: a place in [`Definition::steps`].
    pub step: usize,
    /// Its values: a place in [`Step::matrix`].
    pub values: usize,
}

impl Definition {
    /// The steps of a run, in the order of the definition.
    pub fn instances(&self) -> impl Iterator<Item = Instance> {
        self.steps
            .iter()
            .enumerate()
            .flat_map(|(step, of)| (0..of.matrix.len()).map(move |values| Instance { step, values }))
    }

    /// The id of a step of a run: of the second one of a matrix, `test.2`.
    #[must_use]
    pub fn instance_id(&self, instance: Instance) -> String {
        let step = &self.steps[instance.step];
        // A matrix of one is a matrix all the same.
        if step.matrix[instance.values].is_empty() {
            step.id.clone()
        } else {
            format!("{}.{}", step.id, instance.values + 1)
        }
    }

    /// The inputs of a run: what is given, and the defaults of what is not.
    ///
    /// # Errors
    /// `invalid_data` with an input that is unknown, missing or of another type, and which of it.
    pub fn inputs(&self, mut given: BTreeMap<String, Scalar>) -> Result<BTreeMap<String, Scalar>, Error> {
        let refused = |name: &str, why: &str| Err(Error::invalid_field(format!("inputs.{name:.128}"), why));
        if let Some(unknown) = given.keys().find(|name| !self.inputs.contains_key(*name)) {
            return refused(unknown, "is not an input of this workflow");
        }
        for (name, input) in &self.inputs {
            match (given.get(name), &input.default) {
                (Some(value), _) => {
                    if let Err(why) = input.r#type.check(value) {
                        return refused(name, &why);
                    }
                }
                (None, Some(default)) => drop(given.insert(name.clone(), default.clone())),
                (None, None) => return refused(name, "has to be given"),
            }
        }
        Ok(given)
    }
}

/// Reads a definition: YAML, or the JSON that is YAML.
///
/// # Errors
/// What is wrong with it, in the order of the text; at most [`FLAWS`].
pub fn read(text: &str, bounds: Bounds) -> Result<Definition, Vec<Flaw>> {
    if bounds.bytes > 0 && text.len() > bounds.bytes {
        return Err(vec![Flaw::at(
            1,
            format!("is {} bytes long, and at most {} are allowed", text.len(), bounds.bytes),
        )]);
    }
    bound(text, bounds, graph::Types::Held)
}

/// Reads the definition of a run that began already, perhaps by another version: whatever was let in once. Types are
/// left to each expression when it is evaluated, so that one that was never right fails its own step, if it is come to.
///
/// # Errors
/// What cannot be read, as [`read`].
pub fn read_again(text: &str) -> Result<Definition, Vec<Flaw>> {
    bound(text, Bounds { bytes: 0, steps: 0, expanded: 0 }, graph::Types::Left)
}

fn bound(text: &str, bounds: Bounds, types: graph::Types) -> Result<Definition, Vec<Flaw>> {
    let root = yaml::parse(text).map_err(|flaw| vec![flaw])?;
    let mut flaws = Flaws::default();
    let definition = reading::definition(&root, bounds, &mut flaws);
    let definition = definition.and_then(|unbound| graph::bind(unbound, bounds, types, &mut flaws));
    match definition {
        Some(definition) if flaws.is_empty() => Ok(definition),
        _ => Err(flaws.first(FLAWS)),
    }
}
