//! The programs that meet the server from outside, in the workspace `bench`, and the server that they meet.
//!
//! Guarantees: what is run was built just now, or was named; the workspace's lock file is kept to.
//! It runs none of them: the tasks do.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::step::{self, Outcome};

/// Where the built programs are.
pub(crate) struct Programs {
    pub(crate) tidings: PathBuf,
    /// The folder of those that meet it.
    pub(crate) bench: PathBuf,
    /// Where servers get their directories: on the disk, where a commit costs what it costs.
    pub(crate) scratch: PathBuf,
}

impl Programs {
    /// The same with another server.
    pub(crate) fn with(&self, tidings: &Path) -> Result<Self, String> {
        Ok(Self { tidings: named(tidings)?, bench: self.bench.clone(), scratch: self.scratch.clone() })
    }
}

/// A program that somebody names.
fn named(program: &Path) -> Result<PathBuf, String> {
    let place = std::path::absolute(program).map_err(|error| format!("{}: {error}", program.display()))?;
    if place.is_file() { Ok(place) } else { Err(format!("there is no program {}", place.display())) }
}

/// The workspace of the load generator, the chaos harness and the peers.
pub(crate) fn folder() -> PathBuf {
    step::workspace().join("bench")
}

/// Builds the server, unless a program is named, and these packages: for a quick run without optimisation.
pub(crate) fn build(binary: Option<&Path>, packages: &[&str], quick: bool) -> Result<Programs, String> {
    let tidings = match binary {
        Some(binary) => named(binary)?,
        None => step::server()?,
    };
    step::run(cargo("build", packages)?.args((!quick).then_some("--release")))?;
    let scratch = place()?;
    let bench = scratch.join(if quick { "debug" } else { "release" });
    Ok(Programs { tidings, bench, scratch })
}

/// Builds the server so that it can be told to panic, which what is shipped cannot.
pub(crate) fn build_with_faults() -> Result<PathBuf, String> {
    step::run(&mut step::cargo(&["build", "--package", "tidings"]))?;
    Ok(step::target()?.join("debug/tidings"))
}

/// Checks these packages and runs their own tests.
pub(crate) fn check(packages: &[&str]) -> Outcome {
    step::run(Command::new("cargo").args(["fmt", "--all", "--check"]).current_dir(folder()))?;
    step::run(cargo("clippy", packages)?.args(["--all-targets", "--", "-D", "warnings"]))?;
    step::run(&mut cargo("test", packages)?)
}

/// Cargo for these packages of the workspace.
fn cargo(command: &str, packages: &[&str]) -> Result<Command, String> {
    let mut cargo = Command::new("cargo");
    cargo.args([command, "--locked"]).current_dir(folder()).arg("--target-dir").arg(place()?);
    for package in packages {
        cargo.args(["--package", package]);
    }
    Ok(cargo)
}

/// Where the workspace is built.
fn place() -> Result<PathBuf, String> {
    Ok(step::target()?.join("bench"))
}
