//! Trying an adapter on lines of anybody's.
//!
//! Guarantees: no program and no clock: whoever fuzzes hears whether the promises of the adapters held.
//! It is not used by the server.

use std::collections::BTreeMap;

use super::{
    AdapterKind,
    adapter::{Context, Step, make},
};

/// What an adapter makes of lines, from a prompt to the end of the output: how many steps.
///
/// # Errors
/// What began and did not end once, by its kind and its id.
pub fn lines(kind: AdapterKind, text: &str) -> Result<usize, String> {
    let session_id = "s1".parse().map_err(|_| "an id".to_owned())?;
    let argv = ["agent", "--input-format=stream-json"].map(str::to_owned).to_vec();
    let Some(mut adapter) = make(kind, Context { session_id, root: "/w".into(), resume: None, argv }) else {
        return Ok(0);
    };
    let mut steps = adapter.started(Some("go"), true);
    for line in text.lines() {
        steps.extend(adapter.line(line));
    }
    steps.extend(adapter.ended());
    let mut open: BTreeMap<(&str, &str), i32> = BTreeMap::new();
    for step in &steps {
        let (thing, id, change) = match step {
            Step::ToolStarted(it) => ("tool", &it.execution_id, 1),
            Step::ToolCompleted(it) => ("tool", &it.execution_id, -1),
            Step::SubagentStarted(it) => ("subagent", &it.execution_id, 1),
            Step::SubagentCompleted(it) => ("subagent", &it.execution_id, -1),
            Step::PermissionRequested(it) => ("permission", &it.request_id, 1),
            Step::PermissionResolved(it) => ("permission", &it.request_id, -1),
            Step::QuestionRequested(it) => ("question", &it.request_id, 1),
            Step::QuestionResolved(it) => ("question", &it.request_id, -1),
            _ => continue,
        };
        let count = open.entry((thing, id)).or_default();
        *count += change;
        if !(0..=1).contains(count) {
            return Err(format!("{thing} {id} begins or ends twice"));
        }
    }
    match open.into_iter().find(|(_, count)| *count != 0) {
        Some(((thing, id), _)) => Err(format!("{thing} {id} has no end")),
        None => Ok(steps.len()),
    }
}
