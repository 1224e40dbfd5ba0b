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
    step::need("vi", "vim-tiny")?;
    node(&folder())
}

/// The same tests of the protocol against Node's own server: what that fails is a wrong test.
pub(crate) fn control() -> Outcome {
    installed(&folder())?;
    step::run(node_tests(&folder().join("protocol")).env("PROTOCOL_TARGET", "reference"))
}

/// The walk of the clients that are quick to install: Node's and Python's.
pub(crate) fn matrix() -> Outcome {
    let server = step::server()?;
    installed(&folder())?;
    let python = python_with_client()?;
    step::run(
        node_tests(&folder()).arg("matrix/clients.js").env(BINARY, server).envs(python.map(|it| ("CLIENT_PYTHON", it))),
    )
}

/// The walk of the others: Java, Go, Rust, a browser, and the ways through proxies.
pub(crate) fn foreign() -> Outcome {
    let server = step::server()?;
    installed(&folder())?;
    let mut tests = node_tests(&folder());
    tests.arg("matrix/slow.js").env(BINARY, server);
    tests.envs(python_with_client()?.map(|it| ("CLIENT_PYTHON", it)));
    tests.env("CLIENT_JAVA", java()?).env("CLIENT_RUST", rust()?);
    tests.envs(go()?.map(|it| ("CLIENT_GO", it)));
    step::need("chromium", "chromium")?;
    for proxy in ["nginx", "haproxy"] {
        step::need_if(!step::works(proxy, &["-v"]), proxy, &[proxy])?;
    }
    step::run(tests.env("CLIENT_BROWSER", "chromium").env("CLIENT_PROXIES", "yes"))
}

/// The folder of what the walk in Java needs, with what its pom.xml names.
fn java() -> Result<PathBuf, String> {
    step::need("javac", "default-jdk-headless")?;
    step::need("mvn", "maven")?;
    let place = step::programs()?.join("java-clients");
    let copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
    let output = format!("-DoutputDirectory={}", place.display());
    step::run(Command::new("mvn").args(["-q", "-B", copy, &output]).current_dir(folder().join("java")))?;
    Ok(place)
}

/// The walk in Rust, built with its own lock file.
fn rust() -> Result<PathBuf, String> {
    // Its TLS is OpenSSL.
    step::need_if(!step::works("pkg-config", &["--exists", "openssl"]), "OpenSSL", &["pkg-config", "libssl-dev"])?;
    let place = step::target()?.join("rust-clients");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--target-dir"]).arg(&place).current_dir(folder().join("rust"));
    step::run(&mut cargo)?;
    Ok(place.join("debug/tidings-walk"))
}

/// The walk in Go, built with its own lock file; none on a machine without a Go that is new enough, which the output
/// then says.
fn go() -> Result<Option<PathBuf>, String> {
    if !step::works("go", &["version"]) {
        println!("SKIPPED: no Go here, and Debian's is too old. Install Go 1.26.");
        return Ok(None);
    }
    let program = step::programs()?.join("go-walk");
    step::run(Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(folder().join("go")))?;
    Ok(Some(program))
}

/// The tests of a folder, with what its lock file names.
fn node(folder: &Path) -> Outcome {
    let (server, player) = (step::server()?, step::player()?);
    step::need_git()?;
    installed(folder)?;
    step::run(node_tests(folder).env(BINARY, server).env(PLAYER, player))
}

/// Installs what a folder's lock file names.
fn installed(folder: &Path) -> Outcome {
    for program in ["node", "npm"] {
        if !step::works(program, &["--version"]) {
            return Err(format!("{program} is missing: install Node 20 or newer"));
        }
    }
    step::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
}

/// Node's test runner in a folder: all of its tests, or those that are named then.
fn node_tests(folder: &Path) -> Command {
    let mut tests = Command::new("node");
    tests.args(["--test", "--test-reporter=spec"]).current_dir(folder);
    tests
}

/// python-socketio, in a virtual environment of its own.
pub(crate) fn python() -> Outcome {
    let (server, player) = (step::server()?, step::player()?);
    let Some(python) = python_with_client()? else { return Ok(()) };
    unittests(&python, &folder().join("python"), &server, &player)
}

/// The OpenAPI document against the server: schemathesis, in a virtual environment of its own.
pub(crate) fn openapi() -> Outcome {
    let (server, player) = (step::server()?, step::player()?);
    let folder = step::workspace().join("tests/openapi");
    let Some(python) = python_with("python-openapi", &folder, &["--require-hashes"])? else { return Ok(()) };
    unittests(&python, &folder, &server, &player)
}

/// The Python tests of a folder.
fn unittests(python: &Path, folder: &Path, server: &Path, player: &Path) -> Outcome {
    step::need_git()?;
    let mut tests = Command::new(python);
    tests.args(["-B", "-m", "unittest", "--verbose"]).current_dir(folder);
    step::run(tests.env(BINARY, server).env(PLAYER, player))
}

/// An interpreter that has what the requirements of the Python clients name.
fn python_with_client() -> Result<Option<PathBuf>, String> {
    python_with("python-clients", &folder().join("python"), &[])
}

/// An interpreter that has what a folder's requirements.txt names; none on a machine without Python and without a way
/// to install it, which the output then says.
fn python_with(environment: &str, folder: &Path, how: &[&str]) -> Result<Option<PathBuf>, String> {
    let Some(python) = self::environment(environment)? else { return Ok(None) };
    step::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"])
            .args(how)
            .current_dir(folder),
    )?;
    Ok(Some(python))
}

/// The interpreter of a virtual environment, made if it is missing; none on a machine without Python and without a way
/// to install it, which the output then says.
fn environment(name: &str) -> Result<Option<PathBuf>, String> {
    let place = step::programs()?.join(name);
    let python = place.join("bin/python");
    if python.exists() {
        return Ok(Some(python));
    }
    let missing = !step::works("python3", &["-c", "import venv, ensurepip"]);
    if step::need_if(missing, "python3 with venv", &["python3", "python3-venv"]).is_err() {
        println!("SKIPPED: no Python here, and no way to install it. Install python3 and python3-venv.");
        return Ok(None);
    }
    step::run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    Ok(Some(python))
}
