//! The handlers: that they wait for nothing, know nothing they must not, and are registered.
//!
//! Guarantees: every file of `handlers/` is looked at.
//! What a manifest can keep out is the boundary table's.

use super::{files, nothing_wrong, read};

fn handlers() -> Vec<(String, String)> {
    let ours =
        |path: &str| path.starts_with("handlers/") && !path.starts_with("handlers/cases/") && path.ends_with(".rs");
    files().into_iter().filter(|(path, _)| ours(path)).collect()
}

#[test]
fn no_handler_waits() {
    let mut wrong = Vec::new();
    for (path, text) in handlers() {
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(".await") || code.contains("async ") || code.contains("block_on") {
                wrong.push(format!("{path}:{}", index + 1));
            }
        }
    }
    nothing_wrong("handlers that wait", &wrong);
}

#[test]
fn every_handler_is_registered_and_what_else_there_is_is_a_part_of_one() {
    let registry = read("handlers/lib.rs");
    let mut wrong = Vec::new();
    for (path, _) in handlers().into_iter().filter(|(path, _)| path != "handlers/lib.rs") {
        let name = path.trim_start_matches("handlers/").trim_end_matches(".rs");
        if let Some((handler, part)) = name.split_once('/') {
            // A part of one handler, known to nobody else.
            if !read(&format!("handlers/{handler}.rs")).contains(&format!("\nmod {part};")) {
                wrong.push(format!("{path} is no part of a handler"));
            }
        } else if !registry.contains(&format!("mod {name};")) || !registry.contains(&format!("{name}::")) {
            wrong.push(format!("{path} is not registered in handlers/lib.rs"));
        }
    }
    nothing_wrong("handlers out of place", &wrong);
}

#[test]
fn the_lints_of_the_handlers_contain_those_of_the_root() {
    let parse = |path: &str| -> toml::Table { read(path).parse().expect("clippy.toml is TOML") };
    let (root, nearer) = (parse("clippy.toml"), parse("handlers/clippy.toml"));
    let mut wrong = Vec::new();
    for (key, value) in &root {
        match (value, nearer.get(key)) {
            (toml::Value::Array(entries), Some(toml::Value::Array(nearer))) => {
                wrong.extend(entries.iter().filter(|entry| !nearer.contains(entry)).map(ToString::to_string));
            }
            (value, nearer) if nearer != Some(value) => wrong.push(key.clone()),
            _ => {}
        }
    }
    nothing_wrong("missing in handlers/clippy.toml", &wrong);
    assert!(nearer.contains_key("disallowed-types"), "handlers/clippy.toml forbids locks, files and sockets");
}
