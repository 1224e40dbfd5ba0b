//! A server that is started, asked, stopped, killed, and started again.
//!
//! Guarantees: it has a directory of its own and nothing of this process's environment; it is killed and
//! its directory removed when it is dropped, and it ends with this process even if that is killed.
//! It is not built here: the program is given.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_load::{clock, http::Connection, process::Process};

use crate::{fleet::until, ledger::History, random::hash};

/// How long a start, and a stop beyond its drain time, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of what it said is shown.
const SHOWN_LINES: usize = 12;

/// What servers are started from.
#[derive(Debug, Clone)]
pub struct Yard {
    /// The program.
    pub binary: PathBuf,
    /// Where directories are made.
    pub scratch: PathBuf,
    /// Where servers keep their data, if not in their directory.
    pub data: Option<PathBuf>,
    /// Whether servers may be told to panic, where their program can.
    pub faults: bool,
}

/// The file in a server's directory that says where it is to panic.
const FAULTS: &str = "faults";

impl Yard {
    /// Removes the directories of runs that were killed before they could.
    ///
    /// # Errors
    /// If the directory cannot be read, or one of them not be removed.
    pub fn clear(&self) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", self.scratch.display());
        for entry in fs::read_dir(&self.scratch).map_err(told)? {
            let (name, place) = entry.map(|entry| (entry.file_name(), entry.path())).map_err(told)?;
            let owner = name.to_string_lossy().rsplit_once('-').and_then(|(_, id)| id.parse::<u32>().ok());
            if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
                fs::remove_dir_all(&place).map_err(told)?;
            }
        }
        Ok(())
    }
}

/// The server.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    home: PathBuf,
    data: PathBuf,
    child: Option<Child>,
    host: SocketAddr,
    token: String,
    faults: bool,
}

/// What a process takes of the system, and what it says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Footprint {
    /// Resident memory in bytes.
    pub memory: f64,
    /// Open files.
    pub files: usize,
    /// Connections, as its metrics say.
    pub connections: f64,
    /// Subscriptions, as its metrics say.
    pub subscriptions: f64,
}

impl Server {
    /// Starts one with this `tidings.toml`, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn start(yard: &Yard, name: &str, config: &str) -> Result<Self, String> {
        let home = yard.scratch.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        fs::write(home.join("tidings.toml"), config).map_err(|error| error.to_string())?;
        let host = SocketAddr::from(([127, 0, 0, 1], 0));
        let data = yard.data.clone().unwrap_or_else(|| home.join("data"));
        if yard.faults {
            fs::write(home.join(FAULTS), "").map_err(|error| error.to_string())?;
        }
        let (binary, token, faults) = (yard.binary.clone(), String::new(), yard.faults);
        let mut server = Self { binary, home, data, child: None, host, token, faults };
        server.start_again()?;
        server.token = server.token_for("chaos", "admin")?;
        Ok(server)
    }

    /// Starts it again, where it was, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready; what it said is in the text.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.start_listening()?;
        let mut ready = false;
        let decided = until(PATIENCE, || {
            ready = self.is_ready();
            ready || self.has_ended().is_some()
        });
        if decided && ready { Ok(()) } else { Err(format!("it does not become ready; {}", self.last_words())) }
    }

    /// Starts it, where it was, and waits until it listens, whether it is ready or not.
    ///
    /// # Errors
    /// If it does not listen; what it said is in the text.
    pub fn start_listening(&mut self) -> Result<(), String> {
        let open = |name: &str| File::options().create(true).append(true).open(self.home.join(name));
        File::create(self.home.join("output")).map_err(|error| error.to_string())?;
        let (output, said) =
            open("output").and_then(|output| Ok((output, open("said")?))).map_err(|it| it.to_string())?;
        // It ends with this process even if nobody can end it in order.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.binary);
        command.args(["serve", "--listen", &self.host.to_string(), "--data-dir"]).arg(&self.data);
        command.current_dir(&self.home).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        // All clients are one user here, and more than one may have.
        command.env("TIDINGS_SOCKET__MAX_CONNECTIONS_PER_USER", "0");
        command.envs(self.faults.then_some(("SERVER_FAULTS", FAULTS)));
        command.stdin(Stdio::null()).stdout(output).stderr(said);
        self.child = Some(command.spawn().map_err(|error| format!("setpriv of util-linux does not start: {error}"))?);
        let mut host = None;
        let decided = until(PATIENCE, || {
            host = self.address();
            host.is_some() || self.has_ended().is_some()
        });
        self.host = host.filter(|_| decided).ok_or_else(|| format!("it does not listen; {}", self.last_words()))?;
        Ok(())
    }

    fn address(&self) -> Option<SocketAddr> {
        let output = fs::read_to_string(self.home.join("output")).ok()?;
        output.lines().find_map(|line| line.strip_prefix("listening on http://"))?.parse().ok()
    }

    /// How it ended, if it did.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok()).flatten()
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way it is gone after this.
            child.kill().and_then(|()| child.wait()).ok();
        }
    }

    /// Stops it in order, and waits for its end.
    ///
    /// # Errors
    /// If it does not end, or not in order.
    pub fn stop(&mut self) -> Result<(), String> {
        let status = self.terminate(PATIENCE)?;
        if status.success() { Ok(()) } else { Err(format!("it stopped with {status}; {}", self.last_words())) }
    }

    /// Asks it to stop, and waits until it has ended, in order or not: how.
    ///
    /// # Errors
    /// If it does not end in this time.
    pub fn ends_within(&mut self, limit: Duration) -> Result<String, String> {
        self.terminate(limit).map(|status| status.to_string())
    }

    fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), Signal::TERM).map_err(|error| error.to_string())?;
        }
        let mut status = None;
        let ended = until(limit, || {
            status = self.has_ended();
            status.is_some()
        });
        status
            .filter(|_| ended)
            .ok_or_else(|| format!("it does not stop within {} s; {}", limit.as_secs(), self.last_words()))
    }

    /// Where it listens.
    #[must_use]
    pub fn host(&self) -> SocketAddr {
        self.host
    }

    /// A token that may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where it keeps everything.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Lets the next start find its data elsewhere.
    pub fn move_to(&mut self, data: &Path) {
        data.clone_into(&mut self.data);
    }

    /// Its process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn process(&self) -> Result<Process, String> {
        self.child.as_ref().map(|child| Process::new(child.id())).ok_or_else(|| "it does not run".to_owned())
    }

    /// A connection for questions.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn ask(&self) -> Result<Connection, String> {
        Connection::open(self.host, &self.token)
    }

    /// Whether it says of itself that messages flow.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let asked = self.ask().and_then(|mut connection| connection.exchange("GET", "/health/ready", ""));
        matches!(asked, Ok((200, _)))
    }

    /// What `/health/live` or `/health/ready` answers: the status and the body.
    ///
    /// # Errors
    /// If no answer comes.
    pub fn health(&self, which: &str) -> Result<(u16, String), String> {
        self.ask()?.exchange("GET", &format!("/health/{which}"), "")
    }

    /// What it takes now.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn footprint(&self) -> Result<Footprint, String> {
        let text = self.ask()?.get("/metrics")?;
        let child = self.child.as_ref().ok_or("it does not run")?.id();
        let files = fs::read_dir(format!("/proc/{child}/fd")).map_err(|error| error.to_string())?.count();
        let (connections, subscriptions) = (gauge(&text, "tidings_connections"), gauge(&text, "tidings_subscriptions"));
        Ok(Footprint { memory: self.process()?.resident()?, files, connections, subscriptions })
    }

    /// A figure of its metrics; zero where there is none yet.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn metric(&self, name: &str) -> Result<f64, String> {
        Ok(gauge(&self.ask()?.get("/metrics")?, name))
    }

    /// The oldest number that it keeps of a channel.
    ///
    /// # Errors
    /// If it does not answer, or not so that it can be understood.
    pub fn first(&self, channel: &str) -> Result<u64, String> {
        let page = self.ask()?.get(&format!("/api/channels/{channel}/events?limit=1"))?;
        let page: Page<'_> = serde_json::from_str(&page).map_err(|error| format!("{channel}: {error}"))?;
        Ok(page.first)
    }

    /// All that it keeps of a channel.
    ///
    /// # Errors
    /// If it does not answer, or not so that it can be understood.
    pub fn history(&self, channel: &str) -> Result<History, String> {
        let mut connection = self.ask()?;
        let (mut history, mut after) = (History::default(), 0);
        loop {
            let page = connection.get(&format!("/api/channels/{channel}/events?limit=1000&after={after}"))?;
            let page: Page<'_> = serde_json::from_str(&page).map_err(|error| format!("{channel}: {error}"))?;
            history.events.extend(page.events.iter().map(|event| (event.seq, hash(event.data.get().as_bytes()))));
            (history.epoch, history.first, history.head) = (page.epoch.to_owned(), page.first, page.head);
            match page.next.filter(|_| page.more) {
                Some(next) => after = next,
                None => return Ok(history),
            }
        }
    }

    /// How often it said that something in it panicked that was not told to.
    #[must_use]
    pub fn panics(&self) -> usize {
        panics(&fs::read_to_string(self.home.join("said")).unwrap_or_default())
    }

    /// Whether its program can be told to panic: it says so when it starts.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        let said = fs::read_to_string(self.home.join("said")).unwrap_or_default();
        self.faults && said.contains("faults are armed by a file")
    }

    /// Tells it where to panic from now on, in the words of its file of faults.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn switch_on(&self, line: &str) -> Result<(), String> {
        let file = File::options().append(true).open(self.home.join(FAULTS));
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).map_err(|error| error.to_string())
    }

    /// The end of what it said, for people.
    #[must_use]
    pub fn last_words(&self) -> String {
        let said = fs::read_to_string(self.home.join("said")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        format!("its last lines:\n{}", lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"))
    }

    /// A token of this user with this role, as an operator makes one, beside the running server.
    ///
    /// # Errors
    /// If none is made.
    pub fn token_for(&self, user: &str, role: &str) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        command.args(["token", "--subject", user, "--role", role, "--ttl", "1d", "--data-dir"]).arg(&self.data);
        let output =
            command.current_dir(&self.home).env_clear().output().map_err(|error| format!("no token: {error}"))?;
        let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let made = output.status.success() && !token.is_empty();
        if made { Ok(token) } else { Err(format!("no token: {}", String::from_utf8_lossy(&output.stderr).trim())) }
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Err(error) = fs::remove_dir_all(&self.home) {
            // The next run of this process's number would stumble over it.
            report_left_over(&self.home, &error);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a destructor can tell nobody else")]
fn report_left_over(home: &Path, error: &std::io::Error) {
    eprintln!("{} was not removed: {error}", home.display());
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<Event<'a>>,
    epoch: &'a str,
    first: u64,
    head: u64,
    more: bool,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Event<'a> {
    seq: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The panics in what a server said, but for those that it was told to make.
fn panics(said: &str) -> usize {
    let lines: Vec<&str> = said.lines().collect();
    let told = |at: usize| lines.get(at + 1).is_some_and(|line| line.starts_with("a fault was asked for: "));
    lines.iter().enumerate().filter(|(at, line)| line.contains("panicked at") && !told(*at)).count()
}

fn gauge(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|figure| figure.trim().parse().ok()).unwrap_or(0.0)
}

/// The time that something takes.
pub fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = clock::now();
    let done = what();
    (done, clock::since(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\ntidings_connections_ended 7\ntidings_connections 5\n";
        assert_eq!(gauge(text, "tidings_connections"), 5.0);
        assert_eq!(gauge(text, "tidings_other"), 0.0);
    }

    #[test]
    fn a_panic_that_was_asked_for_is_none() {
        let told = "thread 'a' panicked at a.rs:1:1:\na fault was asked for: a.b\nnote: run with it\n";
        let other = "x\nthread 'b' (7) panicked at b.rs:1:1:\nindex out of bounds\n";
        assert_eq!([panics(told), panics(other), panics(&format!("{told}{other}{told}"))], [0, 1, 1]);
    }

    #[test]
    fn only_what_a_killed_run_left_is_cleared() {
        let scratch = std::env::temp_dir().join(format!("chaos-clear-{}", std::process::id()));
        let own = format!("kill-{}", std::process::id());
        // No process has the largest number.
        let left = format!("kill-{}", u32::MAX);
        for name in [own.as_str(), left.as_str(), "else"] {
            fs::create_dir_all(scratch.join(name).join("data")).expect("a directory");
        }
        Yard { binary: PathBuf::new(), scratch: scratch.clone(), data: None, faults: false }.clear().expect("clears");
        let stay = [own.as_str(), left.as_str(), "else"].map(|name| scratch.join(name).exists());
        fs::remove_dir_all(&scratch).expect("removes");
        assert_eq!(stay, [true, false, true]);
    }

    #[test]
    fn a_program_that_does_not_become_ready_is_an_error_with_its_words_and_leaves_nothing() {
        let scratch = std::env::temp_dir();
        let yard = Yard { binary: "/bin/false".into(), scratch: scratch.clone(), data: None, faults: false };
        let failed = Server::start(&yard, "chaos-none", "").expect_err("no server");
        assert!(failed.contains("does not listen"), "{failed}");
        assert!(!scratch.join(format!("chaos-none-{}", std::process::id())).exists());
    }
}
