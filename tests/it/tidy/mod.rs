//! The habits of the house that a program can check.
//!
//! Guarantees: a broken habit fails with every place that breaks it.
//! It is no substitute for a reader: it knows words and tables, not whether a comment is true.

mod boundaries;
mod documents;
mod events;
mod figures;
mod files;
mod handlers;
mod json;
mod tasks;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold nothing of ours.
const FOREIGN: &[&str] = &["target", "node_modules", ".git", "tidings-data", "corpus", "artifacts", "__pycache__"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of ours, relative to the root, with its text; what is no text is left out.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of ours").flatten() {
            let (path, name) = (folder.join(entry.file_name()), entry.file_name());
            if entry.path().is_dir() {
                if !FOREIGN.iter().any(|foreign| name == *foreign) {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(entry.path()) {
                found.push((path.to_str().expect("a name in UTF-8").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn ends_in(path: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.ends_with(ending))
}

/// Fails with everything that is wrong, if anything is.
fn nothing_wrong(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// The cells of a Markdown table below the line that is its heading.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let below = text.lines().skip_while(|line| line.trim() != heading).skip(2);
    let rows = below.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}
