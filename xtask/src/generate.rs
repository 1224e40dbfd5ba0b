//! `cargo xtask gen`: the documents and types that are made of the server's own types.
//!
//! Guarantees: they are those of the default configuration, whatever the environment of whoever runs it;
//! nothing else is written.
//! It makes none of them: `tidings schema` does.

use std::process::Command;

use crate::step::{self, Outcome};

/// What goes where, from the root of the workspace.
const PLACES: [(&str, &str); 5] = [
    ("openapi.json", "schemas/openapi.json"),
    ("asyncapi.json", "schemas/asyncapi.json"),
    ("events.schema.json", "schemas/events.schema.json"),
    ("tidings.ts", "schemas/tidings.ts"),
    ("EVENTS.md", "docs/EVENTS.md"),
];

/// Builds the server and writes what it says of itself.
pub(crate) fn run() -> Outcome {
    step::run(&mut step::cargo(&["build", "--package", "tidings"]))?;
    let made = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let mut schema = Command::new(step::programs()?.join("tidings"));
    schema.args(["schema", "--out", "."]).current_dir(made.path()).env_clear();
    step::run(&mut schema)?;
    for (name, place) in PLACES {
        let place = step::workspace().join(place);
        let written = std::fs::create_dir_all(place.parent().unwrap_or(&place))
            .and_then(|()| std::fs::copy(made.path().join(name), &place));
        written.map_err(|error| format!("{}: {error}", place.display()))?;
    }
    Ok(())
}
