//! The licences of everything that is linked into the server, as one text.
//!
//! Guarantees: each package is named with its licence, and with the files of it that its authors put beside the
//! code; a text that several have stands there once.
//! It judges no licence: `cargo deny check` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::step;

/// What files with licences begin with, in small letters.
const NAMES: [&str; 4] = ["license", "licence", "copying", "notice"];
/// How deep they may lie: what is compiled from C has its own folder.
const DEPTH: usize = 4;
/// A longer file is code.
const LONGEST: u64 = 200 * 1024;

/// Gathers them, for what cargo says of the workspace.
pub(super) fn of(metadata: &Value) -> Result<String, String> {
    let linked = linked()?;
    let mut head =
        "Tidings contains the work of others. Each is listed with its licence; the texts follow.\n\n".to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        // A package of this workspace has no source.
        if !linked.contains(&name) || package["source"].is_null() {
            continue;
        }
        let licence = package["license"].as_str().unwrap_or("see its files");
        let _infallible = writeln!(head, "{name} ({licence}) {}", text("repository"));
        let folder = Path::new(text("manifest_path")).parent().unwrap_or(Path::new(""));
        for place in files(folder, DEPTH) {
            let found = fs::read_to_string(&place).map_err(|error| format!("{}: {error}", place.display()))?;
            let file = place.strip_prefix(folder).unwrap_or(&place);
            texts.entry(found.trim().to_owned()).or_default().push(format!("{name}, {}", file.display()));
        }
    }
    let mut all: Vec<(String, Vec<String>)> = texts.into_iter().collect();
    all.sort_by(|one, other| one.1.cmp(&other.1));
    for (text, owners) in all {
        let _infallible = write!(head, "\n{}\n{}\n\n{text}\n", "=".repeat(80), owners.join("\n"));
    }
    Ok(head)
}

/// The packages that are linked into the server on this machine, with their versions.
fn linked() -> Result<BTreeSet<String>, String> {
    let tree = ["tree", "--locked", "--package", "tidings", "--edges", "normal", "--prefix", "none", "--no-dedupe"];
    let told = step::output(&mut step::cargo(&tree))?;
    let name = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    };
    Ok(told.lines().filter_map(name).collect())
}

/// The files with licences in a folder and below.
fn files(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (place, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if about.is_dir() && depth > 1 {
            found.extend(files(&place, depth - 1));
        } else if about.is_file() && about.len() <= LONGEST && NAMES.iter().any(|begin| name.starts_with(begin)) {
            let code = place.extension().is_some_and(|end| ["rs", "c", "h", "py"].iter().any(|known| end == *known));
            found.extend((!code).then_some(place));
        }
    }
    found
}
