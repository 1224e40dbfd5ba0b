//! What each key of a definition means.
//!
//! Guarantees: every key and every type is checked, and each flaw is told with its line; a matrix is
//! counted before it is made.
//! It is not the graph: names of other steps are taken as they are.

use std::collections::BTreeMap;

use super::{
    Bounds, Definition, Flaw, Flaws, Places, Retries, Step, Work,
    inputs::inputs,
    yaml::{Entry, Node, Tree},
};
use crate::workflow::{
    expression::{Expression, Template},
    scalar::Scalar,
};

/// The most parts of a command line.
const COMMAND_PARTS: usize = 256;
/// The most retries of a step.
const RETRIES: u64 = 10;
/// The most of anything that has names: inputs, variables, keys of a matrix.
const NAMES: usize = 64;
/// The longest time that can be waited for or allowed.
const LONGEST_MS: u64 = 365 * 24 * 3_600_000;

/// A definition whose steps name each other.
pub(super) struct Unbound {
    pub(super) definition: Definition,
    /// What each step needs, by name and with the line.
    pub(super) needs: Vec<Vec<(String, usize)>>,
    /// How many bytes the values of all matrices take: see [`Bounds::expanded`].
    pub(super) expanded: usize,
}

/// What the steps that were read are in all.
#[derive(Default)]
struct Sum {
    steps: usize,
    expanded: usize,
}

/// Reads a definition as far as it can be read.
pub(super) fn definition(root: &Node, bounds: Bounds, flaws: &mut Flaws) -> Option<Unbound> {
    let keys = ["name", "description", "inputs", "env", "concurrency", "steps"];
    let map = Fields::of(root, "the definition", &keys, flaws)?;
    let name = map.get("name").and_then(|node| name_of(node, flaws));
    let inputs = map.get("inputs").map(|node| inputs(node, flaws)).unwrap_or_default();
    let env = map.get("env").map(|node| variables(node, flaws)).unwrap_or_default();
    let concurrency = map.get("concurrency").and_then(|node| whole(node, "concurrency", 1, 1_000, flaws));
    let Some(node) = map.get("steps") else {
        flaws.push(Flaw::at(root.line, "'steps' is missing"));
        return None;
    };
    let entries = entries(node, "steps", flaws)?;
    if entries.is_empty() {
        flaws.push(Flaw::at(node.line, "'steps' has no step"));
    }
    let (mut steps, mut needs, mut sum) = (Vec::new(), Vec::new(), Sum::default());
    for entry in entries {
        let Some(wanted) = step(entry, &mut sum, bounds, flaws) else { continue };
        steps.push(wanted.0);
        needs.push(wanted.1);
    }
    let concurrency = concurrency.and_then(|count| usize::try_from(count).ok());
    let definition = Definition { name, inputs, env, concurrency, steps, order: Vec::new() };
    Some(Unbound { definition, needs, expanded: sum.expanded })
}

/// A step. `sum` is of those before it, and then with it.
fn step(entry: &Entry, sum: &mut Sum, bounds: Bounds, flaws: &mut Flaws) -> Option<(Step, Vec<(String, usize)>)> {
    let keys = [
        "command",
        "session",
        "approval",
        "needs",
        "env",
        "stdin",
        "timeout",
        "retries",
        "if",
        "continueOnError",
        "matrix",
    ];
    check_name(&entry.key, "a step", entry.line, flaws);
    // It stands in many messages: of a name that is none, no more than a name may be.
    let id = format!("{:.64}", entry.key);
    let what = format!("the step '{id}'");
    let map = Fields::of(&entry.value, &what, &keys, flaws)?;
    let matrix = match map.get("matrix") {
        Some(node) => matrix(node, sum, bounds, flaws)?,
        None => {
            sum.steps += 1;
            vec![BTreeMap::new()]
        }
    };
    if bounds.steps > 0 && sum.steps > bounds.steps {
        flaws.push(Flaw::at(entry.line, format!("more than {} steps", bounds.steps)));
        return None;
    }
    let work = work(&map, &what, entry.line, flaws);
    let needs = map.get("needs").map(|node| names(node, "needs", flaws)).unwrap_or_default();
    let env = map.get("env").map(|node| variables(node, flaws)).unwrap_or_default();
    let stdin = map.get("stdin").and_then(|node| template(node, "stdin", flaws));
    for key in ["env", "stdin"] {
        if let (Some(node), Some(Work::Session { .. } | Work::Approval { .. })) = (map.get(key), &work) {
            flaws.push(Flaw::at(node.line, format!("'{key}' is for commands")));
        }
    }
    let timeout_ms = map.get("timeout").and_then(|node| duration(node, "timeout", flaws));
    let retries = map.get("retries").and_then(|node| retries(node, flaws)).unwrap_or_default();
    if let (Some(node), Some(Work::Approval { .. })) = (map.get("retries"), &work) {
        flaws.push(Flaw::at(node.line, "an approval is asked for once: it has no 'retries'"));
    }
    let condition = map.get("if").and_then(|node| condition(node, flaws));
    let continue_on_error = map.get("continueOnError").and_then(|node| flag(node, "continueOnError", flaws));
    let step = Step {
        id,
        line: entry.line,
        needs: Vec::new(),
        ancestors: Places::default(),
        work: work?,
        env,
        stdin,
        timeout_ms,
        retries,
        condition,
        continue_on_error: continue_on_error.unwrap_or(false),
        matrix,
    };
    Some((step, needs))
}

fn work(map: &Fields<'_>, what: &str, line: usize, flaws: &mut Flaws) -> Option<Work> {
    match (map.get("command"), map.get("session"), map.get("approval")) {
        (Some(node), None, None) => command(node, flaws),
        (None, Some(node), None) => session(node, flaws),
        (None, None, Some(node)) => approval(node, flaws),
        _ => {
            flaws.push(Flaw::at(line, format!("{what} has one of 'command', 'session' and 'approval'")));
            None
        }
    }
}

fn command(node: &Node, flaws: &mut Flaws) -> Option<Work> {
    let refused = |flaws: &mut Flaws, line, why: &str| {
        flaws.push(Flaw::at(line, format!("'command' {why}")));
        None
    };
    let Tree::List(parts) = &node.tree else {
        return refused(flaws, node.line, "is a list: a program and its arguments");
    };
    if parts.is_empty() || parts[0].text().is_none_or(str::is_empty) {
        return refused(flaws, node.line, "begins with a program");
    }
    if parts.len() > COMMAND_PARTS {
        return refused(flaws, node.line, "has at most 256 parts");
    }
    let parts: Option<Vec<Template>> = parts.iter().map(|part| template(part, "command", flaws)).collect();
    parts.map(Work::Command)
}

fn session(node: &Node, flaws: &mut Flaws) -> Option<Work> {
    let map = Fields::of(node, "'session'", &["agent", "prompt"], flaws)?;
    let agent = map.required("agent", flaws).and_then(|node| text(node, "agent", flaws));
    let prompt = map.required("prompt", flaws).and_then(|node| template(node, "prompt", flaws));
    if agent.as_ref().is_some_and(|agent| !(1..=64).contains(&agent.len())) {
        flaws.push(Flaw::at(node.line, "'agent' is 1 to 64 bytes long"));
    }
    Some(Work::Session { agent: agent?, prompt: prompt? })
}

fn approval(node: &Node, flaws: &mut Flaws) -> Option<Work> {
    let map = Fields::of(node, "'approval'", &["message"], flaws)?;
    let message = map.required("message", flaws).and_then(|node| template(node, "message", flaws))?;
    Some(Work::Approval { message })
}

fn variables(node: &Node, flaws: &mut Flaws) -> Vec<(String, Template)> {
    let mut variables = Vec::new();
    for entry in entries(node, "env", flaws).unwrap_or_default() {
        let name = &entry.key;
        check_name(name, "a variable", entry.line, flaws);
        if name.to_ascii_uppercase().starts_with("TIDINGS_") {
            flaws.push(Flaw::at(entry.line, "variables that begin with TIDINGS_ are the server's own"));
        }
        if let Some(value) = template(&entry.value, name, flaws) {
            variables.push((name.clone(), value));
        }
    }
    variables
}

fn retries(node: &Node, flaws: &mut Flaws) -> Option<Retries> {
    let mut retries = Retries::default();
    if !matches!(node.tree, Tree::Map(_)) {
        retries.max = u32::try_from(whole(node, "retries", 0, RETRIES, flaws)?).ok()?;
        return Some(retries);
    }
    let map = Fields::of(node, "'retries'", &["max", "backoff", "factor", "maxBackoff", "onServerStop"], flaws)?;
    let max = map.required("max", flaws).and_then(|node| whole(node, "max", 0, RETRIES, flaws))?;
    retries.max = u32::try_from(max).ok()?;
    if let Some(node) = map.get("backoff") {
        retries.backoff_ms = duration(node, "backoff", flaws)?;
    }
    if let Some(node) = map.get("maxBackoff") {
        retries.max_backoff_ms = duration(node, "maxBackoff", flaws)?;
    }
    if let Some(node) = map.get("factor") {
        let factor = node.value().and_then(|value| value.as_f64()).filter(|factor| (1.0..=100.0).contains(factor));
        if factor.is_none() {
            flaws.push(Flaw::at(node.line, "'factor' is a number from 1 to 100"));
        }
        retries.factor = factor?;
    }
    if let Some(node) = map.get("onServerStop") {
        retries.on_server_stop = flag(node, "onServerStop", flaws)?;
    }
    Some(retries)
}

/// All combinations of the values of a matrix: they, and their bytes, are counted before they are made.
fn matrix(node: &Node, sum: &mut Sum, bounds: Bounds, flaws: &mut Flaws) -> Option<Vec<BTreeMap<String, Scalar>>> {
    let (mut axes, mut size) = (Vec::new(), 1_usize);
    for entry in entries(node, "matrix", flaws)? {
        check_name(&entry.key, "a key of a matrix", entry.line, flaws);
        let Tree::List(items) = &entry.value.tree else {
            flaws.push(Flaw::at(entry.value.line, format!("'{}' of a matrix is a list of values", entry.key)));
            return None;
        };
        let values: Option<Vec<Scalar>> = items.iter().map(|item| scalar(item, &entry.key, flaws)).collect();
        size = size.saturating_mul(items.len());
        axes.push((entry.key.clone(), values?));
    }
    if axes.is_empty() || size == 0 {
        flaws.push(Flaw::at(node.line, "'matrix' has no values"));
        return None;
    }
    sum.steps = sum.steps.saturating_add(size);
    if bounds.steps > 0 && sum.steps > bounds.steps {
        flaws.push(Flaw::at(node.line, format!("this matrix makes {size} steps: more than {} in all", bounds.steps)));
        return None;
    }
    for (key, values) in &axes {
        // Each of its values is in as many steps.
        let bytes: usize = values.iter().map(|value| key.len() + value.as_str().len()).sum();
        sum.expanded = sum.expanded.saturating_add((size / values.len()).saturating_mul(bytes));
    }
    if bounds.expanded > 0 && sum.expanded > bounds.expanded {
        let most = bounds.expanded;
        let why =
            format!("with this matrix the values of all steps take more than {most} bytes: each step has its own");
        flaws.push(Flaw::at(node.line, why));
        return None;
    }
    let mut combinations = vec![BTreeMap::new()];
    for (key, values) in axes {
        let with = |combination: &BTreeMap<String, Scalar>, value: &Scalar| {
            let mut combination = combination.clone();
            combination.insert(key.clone(), value.clone());
            combination
        };
        combinations = combinations.iter().flat_map(|one| values.iter().map(move |value| with(one, value))).collect();
    }
    Some(combinations)
}

fn condition(node: &Node, flaws: &mut Flaws) -> Option<Expression> {
    let written = text(node, "if", flaws)?;
    keep(Expression::parse(&written), node.line, flaws)
}

fn template(node: &Node, what: &str, flaws: &mut Flaws) -> Option<Template> {
    let written = text(node, what, flaws)?;
    if written.contains('\0') {
        flaws.push(Flaw::at(node.line, format!("'{what}' holds no NUL")));
        return None;
    }
    keep(Template::parse(&written), node.line, flaws)
}

/// Names: one, or a list of them.
fn names(node: &Node, what: &str, flaws: &mut Flaws) -> Vec<(String, usize)> {
    let items = match &node.tree {
        Tree::List(items) => items.iter().collect(),
        _ if node.is_null() => Vec::new(),
        _ => vec![node],
    };
    items.into_iter().filter_map(|item| text(item, what, flaws).map(|name| (name, item.line))).collect()
}

fn name_of(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let name = text(node, "name", flaws)?;
    if name.chars().count() > 200 || name.chars().any(char::is_control) {
        flaws.push(Flaw::at(node.line, "'name' is at most 200 characters, without line breaks"));
        return None;
    }
    Some(name)
}

fn keep<T>(result: Result<T, String>, line: usize, flaws: &mut Flaws) -> Option<T> {
    result.map_err(|why| flaws.push(Flaw::at(line, why))).ok()
}

pub(super) fn text(node: &Node, what: &str, flaws: &mut Flaws) -> Option<String> {
    let text = node.text();
    if text.is_none() {
        flaws.push(Flaw::at(node.line, format!("'{what}' is a text, not {}", node.kind())));
    }
    text.map(str::to_owned)
}

pub(super) fn scalar(node: &Node, what: &str, flaws: &mut Flaws) -> Option<Scalar> {
    let value = node.value();
    if value.is_none() {
        flaws.push(Flaw::at(node.line, format!("'{what}' is a text, a number or a flag, not {}", node.kind())));
    }
    value
}

fn flag(node: &Node, what: &str, flaws: &mut Flaws) -> Option<bool> {
    let flag = node.value().and_then(|value| value.as_bool());
    if flag.is_none() {
        flaws.push(Flaw::at(node.line, format!("'{what}' is true or false")));
    }
    flag
}

fn whole(node: &Node, what: &str, least: u64, most: u64, flaws: &mut Flaws) -> Option<u64> {
    let number = node.value().and_then(|value| value.as_u64()).filter(|number| (least..=most).contains(number));
    if number.is_none() {
        flaws.push(Flaw::at(node.line, format!("'{what}' is a whole number from {least} to {most}")));
    }
    number
}

fn duration(node: &Node, what: &str, flaws: &mut Flaws) -> Option<u64> {
    let parsed = node.text().and_then(|text| humantime::parse_duration(text).ok());
    let parsed =
        parsed.and_then(|time| u64::try_from(time.as_millis()).ok()).filter(|ms| (1..=LONGEST_MS).contains(ms));
    if parsed.is_none() {
        flaws.push(Flaw::at(node.line, format!("'{what}' is a duration, as in 30s or 1h 30m")));
    }
    parsed
}

pub(super) fn check_name(name: &str, what: &str, line: usize, flaws: &mut Flaws) {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|char| char.is_ascii_alphabetic() || char == '_');
    if !starts || name.len() > 64 || !chars.all(|char| char.is_ascii_alphanumeric() || char == '_') {
        let why = "is 1 to 64 letters, digits and '_', and begins with no digit";
        flaws.push(Flaw::at(line, format!("the name '{name:.64}' of {what} {why}")));
    }
}

pub(super) fn entries<'a>(node: &'a Node, what: &str, flaws: &mut Flaws) -> Option<&'a [Entry]> {
    match &node.tree {
        Tree::Map(entries) if entries.len() > NAMES && what != "steps" => {
            flaws.push(Flaw::at(node.line, format!("'{what}' has at most {NAMES} names")));
            None
        }
        Tree::Map(entries) => Some(entries),
        _ => {
            flaws.push(Flaw::at(node.line, format!("'{what}' is a map, not {}", node.kind())));
            None
        }
    }
}

/// A map whose keys are known.
pub(super) struct Fields<'a> {
    line: usize,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    pub(super) fn of(node: &'a Node, what: &str, known: &[&str], flaws: &mut Flaws) -> Option<Self> {
        let Tree::Map(entries) = &node.tree else {
            flaws.push(Flaw::at(node.line, format!("{what} is a map, not {}", node.kind())));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let allowed = known.join(", ");
            flaws.push(Flaw::at(entry.line, format!("'{:.64}' is not a key of {what}: {allowed}", entry.key)));
        }
        Some(Self { line: node.line, entries })
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    fn required(&self, key: &str, flaws: &mut Flaws) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            flaws.push(Flaw::at(self.line, format!("'{key}' is missing")));
        }
        node
    }
}
