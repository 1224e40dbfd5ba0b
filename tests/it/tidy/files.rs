//! Headers, lengths and words of our files.
//!
//! Guarantees: every source file is looked at, wherever it lies.
//! It does not judge what a header says.

use std::path::Path;

use super::{ends_in, files, nothing_wrong};

/// The most lines of a source file.
const MOST_LINES: usize = 500;
/// Files that may be longer, and why.
const LONGER: &[(&str, &str)] = &[];
/// Files of tests that may pause once, and why.
const PAUSES: &[(&str, &str)] = &[
    ("tests/it/server.rs", "asks again until a condition holds"),
    ("tests/it/slow.rs", "the pace of a slow client is what is tested"),
    ("tests/it/deadlines.rs", "the pace of a client that reads slowly is what is tested"),
];
const SOURCES: &[&str] = &[".rs", ".js", ".py", ".sh"];

/// Words that have no place in a file of such an ending. Written apart, so that this file has none of them.
const BANNED: &[(&[&str], &str, &str)] = &[
    (&[".rs"], concat!("to", "do!("), "it is real, or it is not there"),
    (&[".rs"], concat!("unimple", "mented!("), "it is real, or it is not there"),
    (&[".rs"], concat!("#[ig", "nore"), "a test that is not run tells nothing"),
    (&[".js"], concat!("test.sk", "ip"), "a test that is not run tells nothing"),
    (&[".js"], concat!("test.on", "ly"), "the other tests are needed too"),
    (&[".py"], concat!("unittest.sk", "ip"), "a test that is not run tells nothing"),
    (SOURCES, concat!("TO", "DO"), "do it, or write it where people look for it"),
    (SOURCES, concat!("FIX", "ME"), "do it, or write it where people look for it"),
    (&[".rs", ".js", ".py", ".md", ".toml"], concat!("/wo", "rk/"), "it is a path of one machine"),
];

/// Whether a file's first line, after a `#!`, is a comment that says what it is.
fn has_header(path: &str, text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| line.starts_with("#!") && !line.starts_with("#!["));
    let first = lines.next().unwrap_or_default();
    match Path::new(path).extension().and_then(|ending| ending.to_str()) {
        Some("rs") => first.starts_with("//! "),
        Some("js") => first.starts_with("// ") || first.starts_with("/**"),
        Some("py") => first.starts_with("\"\"\"") || first.starts_with("# "),
        _ => first.starts_with("# "),
    }
}

#[test]
fn every_source_file_starts_by_saying_what_it_is() {
    let sources = files().into_iter().filter(|(path, _)| ends_in(path, SOURCES) || path == ".ci/run");
    let wrong: Vec<String> = sources.filter(|(path, text)| !has_header(path, text)).map(|(path, _)| path).collect();
    nothing_wrong("files without a header", &wrong);
}

#[test]
fn no_source_file_is_longer_than_it_may_be() {
    let mut wrong = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| ends_in(path, SOURCES)) {
        let lines = text.lines().count();
        let excused = LONGER.iter().any(|(longer, why)| *longer == path && !why.is_empty());
        match (lines > MOST_LINES, excused) {
            (true, false) => wrong.push(format!("{path}: {lines} lines")),
            (false, true) => wrong.push(format!("{path}: {lines} lines, and needs no excuse any more")),
            _ => {}
        }
    }
    nothing_wrong("files over 500 lines without a reason", &wrong);
}

#[test]
fn no_file_has_a_word_that_has_no_place_in_it() {
    let mut wrong = Vec::new();
    for (path, text) in files() {
        for (_, word, why) in BANNED.iter().filter(|(endings, ..)| ends_in(&path, endings)) {
            if let Some(line) = text.lines().position(|line| line.contains(word)) {
                wrong.push(format!("{path}:{}: {word} ({why})", line + 1));
            }
        }
    }
    nothing_wrong("words that have no place", &wrong);
}

#[test]
fn no_test_waits_for_time_instead_of_a_condition() {
    let word = concat!("sle", "ep(");
    let mut wrong = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| ends_in(path, SOURCES)) {
        let of_tests = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs");
        // The tests of a Rust file stand at its end.
        let from = if of_tests { Some(0) } else { text.find("#[cfg(test)]\nmod tests {") };
        let Some(from) = from else { continue };
        let pauses = text[from..].matches(word).count();
        if pauses > PAUSES.iter().filter(|(file, _)| *file == path).count() {
            wrong.push(path);
        }
    }
    nothing_wrong("tests that wait for time", &wrong);
}

#[test]
fn no_module_is_named_for_nothing() {
    let empty = ["utils", "util", "manager", "common", "helpers", "helper", "types", "misc"];
    let named_so =
        |path: &str| path.split('/').any(|part| empty.contains(&part.trim_end_matches(".rs").trim_end_matches(".js")));
    let sources = files().into_iter().filter(|(path, _)| ends_in(path, SOURCES));
    let wrong: Vec<String> = sources.map(|(path, _)| path).filter(|path| named_so(path)).collect();
    nothing_wrong("modules whose name says nothing", &wrong);
}
