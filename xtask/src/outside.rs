//! The programs that meet the server from outside, in the workspace `bench`, and the server that they meet.
//!
//! Guarantees: what is run was built just now, or was named; the workspace's lock file is kept to.
//! It runs none of them: the tasks do.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::step;

/// Where the built programs are.
pub(crate) struct Programs {
    pub(crate) tidings: PathBuf,
    /// The folder of those that meet it.
    pub(crate) bench: PathBuf,
    /// Where servers get their directories: on the disk, where a commit costs what it costs.
    pub(crate) scratch: PathBuf,
}

/// The workspace of the load generator, the chaos harness and the peers.
pub(crate) fn folder() -> PathBuf {
    step::workspace().join("bench")
}

/// Builds the server, unless a program is named, and these packages: for a quick run without optimisation.
pub(crate) fn build(binary: Option<&Path>, packages: &[&str], quick: bool) -> Result<Programs, String> {
    let tidings = match binary {
        Some(binary) => std::path::absolute(binary).map_err(|error| format!("{}: {error}", binary.display()))?,
        None => {
            step::run(&mut step::cargo(&["build", "--release", "--package", "tidings"]))?;
            target()?.join("release/tidings")
        }
    };
    if !tidings.exists() {
        return Err(format!("there is no program {}", tidings.display()));
    }
    step::run(cargo("build", packages)?.args((!quick).then_some("--release")))?;
    let scratch = place()?;
    let bench = scratch.join(if quick { "debug" } else { "release" });
    Ok(Programs { tidings, bench, scratch })
}

/// Builds the server so that it can be told to panic, which what is shipped cannot.
pub(crate) fn build_with_faults() -> Result<PathBuf, String> {
    step::run(&mut step::cargo(&["build", "--package", "tidings"]))?;
    Ok(target()?.join("debug/tidings"))
}

/// Checks these packages and runs their own tests. Gives the server that the step `build` has built.
pub(crate) fn check(packages: &[&str]) -> Result<PathBuf, String> {
    let binary = step::programs()?.join("tidings");
    if !binary.exists() {
        return Err("the server is not built: run the step `build` first".to_owned());
    }
    step::run(Command::new("cargo").args(["fmt", "--all", "--check"]).current_dir(folder()))?;
    step::run(cargo("clippy", packages)?.args(["--all-targets", "--", "-D", "warnings"]))?;
    step::run(&mut cargo("test", packages)?)?;
    Ok(binary)
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
    Ok(target()?.join("bench"))
}

fn target() -> Result<PathBuf, String> {
    let own = step::programs()?;
    own.parent().map(Path::to_owned).ok_or_else(|| "this program lies in no target folder".to_owned())
}
