//! The events: that each one that is declared is said by something.
//!
//! Guarantees: every row of every `events!` of the services is looked at, and its example is JSON of one object.
//! That each is routed and checked is tested against the running server.

use super::{files, nothing_wrong};

/// A row of `events!`: its constant and its type; none for one that only producers outside say.
fn rows(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("events! {").skip(1).filter_map(|rest| rest.split("\n}").next());
    let lines = blocks.flat_map(str::lines).filter(|line| !line.contains("from anyone"));
    let row = |line: &str| {
        let (name, rest) = line.trim().split_once(" = \"")?;
        Some((name.to_owned(), rest.split('"').next()?.to_owned()))
    };
    lines.filter_map(row).collect()
}

/// The code of a file without its tests and its imports.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut kept = String::new();
    let mut importing = false;
    for line in code.lines() {
        importing |= line.starts_with("use ") || line.starts_with("pub use ");
        if !importing && !line.trim_start().starts_with("//") {
            kept += line;
            kept.push('\n');
        }
        importing &= !line.contains(';');
    }
    kept
}

/// Whether a constant is there other than as a pattern of a match.
fn is_said(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let whole = !before.ends_with(word) && !after.starts_with(word);
        let pattern = ["=>", "|"].iter().any(|sign| after.trim_start().starts_with(sign));
        whole && !pattern
    })
}

#[test]
fn every_event_that_is_declared_is_said_by_something() {
    let of_ours = |path: &str| path.starts_with("crates/services/") || path.starts_with("handlers/");
    let sources: Vec<_> = files().into_iter().filter(|(path, _)| of_ours(path) && path.ends_with(".rs")).collect();
    let (contracts, others): (Vec<_>, Vec<_>) = sources.into_iter().partition(|(_, text)| text.contains("events! {"));
    let others: Vec<String> =
        others.iter().filter(|(path, _)| !path.contains("/tests")).map(|(_, text)| code(text)).collect();
    let declared: Vec<_> = contracts.iter().flat_map(|(_, text)| rows(text)).collect();
    assert!(declared.len() > 20, "the rows of the contracts are not found");
    let silent = declared.iter().filter(|(name, _)| !others.iter().any(|code| is_said(code, name)));
    let silent: Vec<String> = silent.map(|(name, event_type)| format!("{event_type} ({name})")).collect();
    nothing_wrong("events that nothing says", &silent);
}

#[test]
fn a_pattern_and_an_import_are_no_saying() {
    let only_heard = "use x::{STARTED, ENDED};\nfn f() {\n    match x {\n        STARTED => {}\n        STARTED | ENDED => {}\n    }\n}\n";
    assert!(!is_said(&code(only_heard), "STARTED"));
    assert!(is_said(&code("fn f() {\n    emit(STARTED, data)\n}\n"), "STARTED"));
    assert!(!is_said(&code("fn f() {\n    emit(NOT_STARTED)\n}\n"), "STARTED"));
}
