//! A program that runs: started in a group of its own, and ended with the whole of it.
//!
//! Guarantees: a child sees the environment it is given and nothing else, and a wrapper nothing of what somebody chose
//! for the program inside, who does not say either where the wrapper is found; it never runs before what the server
//! does itself; when a [`Group`] goes out of scope, its processes are killed. Descendants that make a group of
//! their own escape it until the server stops: a wrapper that separates programs holds them, too.
//! It is not a judge of what may run.
//!
//! A start must not copy the server: of a process with many connections that takes longer than most programs
//! run, and the server pays again for each page that it then writes to. The standard library starts a program
//! without a copy, unless it runs as another user, is to be looked for on a `PATH` of its own, or something is
//! to be done between copy and start. So the program is looked for here, and a pipe is handed over without
//! doing anything there.

use std::{
    borrow::Cow,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use parking_lot::RwLock;
use rustix::{
    fs::{Mode, fchmod},
    io::{Errno, FdFlags, fcntl_setfd},
    process::{Pid, Signal, getuid, kill_process_group, setpriority_pgrp},
};
use tidings_core::{Error, Result};
use tokio::{
    net::unix::pipe::Receiver,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::{
    alone,
    environment::Environment,
    handed, lookup,
    table::Family,
    wall::{Wall, behind},
};
use crate::blocking::blocking;

/// A terminal that is being opened is inherited by whatever starts meanwhile, until it is marked; a pipe that is
/// handed over, until its program has started. So starts share this lock, and these two have it alone.
pub(super) static STARTING: RwLock<()> = RwLock::new(());

/// What starts a program that is a text without a first line that names its interpreter, as for `execvp`.
const SHELL: &str = "/bin/sh";

/// The most characters of a program's name that an error shows.
const SHOWN: usize = 200;

/// The system user that programs run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemUser {
    pub(crate) name: String,
    uid: u32,
    gid: u32,
    pub(crate) home: String,
}

impl SystemUser {
    /// Looks a user up in the system's list.
    ///
    /// # Errors
    /// `invalid_data` naming `run.user`, when there is no such user or the server may not become it.
    pub(crate) fn find(name: &str) -> Result<Self> {
        let user = Self::known(name)?;
        if !user.can_be_run_as() {
            let why = "only a server that runs as root can start programs as another user";
            return Err(Error::invalid_field("run.user", why));
        }
        Ok(user)
    }

    /// Looks a user up, whoever this process runs as.
    ///
    /// # Errors
    /// `invalid_data` naming `run.user`, when there is no such user.
    pub(super) fn known(name: &str) -> Result<Self> {
        let refuse = |why: &str| Error::invalid_field("run.user", why);
        let list = std::fs::read_to_string("/etc/passwd").map_err(|_| refuse("the list of users cannot be read"))?;
        Self::in_list(&list, name).ok_or_else(|| refuse("there is no such user"))
    }

    /// Whether this process can start programs as that user.
    pub(super) fn can_be_run_as(&self) -> bool {
        getuid().is_root() || getuid().as_raw() == self.uid
    }

    /// Its id and its group's, unless it is the server's own user.
    pub(super) fn of_another(&self) -> Option<(u32, u32)> {
        (self.uid != getuid().as_raw()).then_some((self.uid, self.gid))
    }

    fn in_list(list: &str, name: &str) -> Option<Self> {
        list.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [user, _, uid, gid, _, home, ..] = fields[..] else { return None };
            if user != name {
                return None;
            }
            Some(Self { name: user.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.to_owned() })
        })
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// What stands before it: the server's own; empty for none.
    pub(super) wrapper: Vec<String>,
    /// The program and its arguments. Not empty.
    pub(super) argv: Vec<String>,
    pub(crate) root: PathBuf,
    /// The variables that the server decides on: the wrapper sees them, too.
    pub(crate) environment: Environment,
    /// Those that somebody chose, which win: for the program alone.
    pub(super) chosen: Environment,
    pub(crate) user: Option<SystemUser>,
    /// Its priority, in the system's measure; none is the server's own.
    pub(crate) nice: Option<i32>,
    /// What it may touch; none for whatever its user may.
    pub(crate) wall: Option<Arc<Wall>>,
}

/// What a start comes down to.
pub(super) struct Line<'a> {
    argv: Vec<String>,
    environment: Cow<'a, Environment>,
    /// What its process inherits beside its input and its output.
    pub(super) inherits: Vec<OwnedFd>,
}

/// A running program and the ends of its pipes.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) group: Group,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Program {
    /// Gives it a variable that somebody chose.
    pub(crate) fn give(&mut self, name: &str, value: &str) {
        self.chosen.set(name, value);
    }

    /// Sets a variable of the server's, whatever was chosen.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.chosen.remove(name);
        self.environment.set(name, value);
    }

    /// Names the file that is run.
    pub(crate) fn run_file(&mut self, file: &Path) {
        if let Some(name) = self.argv.first_mut() {
            *name = file.to_string_lossy().into_owned();
        }
    }

    /// Lets it begin in another directory than the project's.
    pub(crate) fn enter(&mut self, dir: PathBuf) {
        self.environment.set("PWD", &dir.to_string_lossy());
        self.root = dir;
    }

    /// Starts it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn start(self) -> io::Result<Running> {
        // Looking for it reads the directories of a path, and the system comes back when it runs.
        blocking(move || self.start_here()).await.map_err(io::Error::other)?
    }

    /// The same. Blocks until it has started.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start_here(&self) -> io::Result<Running> {
        let mut line = self.line()?;
        inheriting(std::mem::take(&mut line.inherits), || self.spawn(&line))
    }

    /// Starts it with a pipe of its own to report on, whose name it finds in `variable`: a file that it appends
    /// lines to. Blocks until it has started.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start_reporting(mut self, variable: &str) -> io::Result<(Running, Receiver)> {
        let (reader, writer) = io::pipe()?;
        if self.user.is_some() {
            // Another user opens it by its name, too.
            fchmod(&writer, Mode::from_raw_mode(0o622))?;
        }
        self.set(variable, &format!("/dev/fd/{}", writer.as_raw_fd()));
        let receiver = Receiver::from_owned_fd(reader.into())?;
        let mut line = self.line()?;
        let mut inherits = std::mem::take(&mut line.inherits);
        inherits.push(writer.into());
        let running = inheriting(inherits, || self.spawn(&line))?;
        Ok((running, receiver))
    }

    /// What its start comes down to.
    ///
    /// # Errors
    /// The system's, when it has no file left; a variable with a NUL.
    pub(super) fn line(&self) -> io::Result<Line<'_>> {
        let (mut argv, mut inherits) = (self.wrapper.clone(), Vec::new());
        let mut environment = Cow::Borrowed(&self.environment);
        if argv.is_empty() {
            let merged = environment.to_mut();
            self.chosen.iter().for_each(|(name, value)| merged.set(name, value));
        } else if !self.chosen.is_empty() {
            let (inside, file) = handed::hand_over(&self.chosen)?;
            argv.extend(inside);
            inherits.push(file);
        }
        argv.extend(self.argv.iter().cloned());
        Ok(Line { argv, environment, inherits })
    }

    /// Starts it; what it inherits is the callers' to see to.
    fn spawn(&self, line: &Line<'_>) -> io::Result<Running> {
        let mut child = match self.begin(self.command(line)?) {
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                self.begin(self.through_shell(line)?)
            }
            started => started,
        }
        .map_err(|error| self.not_started(line, &error))?;
        let group = Group::of(&child)?;
        self.step_back(&group);
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Running { child, group, stdin, stdout, stderr })
    }

    /// Starts a command line with pipes, behind its wall.
    fn begin(&self, command: Command) -> io::Result<Child> {
        let mut command = piped(command);
        let user = self.runs_as().filter(|_| self.is_alone());
        behind(self.wall.as_deref(), move || {
            user.map_or(Ok(()), |(uid, gid)| alone::become_user(uid, gid))?;
            command.spawn()
        })
    }

    /// What the system said of a start, with what it was about: the system names neither. Arguments are left out: they
    /// may hold secrets.
    pub(super) fn not_started(&self, line: &Line<'_>, error: &io::Error) -> io::Error {
        let name: String = line.argv.first().map(|name| name.chars().take(SHOWN).collect()).unwrap_or_default();
        let what = if self.wrapper.is_empty() { "the program" } else { "the wrapper (run.wrapper)" };
        let why = match error.kind() {
            io::ErrorKind::NotFound => format!("{what} '{name}', or an interpreter that it names, is not there"),
            io::ErrorKind::PermissionDenied => {
                let sandbox =
                    if self.wall.is_some() { "; its sandbox lets it run what run.sandbox_read names" } else { "" };
                let root = self.root.display();
                format!("{what} '{name}' may not be run, or the directory {root} not be entered{sandbox}")
            }
            _ => format!("{what} '{name}'"),
        };
        io::Error::new(error.kind(), format!("{why}: {error}"))
    }

    /// Whether the kernel keeps it from starting others. Then the thread that starts it becomes its user first.
    fn is_alone(&self) -> bool {
        self.wall.as_deref().is_some_and(Wall::is_alone)
    }

    /// Lets it step back behind the server.
    pub(super) fn step_back(&self, group: &Group) {
        let Some(nice) = self.nice else { return };
        if let Err(error) = setpriority_pgrp(Some(group.leader), nice) {
            tracing::debug!(group = group.id(), %error, "a program that has just started keeps the server's priority");
        }
    }

    /// The command line of a text without an interpreter.
    fn through_shell(&self, line: &Line<'_>) -> io::Result<Command> {
        let name = line.argv.first().map(String::as_str).unwrap_or_default();
        let found = self.found(name, line)?.map_or_else(|| name.to_owned(), |path| path.to_string_lossy().into_owned());
        self.running(SHELL.as_ref(), SHELL, line, [&[found], line.argv.get(1..).unwrap_or_default()].concat())
    }

    /// A command line in its directory, with its environment, as its user.
    pub(super) fn command(&self, line: &Line<'_>) -> io::Result<Command> {
        let (name, arguments) = line.argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if !self.root.is_dir() {
            let why = format!("the directory {} is not there, or cannot be looked at", self.root.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let file = self.found(name, line)?.unwrap_or_else(|| name.into());
        self.running(&file, name, line, arguments.to_vec())
    }

    /// A file with these arguments, under this name.
    fn running(&self, file: &Path, name: &str, line: &Line<'_>, arguments: Vec<String>) -> io::Result<Command> {
        let mut command = Command::new(file);
        command
            .arg0(name)
            .args(arguments)
            .current_dir(&self.root)
            .env_clear()
            .envs(line.environment.iter())
            .kill_on_drop(true);
        if let Some((uid, gid)) = self.runs_as().filter(|_| !self.is_alone()) {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// Where a program that is named without a folder is; none where that is the system's to find out.
    ///
    /// # Errors
    /// There is no such wrapper outside of the project.
    fn found(&self, name: &str, line: &Line<'_>) -> io::Result<Option<PathBuf>> {
        let path = line.environment.get("PATH");
        if !self.wrapper.is_empty() {
            let missing = || io::Error::new(io::ErrorKind::NotFound, "the wrapper (run.wrapper) is not there");
            return lookup::find_apart(name, path).map(Some).ok_or_else(missing);
        }
        // Another user may run other files.
        let as_the_server = self.runs_as().is_none() && !name.contains('/');
        Ok(as_the_server.then(|| lookup::find(name, path, &self.root)).flatten())
    }

    /// The user and the group that it runs as, if they are not the server's own.
    pub(super) fn runs_as(&self) -> Option<(u32, u32)> {
        self.user.as_ref().and_then(SystemUser::of_another)
    }
}

/// A process group that ends with this value; of a program in a terminal, its whole session.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    /// Whether its leader leads a session, too.
    session: bool,
    over: bool,
}

impl Group {
    pub(super) fn of(child: &Child) -> io::Result<Self> {
        Ok(Self { leader: leader_of(child)?, session: false, over: false })
    }

    /// The same, of a program that leads a session: it ends with all groups of that.
    pub(super) fn of_session(child: &Child) -> io::Result<Self> {
        Ok(Self { leader: leader_of(child)?, session: true, over: false })
    }

    /// The id of its first process, which is the group's.
    pub(crate) fn id(&self) -> i32 {
        self.leader.as_raw_nonzero().get()
    }

    /// Asks all its processes to end, also those that stand still.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Tells them that their terminal is gone: what closing its window does.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
        self.signal(Signal::CONT);
    }

    /// Makes all its processes stand still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets them go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills all its processes.
    pub(crate) async fn kill(&self) {
        if !self.session {
            return self.signal(Signal::KILL);
        }
        let family = Family(self.id());
        // If the runtime ends, so does this value.
        drop(blocking(move || family.kill()).await);
    }

    /// The same. In a terminal that takes a look at the system's list of processes.
    fn kill_here(&self) {
        if self.session {
            Family(self.id()).kill();
        } else {
            self.signal(Signal::KILL);
        }
    }

    /// Kills what is left of it, for the last time. Blocks, if it is of a terminal.
    pub(crate) fn finish(mut self) {
        self.kill_here();
        self.over = true;
    }

    fn signal(&self, signal: Signal) {
        // A group without processes is what is wanted; nothing else can be done about a failure.
        if let Err(error) = kill_process_group(self.leader, signal) {
            tracing::trace!(group = self.id(), %error, "no process of the group took the signal");
        }
    }
}

fn leader_of(child: &Child) -> io::Result<Pid> {
    let raw = child.id().and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
    raw.and_then(Pid::from_raw).ok_or_else(|| io::Error::other("a child without an id"))
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.kill_here();
        }
    }
}

/// A wrapper for a project. Its program is the configuration's to name.
pub(super) fn for_root(wrapper: &[String], root: &Path) -> Vec<String> {
    let root = root.to_string_lossy();
    wrapper.iter().map(|part| part.replace("{root}", &root)).collect()
}

/// The command in a group of its own, with pipes.
fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

/// Starts something that inherits these, and nothing else does.
pub(super) fn inheriting<T>(inherits: Vec<OwnedFd>, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if inherits.is_empty() {
        let _inherits_nothing = STARTING.read();
        return spawn();
    }
    let _nothing_else_inherits_it = STARTING.write();
    for file in &inherits {
        fcntl_setfd(file, FdFlags::empty())?;
    }
    let spawned = spawn();
    // Before anything else starts.
    drop(inherits);
    spawned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let list = "root:x:0:0:root:/root:/bin/sh\nagent:x:1001:1002::/home/agent:/bin/sh\nbad:x:y:z\n";
        let user = SystemUser::in_list(list, "agent").expect("found");
        assert_eq!((user.uid, user.gid, user.home.as_str()), (1001, 1002, "/home/agent"));
        assert_eq!(SystemUser::in_list(list, "age"), None);
        assert_eq!(SystemUser::in_list(list, "bad"), None);
    }

    #[test]
    fn a_wrapper_knows_the_root() {
        let wrapper = ["box", "--bind={root}", "--"].map(str::to_owned);
        assert_eq!(for_root(&wrapper, Path::new("/p")), ["box", "--bind=/p", "--"]);
    }
}
