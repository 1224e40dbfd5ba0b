//! What may know what: the table of docs/ARCHITECTURE.md against `cargo metadata`.
//!
//! Guarantees: every crate has a row, every row a crate, and no dependency goes beyond it.
//! It does not see what a module of a crate uses of another module.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use super::{nothing_wrong, read, root, table};

struct Row {
    may_use: BTreeSet<String>,
    never: BTreeSet<String>,
}

fn rows() -> BTreeMap<String, Row> {
    let words = |cell: &str| cell.split(',').map(|word| word.trim().to_owned()).filter(|word| word != "–").collect();
    let table = table(&read("docs/ARCHITECTURE.md"), "| crate | may use | never |");
    assert!(!table.is_empty(), "docs/ARCHITECTURE.md has no boundary table");
    table
        .into_iter()
        .map(|cells| (cells[0].clone(), Row { may_use: words(&cells[1]), never: words(&cells[2]) }))
        .collect()
}

fn metadata() -> Metadata {
    let manifest = root().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata works")
}

/// The name of a crate of ours in the table.
fn short(name: &str) -> &str {
    name.strip_prefix("tidings-").unwrap_or(name)
}

fn check(package: &Package, row: &Row, ours: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for dependency in &package.dependencies {
        let used = short(&dependency.name).to_owned();
        let for_tests = dependency.kind == DependencyKind::Development;
        let allowed = row.may_use.contains(&used) || (for_tests && used == "testkit");
        if ours.contains(&used) && !allowed {
            wrong.push(format!("{} may not use {used}", package.name));
        }
        if !for_tests && row.never.contains(&dependency.name) {
            wrong.push(format!("{} must never depend on {}", package.name, dependency.name));
        }
    }
    wrong
}

#[test]
fn no_crate_uses_more_than_the_boundary_table_allows() {
    let (rows, metadata) = (rows(), metadata());
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<String> = packages.iter().map(|package| short(&package.name).to_owned()).collect();
    let listed: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(ours, listed, "the crates of the workspace and the rows of the table");
    let wrong: Vec<String> =
        packages.iter().flat_map(|package| check(package, &rows[short(&package.name)], &ours)).collect();
    nothing_wrong("dependencies beyond the table of docs/ARCHITECTURE.md", &wrong);
}

#[test]
fn every_crate_has_the_lints_and_the_version_of_the_workspace() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let inherits = |table: &str, key: &str| {
            let value = manifest.get(table).and_then(|table| table.get(key));
            let value = if table == "lints" { value } else { value.and_then(|value| value.get("workspace")) };
            value.and_then(toml::Value::as_bool) == Some(true)
        };
        for (table, key) in [("lints", "workspace"), ("package", "version"), ("package", "license")] {
            if !inherits(table, key) {
                wrong.push(format!("{}: {table}.{key}", package.name));
            }
        }
    }
    nothing_wrong("manifests that do not take from the workspace", &wrong);
}

#[test]
fn the_versions_of_dependencies_stand_in_one_place() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
            for (name, value) in dependencies {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    wrong.push(format!("{}: {kind}.{name}", package.name));
                }
            }
        }
    }
    nothing_wrong("dependencies with a version of their own", &wrong);
}
