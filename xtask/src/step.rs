//! Running one program as a step.
//!
//! Guarantees: a step's output is passed on as it comes; a failure names the step and what it ran.
//! It is not a shell: no text is interpreted.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What went wrong, for people.
pub(crate) type Outcome = Result<(), String>;

/// The root of the workspace: that which cargo runs this program for, not that which it was built
/// in, so that two checkouts may share a target folder.
#[expect(clippy::disallowed_methods, reason = "cargo tells its programs so, and this tool has no configuration")]
pub(crate) fn workspace() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map(Path::to_owned).unwrap_or(own)
}

/// The folder of the built programs: the one that this program itself lies in.
pub(crate) fn programs() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    own.parent().map(Path::to_owned).ok_or_else(|| "this program lies in no folder".to_owned())
}

/// The target folder.
pub(crate) fn target() -> Result<PathBuf, String> {
    let own = programs()?;
    own.parent().map(Path::to_owned).ok_or_else(|| "this program lies in no target folder".to_owned())
}

/// The server as the README starts it, built now where it is not up to date: what is tested and measured.
pub(crate) fn server() -> Result<PathBuf, String> {
    run(&mut cargo(&["build", "--release", "--package", "tidings", "--bin", "tidings"]))?;
    Ok(target()?.join("release/tidings"))
}

/// The program that plays recorded agents, likewise; it is never shipped, so it is not optimised.
pub(crate) fn player() -> Result<PathBuf, String> {
    run(&mut cargo(&["build", "--package", "tidings-testkit", "--bin", "tidings-player"]))?;
    Ok(target()?.join("debug/tidings-player"))
}

/// Cargo with these arguments, in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(workspace());
    command
}

/// Runs a program and waits for it.
pub(crate) fn run(command: &mut Command) -> Outcome {
    println!("$ {}", shown(command));
    let status = command.status().map_err(|error| format!("{} does not start: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs a program, and gives what it says on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{} does not start: {error}", shown(command)))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", shown(command)));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} ended with {}: {}", shown(command), output.status, said.trim()))
}

/// Whether a program starts and succeeds, its output unseen.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Installs git if it is missing: the tests of repositories need it.
pub(crate) fn need_git() -> Outcome {
    need("git", "git")
}

/// Installs a program of a Debian package if it is missing.
pub(crate) fn need(program: &str, package: &str) -> Outcome {
    need_if(!works(program, &["--version"]), program, &[package])
}

/// Installs Debian packages if what they bring is missing.
pub(crate) fn need_if(missing: bool, what: &str, packages: &[&str]) -> Outcome {
    if !missing {
        return Ok(());
    }
    println!("{what} is missing: installing it");
    let install = || run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends"]).args(packages));
    // A machine may not know its packages yet, or no longer the newest of them.
    install()
        .or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|()| install()))
        .map_err(|failure| format!("{failure}: install {what}"))
}
