//! One reading of JSON: what others wrote is read by `tidings_core::json`.
//!
//! Guarantees: every other reading has a reason here, and a reason that is needed no more is wrong, too.
//! It does not know what is read: the reasons do.

use super::{files, nothing_wrong};

/// Where serde_json is asked directly, and why.
const OWN: &[(&str, &str)] = &[
    ("crates/auth/key_file.rs", "the server's own key"),
    ("crates/core/contract.rs", "examples, which are constants"),
    ("crates/core/json.rs", "it is the reading"),
    ("crates/core/json/fit.rs", "a number, as the reading reads it"),
    ("crates/core/projection.rs", "a saved state, which the server wrote"),
    ("crates/core/refusal.rs", "the readable copy, for the place of what is wrong"),
    ("crates/engine/hub/probe.rs", "the server's own beat"),
    ("crates/engine/log/append.rs", "places, which the log wrote"),
    ("crates/services/programs/survivors.rs", "what the server remembered of its programs"),
    ("crates/services/session/state.rs", "a saved state of the version before, which the server wrote"),
    ("crates/services/workflow/scalar.rs", "the spelling of a number"),
    ("crates/services/workflow/step/session.rs", "the answer of a command of the house"),
    ("crates/transports/socketio/packet.rs", "the grammar alone: what is said is read in its turn"),
    ("crates/transports/socketio/polled.rs", "what the server is about to send"),
    ("crates/transports/socketio/said.rs", "the library's refusal of a CONNECT"),
];
/// What reads.
const READERS: &[&str] = &["serde_json::from_", "serde_json::Deserializer"];
/// Values are read already.
const NO_READER: &str = "serde_json::from_value";

/// Code of the server: neither tests, nor what stands on the other side of the wire.
fn is_served(path: &str) -> bool {
    let folders = [
        "crates/auth/",
        "crates/core/",
        "crates/engine/",
        "crates/services/",
        "crates/transports/",
        "handlers/",
        "src/",
    ];
    let tests = path.contains("/tests/") || path.contains("/cases/") || path.ends_with("tests.rs");
    path.ends_with(".rs") && !tests && folders.iter().any(|folder| path.starts_with(folder))
}

#[test]
fn what_others_wrote_is_read_by_the_one_reading_of_json() {
    let mut wrong = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| is_served(path)) {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let reads = |line: &&str| READERS.iter().any(|reader| line.replace(NO_READER, "").contains(reader));
        let read = code.lines().filter(|line| !line.trim_start().starts_with("//")).filter(reads).count();
        match (read > 0, OWN.iter().any(|(own, why)| *own == path && !why.is_empty())) {
            (true, false) => wrong.push(format!("{path}: reads JSON with serde_json in {read} places")),
            (false, true) => wrong.push(format!("{path}: needs no reason any more")),
            _ => {}
        }
    }
    nothing_wrong("JSON that is read by something else than tidings_core::json", &wrong);
}
