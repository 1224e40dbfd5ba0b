//! What needs what, and which names an expression may use.
//!
//! Guarantees: after [`bind`] every need leads to a step, there is no cycle, and every expression names
//! only what is there when it is computed, and does with it what its type allows, as far as that is known.
//! It is not the order of a run: that follows from what happens.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Bounds, Definition, Flaw, Flaws, Places, Step, Work, reading::Unbound};
use crate::workflow::{
    expression::{
        Expression, Name, Template,
        kind::{Kind, Kinds},
    },
    scalar::Scalar,
};

/// What is asked of the types in expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Types {
    /// They are checked.
    Held,
    /// Whoever evaluates an expression finds what is wrong.
    Left,
}

/// Gives every name its step.
pub(super) fn bind(unbound: Unbound, bounds: Bounds, types: Types, flaws: &mut Flaws) -> Option<Definition> {
    let Unbound { mut definition, needs, mut expanded } = unbound;
    let places: HashMap<String, usize> =
        definition.steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place)).collect();
    let (count, mut lines) = (definition.steps.len(), Vec::with_capacity(needs.len()));
    for (step, needs) in definition.steps.iter_mut().zip(needs) {
        let (mut bound, mut known) = (Vec::with_capacity(needs.len()), Places::none_of(count));
        for (name, line) in needs {
            match places.get(&name) {
                Some(&place) if !known.insert(place) => {
                    flaws.push(Flaw::at(line, format!("'{}' needs '{name}' twice", step.id)));
                }
                Some(&place) => {
                    expanded = expanded.saturating_add(name.len().saturating_mul(step.matrix.len()));
                    bound.push((place, line));
                }
                None => flaws.push(Flaw::at(line, format!("'{}' needs '{name:.64}', which is no step", step.id))),
            }
        }
        if bounds.expanded > 0 && expanded > bounds.expanded && flaws.is_empty() {
            let most = bounds.expanded;
            let why =
                format!("the names of what all steps need take more than {most} bytes: each of a matrix has its own");
            flaws.push(Flaw::at(step.line, why));
            return None;
        }
        step.needs = bound.iter().map(|(place, _)| *place).collect();
        lines.push(bound);
    }
    let order = order(&definition.steps);
    if order.len() < count {
        flaws.push(cycle(&definition.steps, &order, &lines));
        return None;
    }
    for &place in &order {
        let mut ancestors = Places::none_of(count);
        for &need in &definition.steps[place].needs {
            ancestors.insert(need);
            ancestors.insert_all(&definition.steps[need].ancestors);
        }
        definition.steps[place].ancestors = ancestors;
    }
    definition.order = order;
    check_names(&definition, &places, flaws);
    if types == Types::Held && flaws.is_empty() {
        check_types(&definition, flaws);
    }
    Some(definition)
}

/// The steps so that each comes after what it needs, without those that go round and those that need them.
fn order(steps: &[Step]) -> Vec<usize> {
    let mut left: Vec<usize> = steps.iter().map(|step| step.needs.len()).collect();
    let mut needed_by = vec![Vec::new(); steps.len()];
    for (place, step) in steps.iter().enumerate() {
        step.needs.iter().for_each(|&need| needed_by[need].push(place));
    }
    let mut order: Vec<usize> = (0..steps.len()).filter(|&place| left[place] == 0).collect();
    let mut next = 0;
    while let Some(&place) = order.get(next) {
        next += 1;
        for &after in &needed_by[place] {
            left[after] -= 1;
            if left[after] == 0 {
                order.push(after);
            }
        }
    }
    order
}

/// Names a cycle, with the line of the need that closes it. `order` is of those that are in none.
fn cycle(steps: &[Step], order: &[usize], lines: &[Vec<(usize, usize)>]) -> Flaw {
    // What is left when all that can come is taken away has a need that is left, too: following those
    // comes round.
    let mut settled = vec![false; steps.len()];
    order.iter().for_each(|&place| settled[place] = true);
    let mut path: Vec<usize> = Vec::new();
    let mut at = settled.iter().position(|settled| !settled).unwrap_or_default();
    while !path.contains(&at) {
        path.push(at);
        at = steps[at].needs.iter().copied().find(|&need| !settled[need]).unwrap_or(at);
    }
    let from = path.iter().position(|&place| place == at).unwrap_or_default();
    let last = path[path.len() - 1];
    let line = lines[last].iter().find(|(need, _)| *need == at).map_or(steps[last].line, |(_, line)| *line);
    let mut names: Vec<&str> = path[from..].iter().take(10).map(|&place| steps[place].id.as_str()).collect();
    names.push(&steps[at].id);
    Flaw::at(line, format!("the steps need each other in a circle: {}", names.join(" needs ")))
}

fn check_names(definition: &Definition, places: &HashMap<String, usize>, flaws: &mut Flaws) {
    let common = definition.env.iter().flat_map(|(_, value)| value.expressions());
    for name in common.flat_map(Expression::names) {
        // The variables of all steps may use what every step knows.
        match name {
            Name::Matrix(_) => flaws.push(Flaw::at(1, "'env' of the whole definition cannot use 'matrix'")),
            Name::Status(_) | Name::Output { .. } => {
                flaws.push(Flaw::at(1, "'env' of the whole definition cannot use 'steps'"));
            }
            _ => flaws.extend(wrong(name, definition, None, places).map(|why| Flaw::at(1, why))),
        }
    }
    for step in &definition.steps {
        let expressions = step.condition.iter().chain(texts(step).flat_map(Template::expressions));
        let names: BTreeSet<&Name> = expressions.flat_map(Expression::names).collect();
        for why in names.into_iter().filter_map(|name| wrong(name, definition, Some(step), places)) {
            flaws.push(Flaw::at(step.line, format!("the step '{}': {why}", step.id)));
        }
    }
}

/// The texts of a step.
fn texts(step: &Step) -> impl Iterator<Item = &Template> {
    let work = match &step.work {
        Work::Command(parts) => &parts[..],
        Work::Session { prompt: text, .. } | Work::Approval { message: text } => std::slice::from_ref(text),
    };
    step.env.iter().map(|(_, value)| value).chain(&step.stdin).chain(work)
}

/// What is wrong with a name, if anything is.
fn wrong(name: &Name, definition: &Definition, step: Option<&Step>, places: &HashMap<String, usize>) -> Option<String> {
    let is_known = match name {
        Name::Success | Name::Failure | Name::RunId => true,
        Name::Input(input) => definition.inputs.contains_key(input),
        Name::Matrix(key) => {
            step.is_some_and(|step| step.matrix.first().is_some_and(|values| values.contains_key(key)))
        }
        Name::Status(needed) | Name::Output { step: needed, .. } => match (places.get(needed), step) {
            (Some(&place), Some(step)) if !step.ancestors.contains(place) => {
                return Some(format!("an expression names 'steps.{needed}', which it does not need"));
            }
            (place, _) => place.is_some(),
        },
    };
    if is_known {
        return None;
    }
    let shown = match name {
        Name::Status(step) | Name::Output { step, .. } => format!("steps.{step}"),
        name => name.to_string(),
    };
    Some(format!("an expression names '{shown:.128}', which is not there"))
}

fn check_types(definition: &Definition, flaws: &mut Flaws) {
    let flaw = |line: usize, result: Result<(), String>| result.err().map(|why| Flaw::at(line, why));
    let none = BTreeMap::new();
    let common = |name: &Name| kinds(name, definition, &none);
    for expression in definition.env.iter().flat_map(|(_, value)| value.expressions()) {
        flaws.extend(flaw(1, expression.check_text(&common)));
    }
    for step in &definition.steps {
        if flaws.len() > super::FLAWS {
            return;
        }
        let matrix = matrix_kinds(step);
        let known = |name: &Name| kinds(name, definition, &matrix);
        let told = |result: Result<(), String>| result.map_err(|why| format!("the step '{}': {why}", step.id));
        if let Some(condition) = &step.condition {
            flaws.extend(flaw(step.line, told(condition.check_condition(&known))));
        }
        for expression in texts(step).flat_map(Template::expressions) {
            flaws.extend(flaw(step.line, told(expression.check_text(&known))));
        }
    }
}

/// The types that the values of a step's matrix are of.
fn matrix_kinds(step: &Step) -> BTreeMap<&str, Kinds> {
    let mut all = BTreeMap::new();
    for (key, value) in step.matrix.iter().flatten() {
        let kind = match value {
            Scalar::Text(_) => Kind::Text,
            Scalar::Number(_) => Kind::Number,
            Scalar::Boolean(_) => Kind::Boolean,
        };
        let kinds = all.entry(key.as_str()).or_insert(Kinds::NONE);
        *kinds = kinds.or(kind);
    }
    all
}

/// The types that a name may be of, with those of the step's matrix.
fn kinds(name: &Name, definition: &Definition, matrix: &BTreeMap<&str, Kinds>) -> Kinds {
    match name {
        Name::Success | Name::Failure => Kind::Boolean.into(),
        Name::RunId | Name::Status(_) | Name::Output { .. } => Kind::Text.into(),
        Name::Input(input) => definition.inputs.get(input).map_or(Kinds::SCALAR, |input| input.r#type.kinds()),
        Name::Matrix(key) => matrix.get(key.as_str()).copied().unwrap_or(Kinds::NONE),
    }
}
