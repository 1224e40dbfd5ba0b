//! Figures: that each one that the code counts is in the list of those that are there from the start.
//!
//! Guarantees: a new counter, and a new task whose panics are counted, is seen here.
//! That the list is what a server shows, and what the page for operators says, is tested beside operations.

use std::collections::BTreeSet;

use super::{files, nothing_wrong, read};

const LIST: &str = "src/figures.rs";

/// Code of the server, without its tests.
fn served() -> Vec<(String, String)> {
    let folders = ["crates/auth/", "crates/core/", "crates/engine/", "crates/services/", "crates/transports/", "src/"];
    let is_ours = |path: &str| {
        let tests = path.contains("/tests/") || path.ends_with("tests.rs");
        path.ends_with(".rs") && path != LIST && !tests && folders.iter().any(|folder| path.starts_with(folder))
    };
    let code = |text: String| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
    files().into_iter().filter(|(path, _)| is_ours(path)).map(|(path, text)| (path, code(text))).collect()
}

/// The texts in quotes that stand right behind a call of one of these, wherever the line breaks.
fn named_by(code: &str, calls: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for call in calls {
        for (at, _) in code.match_indices(call) {
            let text = code[at + call.len()..].trim_start();
            names.extend(text.strip_prefix('"').and_then(|text| text.split('"').next()).map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_figure_that_is_counted_is_there_from_the_start() {
    let list = read(LIST);
    let mut wrong = Vec::new();
    let mut counted = BTreeSet::new();
    for (path, code) in served() {
        // By a macro, or by a constant with its name.
        let mut names = named_by(&code, &["counter!(", "gauge!(", "histogram!("]);
        names.extend(named_by(&code, &["const REQUESTS: &str =", "const REFUSALS: &str ="]));
        let unknown = names.iter().filter(|name| !list.contains(&format!("\"{name}\"")));
        wrong.extend(unknown.map(|name| format!("{path}: {name}")));
        counted.extend(names);
    }
    let known = list.match_indices("\"tidings_").filter_map(|(at, _)| list[at + 1..].split('"').next());
    wrong
        .extend(known.filter(|name| !counted.contains(*name)).map(|name| format!("{LIST}: {name} is counted nowhere")));
    assert!(counted.len() > 40, "the figures are not found");
    nothing_wrong("figures that are not in the list, or only there", &wrong);
}

#[test]
fn every_task_whose_panics_are_counted_begins_at_zero() {
    let list = read(LIST);
    let tasks = list.split("const TASKS").nth(1).and_then(|rest| rest.split("];").next()).expect("the tasks");
    let known: BTreeSet<String> = tasks.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let calls = ["spawn(", "supervise(", "caught(", "caught_in(", "noted(", "after_panic(", "const TASK: &str ="];
    let found: BTreeSet<String> = served().iter().flat_map(|(_, code)| named_by(code, &calls)).collect();
    let wrong: Vec<String> = known.symmetric_difference(&found).cloned().collect();
    nothing_wrong("tasks that are not in the list, or only there", &wrong);
}
