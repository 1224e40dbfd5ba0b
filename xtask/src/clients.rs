//! Real clients in other languages against the built server.
//!
//! Guarantees: versions come from the lock files; what is installed lies in `node_modules` beside the tests
//! and below the target folder.
//! It is not the tests: those are in `tests/clients`, `tests/documents` and `tests/openapi`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::step::{self, Outcome};

/// Where tests find the server. Not a `TIDINGS_` name: the server refuses unknown ones.
pub(crate) const BINARY: &str = "SERVER_BINARY";
/// Where they find the program that plays recorded agents.
const PLAYER: &str = "PLAYER_BINARY";

fn folder() -> PathBuf {
    step::workspace().join("tests/clients")
}

/// Programs in JavaScript over what the server generates: parsers, a linter, the TypeScript compiler.
pub(crate) fn documents() -> Outcome {
    node(&step::workspace().join("tests/documents"))
}

/// socket.io-client, in Node's own test runner.
pub(crate) fn js() -> Outcome {
    // The tests of terminals watch an editor.
    if !step::works("vi", &["--version"]) {
        println!("vi is missing: installing it");
        step::run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends", "vim-tiny"]))
            .map_err(|why| format!("no vi here, and no way to install it ({why}): install Vim"))?;
    }
    node(&folder())
}

/// The tests of a folder, with what its lock file names.
fn node(folder: &Path) -> Outcome {
    let (server, player) = (step::server()?, step::player()?);
    step::need_git()?;
    for program in ["node", "npm"] {
        if !step::works(program, &["--version"]) {
            return Err(format!("{program} is missing: install Node 20 or newer"));
        }
    }
    step::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
    let mut tests = Command::new("node");
    tests.args(["--test", "--test-reporter=spec"]).current_dir(folder);
    step::run(tests.env(BINARY, server).env(PLAYER, player))
}

/// python-socketio, in a virtual environment of its own.
pub(crate) fn python() -> Outcome {
    unittests("python-clients", &folder().join("python"), &[])
}

/// The OpenAPI document against the server: schemathesis, in a virtual environment of its own.
pub(crate) fn openapi() -> Outcome {
    unittests("python-openapi", &step::workspace().join("tests/openapi"), &["--require-hashes"])
}

/// The Python tests of a folder, with what its `requirements.txt` names.
fn unittests(environment: &str, folder: &Path, how: &[&str]) -> Outcome {
    let (server, player) = (step::server()?, step::player()?);
    step::need_git()?;
    let Some(python) = self::environment(environment)? else { return Ok(()) };
    step::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"])
            .args(how)
            .current_dir(folder),
    )?;
    let mut tests = Command::new(&python);
    tests.args(["-B", "-m", "unittest", "--verbose"]).current_dir(folder);
    step::run(tests.env(BINARY, server).env(PLAYER, player))
}

/// The interpreter of a virtual environment, made if it is missing; none on a machine without
/// Python and without a way to install it, which the output then says.
fn environment(name: &str) -> Result<Option<PathBuf>, String> {
    let place = step::programs()?.join(name);
    let python = place.join("bin/python");
    if python.exists() {
        return Ok(Some(python));
    }
    if !step::works("python3", &["-c", "import venv, ensurepip"]) {
        println!("python3 with venv is missing: installing it");
        let install = ["install", "--yes", "--no-install-recommends", "python3", "python3-venv"];
        if step::run(Command::new("apt-get").args(install)).is_err() {
            println!("SKIPPED: no Python here, and no way to install it. Install python3 and python3-venv.");
            return Ok(None);
        }
    }
    step::run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    Ok(Some(python))
}
