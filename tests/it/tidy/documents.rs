//! The documents: that their links lead somewhere, and that what they name exists.
//!
//! Guarantees: every Markdown file of ours is looked at.
//! Whether they are true and clear is for readers.

use std::collections::BTreeSet;

use tidings_core::Code;

use super::{ends_in, files, nothing_wrong, read, root, table};

fn documents() -> Vec<(String, String)> {
    files().into_iter().filter(|(path, _)| ends_in(path, &[".md"])).collect()
}

/// The text without its code blocks.
fn prose(text: &str) -> String {
    let parts = text.split("\n```");
    parts.enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, part)| part).collect::<Vec<_>>().join("\n")
}

/// The anchor that a heading has.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

fn broken(path: &str, target: &str) -> Option<String> {
    if target.starts_with("http") || target.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let folder = root().join(path).parent()?.to_owned();
    let meant = if file.is_empty() { root().join(path) } else { folder.join(file) };
    let fail = || Some(format!("{path}: {target}"));
    if !meant.exists() {
        return fail();
    }
    if fragment.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(meant).ok()?;
    if anchors(&text).contains(fragment) { None } else { fail() }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let prose = prose(&text);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        wrong.extend(targets.filter_map(|target| broken(&path, target)));
    }
    nothing_wrong("links that lead nowhere", &wrong);
}

#[test]
fn the_documents_that_people_look_for_are_there() {
    let needed = [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "deny.toml",
        "docs/ARCHITECTURE.md",
        "docs/PROTOCOL.md",
        "docs/ACCESS.md",
        "docs/ADDING_A_DOMAIN.md",
        "docs/OPERATIONS.md",
    ];
    let wrong: Vec<String> = needed.into_iter().filter(|path| !root().join(path).exists()).map(str::to_owned).collect();
    nothing_wrong("missing documents", &wrong);
}

#[test]
fn every_decision_says_why_what_and_what_follows() {
    let headings = ["## Why it came up", "## What was decided", "## What follows"];
    let decisions: Vec<_> = documents().into_iter().filter(|(path, _)| path.starts_with("docs/decisions/")).collect();
    assert!(!decisions.is_empty(), "no decision is written down");
    let mut wrong = Vec::new();
    for (path, text) in decisions {
        for heading in headings.iter().filter(|heading| !text.lines().any(|line| line == **heading)) {
            wrong.push(format!("{path}: {heading}"));
        }
        let name = path.trim_start_matches("docs/");
        if !read("docs/ARCHITECTURE.md").contains(&format!("({name})")) {
            wrong.push(format!("{path}: not linked from docs/ARCHITECTURE.md"));
        }
    }
    nothing_wrong("decisions that lack something", &wrong);
}

/// The names of all tests: Rust and Python functions, and the titles of JavaScript's.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, text) in files() {
        for line in text.lines().map(str::trim_start) {
            let name = if ends_in(&path, &[".rs"]) {
                line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next())
            } else if ends_in(&path, &[".py"]) {
                line.trim_start_matches("async ").strip_prefix("def ").and_then(|rest| rest.split('(').next())
            } else if ends_in(&path, &[".js"]) {
                let starts = ["test(\"", "matrix(\"", "each(test, \"", "row(\""];
                let quoted = starts.iter().find_map(|start| line.strip_prefix(start));
                // One of several that differ in what stands in parentheses, or within.
                let each = line.strip_prefix("test(`").and_then(|rest| rest.split('`').next());
                let each = each.map(|title| title.split_once(" (${").map_or(title, |(title, _)| title));
                quoted.and_then(|rest| rest.split('"').next()).or(each)
            } else {
                None
            };
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

#[test]
fn the_table_of_requirements_names_tests_that_exist() {
    let page = read("docs/SEED_ROWS.md");
    let (mut rows, others) =
        (table(&page, "| row | what | tests |"), table(&page, "| row of another system | what | tests |"));
    assert!(rows.len() > 50 && others.len() > 20, "docs/SEED_ROWS.md has no tables");
    rows.extend(others);
    let tests = tests();
    let mut wrong = Vec::new();
    for cells in rows {
        let named: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("{}: names no test", cells[0]));
        }
        for name in named.into_iter().filter(|name| !tests.contains(*name)) {
            wrong.push(format!("{}: no test is called '{name}'", cells[0]));
        }
    }
    nothing_wrong("requirements whose tests are not there", &wrong);
}

#[test]
fn the_table_of_what_was_found_names_tests_and_faults_that_exist() {
    let heading = "| what was found | its kind | the test that was missing | what holds it now |";
    let rows = table(&read("docs/RELIABILITY.md"), heading);
    assert!(rows.len() > 20, "docs/RELIABILITY.md has no table of what was found");
    let (tests, faults) = (tests(), read("bench/chaos/src/faults/mod.rs"));
    let mut wrong = Vec::new();
    for cells in rows {
        let named: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("{}: nothing holds it", cells[0]));
        }
        let is_there = |name: &str| tests.contains(name) || faults.contains(&format!("name: \"{name}\""));
        for name in named.into_iter().filter(|name| !is_there(name)) {
            wrong.push(format!("{}: neither a test nor a fault is called '{name}'", cells[0]));
        }
    }
    nothing_wrong("what was found, and what holds it is not there", &wrong);
}

#[test]
fn operators_find_every_code_of_a_refusal() {
    let rows = table(&read("docs/OPERATIONS.md"), "| code | of a request | of a connection | what to do |");
    let named: BTreeSet<&str> = rows.iter().flat_map(|cells| cells[0].split('`').skip(1).step_by(2)).collect();
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).chain(["left", "silent"]).collect();
    assert_eq!(named, codes);
}
