//! Where work may leave the threads that deliver, and what a release has not.
//!
//! Guarantees: a new way off the runtime's threads is seen here, and so is a fault that would be shipped.
//! It does not see what a function that blocks is called from.

use super::{files, nothing_wrong, read};

/// The files that hand work to a thread which may block, or make a thread, and why.
const OFF: &[(&str, &str)] = &[
    ("crates/auth/auth.rs", "it follows users.db"),
    ("crates/auth/passwords.rs", "hashes, in turn"),
    ("crates/auth/store.rs", "users.db, in turn"),
    ("crates/engine/log/mod.rs", "the log's writer"),
    ("crates/engine/log/readers.rs", "the log's readers"),
    ("crates/services/blocking.rs", "the services' one way"),
    ("crates/services/programs/starter.rs", "starts of programs, one after the other"),
    ("crates/services/programs/wall.rs", "a thread for each program behind a wall, which restricts itself"),
    ("src/faults.rs", "for tests"),
    ("src/listen/arrivals.rs", "connections as the system has them"),
    ("src/serve.rs", "the start, so that signals are heard meanwhile"),
];

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs") || path.contains("testkit")
}

#[test]
fn work_that_blocks_has_a_known_way_off_the_runtimes_threads() {
    let words = [concat!("spawn_", "blocking("), concat!("thread::", "Builder"), concat!("thread::", "spawn(")];
    let ours =
        |path: &str| path.ends_with(".rs") && ["crates/", "src/", "handlers/"].iter().any(|it| path.starts_with(it));
    let mut found = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| ours(path) && !is_test(path)) {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if words.iter().any(|word| code.contains(word)) {
            found.push(path);
        }
    }
    let mut known: Vec<&str> = OFF.iter().filter(|(_, why)| !why.is_empty()).map(|(path, _)| *path).collect();
    known.sort_unstable();
    assert_eq!(found, known, "the files that leave the runtime's threads");
}

#[test]
fn no_release_has_faults() {
    let mut wrong = Vec::new();
    for manifest in ["Cargo.toml", "crates/core/Cargo.toml"] {
        let manifest: toml::Table = read(manifest).parse().expect("a manifest is TOML");
        let features = manifest["features"].as_table().expect("features");
        assert!(features.contains_key("faults"));
        wrong.extend(features.get("default").map(|it| format!("a default feature: {it}")));
        for (name, profile) in manifest.get("profile").and_then(toml::Value::as_table).into_iter().flatten() {
            if name != "dev" && profile.get("debug-assertions").is_some() {
                wrong.push(format!("profile.{name} has debug assertions"));
            }
        }
    }
    for (path, text) in files().into_iter().filter(|(path, _)| path.ends_with(".toml") && path != "Cargo.toml") {
        if text.lines().any(|line| line.contains("tidings") && line.contains("\"faults\"")) {
            wrong.push(format!("{path} asks for faults"));
        }
    }
    nothing_wrong("faults in what is shipped", &wrong);
}
