//! What needs what, and which names an expression may use.
//!
//! Guarantees: after [`bind`] every need leads to a step, there is no cycle, and every expression names
//! only what is there when it is computed.
//! It is not the order of a run: that follows from what happens.

use std::collections::{BTreeSet, HashMap};

use super::{Definition, Flaw, Step, Work, expression::Name, reading::Unbound};

/// Gives every name its step.
pub(super) fn bind(unbound: Unbound, flaws: &mut Vec<Flaw>) -> Option<Definition> {
    let Unbound { mut definition, needs } = unbound;
    let places: HashMap<String, usize> =
        definition.steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place)).collect();
    let mut lines = Vec::with_capacity(needs.len());
    for (step, needs) in definition.steps.iter_mut().zip(needs) {
        let mut bound: Vec<(usize, usize)> = Vec::with_capacity(needs.len());
        for (name, line) in needs {
            match places.get(&name) {
                Some(&place) if bound.iter().any(|(known, _)| *known == place) => {
                    flaws.push(Flaw::at(line, format!("'{}' needs '{name}' twice", step.id)));
                }
                Some(&place) => bound.push((place, line)),
                None => flaws.push(Flaw::at(line, format!("'{}' needs '{name:.64}', which is no step", step.id))),
            }
        }
        step.needs = bound.iter().map(|(place, _)| *place).collect();
        lines.push(bound);
    }
    let Some(order) = order(&definition.steps) else {
        flaws.push(cycle(&definition.steps, &lines));
        return None;
    };
    for &place in &order {
        let mut ancestors = BTreeSet::new();
        for &need in &definition.steps[place].needs {
            ancestors.insert(need);
            ancestors.extend(&definition.steps[need].ancestors);
        }
        definition.steps[place].ancestors = ancestors.into_iter().collect();
    }
    definition.order = order;
    check_names(&definition, &places, flaws);
    Some(definition)
}

/// The steps so that each comes after what it needs; none if they go round.
fn order(steps: &[Step]) -> Option<Vec<usize>> {
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
    (order.len() == steps.len()).then_some(order)
}

/// Names a cycle, with the line of the need that closes it.
fn cycle(steps: &[Step], lines: &[Vec<(usize, usize)>]) -> Flaw {
    // What is left when all that can come is taken away has a need that is left, too: following those
    // comes round.
    let mut settled = vec![false; steps.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (place, step) in steps.iter().enumerate() {
            if !settled[place] && step.needs.iter().all(|&need| settled[need]) {
                settled[place] = true;
                changed = true;
            }
        }
    }
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

fn check_names(definition: &Definition, places: &HashMap<String, usize>, flaws: &mut Vec<Flaw>) {
    for (_, value) in &definition.env {
        // The variables of all steps may use what every step knows.
        for name in value.names() {
            if name.root == "steps" || name.root == "matrix" {
                flaws.push(Flaw::at(1, format!("'env' of the whole definition cannot use '{}'", name.root)));
            } else if let Some(why) = wrong(&name, definition, None, places) {
                flaws.push(Flaw::at(1, why));
            }
        }
    }
    for step in &definition.steps {
        for name in names_in(step) {
            if let Some(why) = wrong(&name, definition, Some(step), places) {
                flaws.push(Flaw::at(step.line, format!("the step '{}': {why}", step.id)));
            }
        }
    }
}

fn names_in(step: &Step) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    names.extend(step.condition.iter().flat_map(super::Expression::names));
    names.extend(step.env.iter().flat_map(|(_, value)| value.names()));
    names.extend(step.stdin.iter().flat_map(super::Template::names));
    match &step.work {
        Work::Command(parts) => names.extend(parts.iter().flat_map(super::Template::names)),
        Work::Session { prompt: text, .. } | Work::Approval { message: text } => names.extend(text.names()),
    }
    names
}

/// What is wrong with a name, if anything is.
fn wrong(name: &Name, definition: &Definition, step: Option<&Step>, places: &HashMap<String, usize>) -> Option<String> {
    let Name { root, member } = name;
    let known = match root.as_str() {
        "success" | "failure" => return None,
        "inputs" | "matrix" | "steps" | "run" => member.as_ref(),
        _ => {
            return Some(format!(
                "an expression names '{root}', which is not known: success, failure, inputs, matrix, steps and run are"
            ));
        }
    };
    let Some(member) = known else {
        return Some(format!("an expression names '{root}' without saying which, as in {root}.name"));
    };
    let is_known = match (root.as_str(), step) {
        ("inputs", _) => definition.inputs.contains_key(member),
        ("run", _) => member == "id",
        ("matrix", Some(step)) => step.matrix.first().is_some_and(|values| values.contains_key(member)),
        ("steps", Some(step)) => match places.get(member) {
            Some(place) if !step.ancestors.contains(place) => {
                return Some(format!("an expression names 'steps.{member}', which it does not need"));
            }
            known => known.is_some(),
        },
        _ => false,
    };
    (!is_known).then(|| format!("an expression names '{root}.{member}', which is not there"))
}
