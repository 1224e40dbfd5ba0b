//! One server that runs to be measured.
//!
//! Guarantees: it runs on a free port of loopback, in a fresh directory, with nothing of this process's
//! environment that could configure it; it is killed and its directory removed when it is dropped.
//! It is started as it is shipped: no setting but address and data directory, and what the plan says that a
//! work needs.

use std::{
    fmt, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    machine::Machine,
    plan::{self, Peer, Work},
};
use crate::outside::{self, Programs};

/// How long a server may take to be ready, and the time between two looks.
const READY_LOOKS: u32 = 300;
const LOOK: Duration = Duration::from_millis(50);
/// How much of a failed server's output is shown.
const SHOWN_LINES: usize = 15;

/// What the peers accept: signed with the secret `secret`, of the user `bench`, valid until 2100.
const PEER_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCIsImV4cCI6NDEwMjQ0NDgwMH0.\
    M5ymjahU6IH4_Tv2204_TGKmrbXe_ckPOEfMLTRCBbE";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One of those to compare with.
    Peer(Peer),
    /// Ours.
    Tidings,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    port: u16,
    token: String,
    home: TempDir,
}

impl Running {
    /// Starts one for a work and waits until it is ready.
    pub(crate) fn start(work: Work, kind: Kind, programs: &Programs, machine: &Machine) -> Result<Self, String> {
        let home = tempfile::Builder::new().prefix("server-").tempdir_in(&programs.scratch);
        let home = home.map_err(|error| format!("no directory for the server: {error}"))?;
        let port = free_port()?;
        let said = fs::File::create(home.path().join("output")).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = said.map_err(|error| format!("no file for the server's output: {error}"))?;
        let mut command = command(kind, programs, machine, port);
        if kind == Kind::Tidings {
            let known = |setting: &&(&str, &str)| knows(&programs.tidings, **setting, home.path());
            command.envs(plan::settings(work).iter().filter(known).copied());
        }
        command.current_dir(home.path()).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = machine.start_server(&mut command)?;
        let mut server = Self { child, port, token: PEER_TOKEN.to_owned(), home };
        server.wait_until_ready(kind)?;
        if kind == Kind::Tidings {
            server.token = token(&programs.tidings, server.home.path())?;
        }
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The end of what it wrote, for people.
    pub(crate) fn last_words(&self) -> String {
        let said = fs::read_to_string(self.home.path().join("output")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        format!("the server's last lines:\n{}", lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"))
    }

    fn wait_until_ready(&mut self, kind: Kind) -> Result<(), String> {
        for _ in 0..READY_LOOKS {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                return Err(format!("it ended with {status}; {}", self.last_words()));
            }
            let connection = TcpStream::connect(("127.0.0.1", self.port));
            if connection.is_ok_and(|connection| kind != Kind::Tidings || is_ready(connection).unwrap_or(false)) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Err(format!("it does not become ready; {}", self.last_words()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

fn command(kind: Kind, programs: &Programs, machine: &Machine, port: u16) -> Command {
    match kind {
        Kind::Tidings => {
            let mut command = machine.on_a_leash(&programs.tidings);
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--data-dir", "data"]);
            // Nobody's settings but the defaults.
            command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
            command
        }
        Kind::Peer(Peer::Node) => {
            let mut command = machine.on_a_leash("node");
            command.arg(outside::folder().join("node/server.js")).arg(port.to_string()).env("NODE_ENV", "production");
            command
        }
        Kind::Peer(peer) => {
            let mut command = machine.on_a_leash(programs.bench.join(peer.package().unwrap_or_default()));
            command.arg(port.to_string()).env("TOKIO_WORKER_THREADS", "1");
            command
        }
    }
}

/// Whether a program knows a setting. An older one may not, and then has no such bound either.
fn knows(tidings: &Path, setting: (&str, &str), home: &Path) -> bool {
    let mut command = Command::new(tidings);
    command.args(["check", "--data-dir", "data"]).current_dir(home).env_clear().envs([setting]);
    command.output().is_ok_and(|output| output.status.success())
}

/// A token as an operator makes one, beside the running server.
fn token(tidings: &Path, home: &Path) -> Result<String, String> {
    let mut said = String::new();
    // The program may be an older one, whose word for a subject was this.
    for whose in ["--subject", "--user"] {
        let mut command = Command::new(tidings);
        command.args(["token", whose, "bench", "--role", "admin", "--ttl", "1d", "--data-dir", "data"]);
        let output = command.current_dir(home).env_clear().output().map_err(|error| format!("no token: {error}"))?;
        let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !token.is_empty() {
            return Ok(token);
        }
        said.push_str(String::from_utf8_lossy(&output.stderr).trim());
    }
    Err(format!("no token: {said}"))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

fn is_ready(mut connection: TcpStream) -> std::io::Result<bool> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

/// Waits for a program's end and its output, which is short; kills it when it takes too long.
pub(crate) fn wait(mut child: Child, patience: Duration) -> Result<Output, String> {
    for _ in 0..patience.as_millis() / LOOK.as_millis() {
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            return child.wait_with_output().map_err(|error| error.to_string());
        }
        thread::sleep(LOOK);
    }
    child.kill().and_then(|()| child.wait()).ok();
    Err(format!("it took longer than {} s", patience.as_secs()))
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Peer(peer) => peer.name(),
            Self::Tidings => "Tidings",
        })
    }
}
