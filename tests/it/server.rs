//! A real server for a test: a directory and a port of its own, and an end.
//!
//! Guarantees: the environment of whoever runs the tests does not reach it; it listens when `start`
//! returns; it is killed when dropped. It is the program that `SERVER_BINARY` names (`cargo xtask test` names the
//! release binary), or else the one that cargo built for the tests.
//! It is not a client: see `watcher`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_client::{
    Endpoint,
    http::{self, Method, Response},
};

/// Only a fault takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What names the file that faults are switched on in.
pub(crate) const FAULTS: &str = "SERVER_FAULTS";

/// Where programs are found, in an environment that is empty otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A running server.
pub(crate) struct Server {
    home: TempDir,
    environment: Vec<(String, String)>,
    /// A program with arguments that the server is started by.
    before: Vec<String>,
    process: Process,
}

/// Dropping it kills it.
struct Process {
    child: Child,
    address: String,
    password: Option<String>,
    // A closed pipe would be another situation than the one that is tested.
    output: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// With this as its `tidings.toml`.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// With further variables in its environment; `{data}` in one is the data directory.
    pub(crate) fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("tidings.toml"), config).expect("writes");
        Self::start_in(home, environment)
    }

    /// In a directory that is there already.
    pub(crate) fn start_in(home: TempDir, environment: &[(&str, &str)]) -> Self {
        let data = home.path().join("data").display().to_string();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{data}", &data))).collect();
        let process = launch(&[], home.path(), "127.0.0.1:0", &environment);
        Self { home, environment, before: Vec::new(), process }
    }

    /// In a directory that is there already, by a program that puts itself in the server's place.
    pub(crate) fn start_within(home: TempDir, before: &[String]) -> Self {
        let process = launch(before, home.path(), "127.0.0.1:0", &[]);
        Self { home, environment: Vec::new(), before: before.to_vec(), process }
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().expect("is killed");
        self.process.child.wait().expect("ends");
    }

    /// Starts it again at the same address, after `kill` or `stop`.
    pub(crate) fn start_again(&mut self) {
        let address = self.process.address.clone();
        self.process = launch(&self.before, self.home.path(), &address, &self.environment);
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.process.child), Signal::TERM).expect("is told");
    }

    /// Waits until it has ended, however it does. Blocks.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.process.child.wait().expect("ends")
    }

    /// Waits until it has ended, in order. Blocks.
    pub(crate) fn has_stopped(&mut self) {
        let status = self.process.child.wait().expect("ends");
        assert!(status.success() && self.said().contains("stopped"), "{status}: {}", self.said());
    }

    /// Stops it in order. Blocks.
    pub(crate) fn stop(&mut self) {
        self.terminate();
        self.has_stopped();
    }

    /// What it said on standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.home.path().join("said")).expect("reads")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.process.address)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.url()).expect("a URL")
    }

    /// Its home: the directory that it was started in.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The password of `admin`, which only the first start says.
    pub(crate) fn password(&self) -> &str {
        self.process.password.as_deref().expect("the first start")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The memory that it does not share with files, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).expect("runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.child.id())).expect("runs").count()
    }

    /// A token from the command line, of somebody who is no user of the server, with these arguments beside.
    pub(crate) fn token(&self, subject: &str, arguments: &[&str]) -> String {
        self.cli(&[&["token", "--subject", subject], arguments].concat(), "").trim().to_owned()
    }

    /// The same of a user of the server, by name or id.
    pub(crate) fn token_of(&self, user: &str, arguments: &[&str]) -> String {
        self.cli(&[&["token", "--user", user], arguments].concat(), "").trim().to_owned()
    }

    /// A token that may do everything.
    pub(crate) fn admin(&self) -> String {
        self.token("root", &["--role", "admin"])
    }

    /// What a command beside the server prints. It must succeed.
    pub(crate) fn cli(&self, arguments: &[&str], input: &str) -> String {
        std::fs::write(self.home.path().join("input"), input).expect("writes");
        let mut command = in_home(&self.before, program(), self.home.path());
        command.args(arguments).stdin(File::open(self.home.path().join("input")).expect("opens"));
        let output = command.output().expect("runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Response {
        let body = body.map(|body| ("application/json", body.to_string().into()));
        http::request(method, &self.url(), path, Some(token), body).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Response {
        self.call(Method::GET, path, token, None).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Response {
        self.call(Method::POST, path, token, Some(body)).await
    }

    /// Publishes an event or several: their places.
    pub(crate) async fn publish(&self, token: &str, events: Value) -> Vec<Value> {
        let response = self.post("/api/events", token, events).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["results"].as_array().expect("results").clone()
    }

    /// A figure of the metrics; zero where there is none yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics", "").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |figure| figure.parse().expect("a number"))
    }
}

/// The program: what is shipped, where whoever runs the tests says so.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so, and tests have no configuration")]
pub(crate) fn program() -> PathBuf {
    std::env::var_os("SERVER_BINARY").map_or_else(program_with_faults, PathBuf::from)
}

/// The program as tests are built, with the faults that no release has.
fn program_with_faults() -> PathBuf {
    env!("CARGO_BIN_EXE_tidings").into()
}

/// The program, in this directory and with an empty environment.
pub(crate) fn tidings(home: &Path) -> Command {
    in_home(&[], program(), home)
}

/// The same, with faults to switch on.
pub(crate) fn tidings_with_faults(home: &Path) -> Command {
    in_home(&[], program_with_faults(), home)
}

/// A program in this directory, started by another one.
fn in_home(before: &[String], program: PathBuf, home: &Path) -> Command {
    let mut line = before.iter().map(Into::into).chain([program]);
    let mut command = Command::new(line.next().expect("the program at least"));
    command.args(line);
    command.env_clear().env("PATH", PATH).current_dir(home).args(["--data-dir", "data"]);
    command
}

fn launch(before: &[String], home: &Path, listen: &str, environment: &[(String, String)]) -> Process {
    let said = File::options().create(true).append(true).open(home.join("said")).expect("opens");
    let has_faults = environment.iter().any(|(name, _)| name == FAULTS);
    let program = if has_faults { program_with_faults() } else { program() };
    let mut command = in_home(before, program, home);
    command.args(["serve", "--listen", listen]).envs(environment.iter().cloned());
    let mut child = command.stdout(Stdio::piped()).stderr(said).spawn().expect("starts");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut process = Process { child, address: String::new(), password: None, output };
    let mut line = String::new();
    while process.output.read_line(&mut line).expect("reads") > 0 {
        if let Some(password) = line.strip_prefix("admin password: ") {
            process.password = password.split_whitespace().next().map(str::to_owned);
        }
        if let Some(address) = line.trim().strip_prefix("listening on http://") {
            address.clone_into(&mut process.address);
            return process;
        }
        line.clear();
    }
    let said = std::fs::read_to_string(home.join("said")).unwrap_or_default();
    panic!("the server did not start: {said}");
}

/// Waits until this is so; asks again and again.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    found(what, async || so().await.then_some(())).await;
}

/// Waits until there is something to give; asks again and again.
pub(crate) async fn found<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let turn = Duration::from_millis(20);
    let waiting = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(turn).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("it never came: {what}"))
}

/// An event of a type that no service emits, in the channel of a session.
pub(crate) fn note(session: &str, n: u64) -> Value {
    json!({"type": "session.note", "data": {"sessionId": session, "n": n}})
}

/// The same, several at once.
pub(crate) fn notes(session: &str, numbers: std::ops::RangeInclusive<u64>) -> Value {
    numbers.map(|n| note(session, n)).collect()
}
