//! A program that runs: started in a group of its own, and ended with the whole of it.
//!
//! Guarantees: a child sees the environment it is given and nothing else; it never runs before what the server
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
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Stdio,
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

use super::{environment::Environment, lookup, table::Family};
use crate::blocking::blocking;

/// A terminal that is being opened is inherited by whatever starts meanwhile, until it is marked; a pipe that is
/// handed over, until its program has started. So starts share this lock, and these two have it alone.
pub(super) static STARTING: RwLock<()> = RwLock::new(());

/// What starts a program that is a text without a first line that names its interpreter, as for `execvp`.
const SHELL: &str = "/bin/sh";

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
    /// The program and its arguments, with the wrapper. Not empty.
    pub(crate) argv: Vec<String>,
    pub(crate) root: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) user: Option<SystemUser>,
    /// Its priority, in the system's measure; none is the server's own.
    pub(crate) nice: Option<i32>,
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
        let _inherits_nothing = STARTING.read();
        self.spawn()
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
        self.environment.set(variable, &format!("/dev/fd/{}", writer.as_raw_fd()));
        let receiver = Receiver::from_owned_fd(reader.into())?;
        let _nothing_else_inherits_it = STARTING.write();
        fcntl_setfd(&writer, FdFlags::empty())?;
        let running = self.spawn();
        // Before anything else starts.
        drop(writer);
        Ok((running?, receiver))
    }

    /// Starts it; what it inherits is the callers' to see to.
    fn spawn(&self) -> io::Result<Running> {
        let mut child = match self.piped(&self.argv)?.spawn() {
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => self.through_shell()?.spawn(),
            started => started,
        }?;
        let group = Group::of(&child)?;
        self.step_back(&group);
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Running { child, group, stdin, stdout, stderr })
    }

    /// Lets it step back behind the server.
    pub(super) fn step_back(&self, group: &Group) {
        let Some(nice) = self.nice else { return };
        if let Err(error) = setpriority_pgrp(Some(group.leader), nice) {
            tracing::debug!(group = group.id(), %error, "a program that has just started keeps the server's priority");
        }
    }

    /// The command line of a text without an interpreter.
    fn through_shell(&self) -> io::Result<Command> {
        let name = self.argv.first().map(String::as_str).unwrap_or_default();
        let found = self.found(name).map_or_else(|| name.to_owned(), |path| path.to_string_lossy().into_owned());
        let rest = self.argv.iter().skip(1).cloned();
        let argv: Vec<String> = [SHELL.to_owned(), found].into_iter().chain(rest).collect();
        self.piped(&argv)
    }

    /// The command in a group of its own, with pipes.
    fn piped(&self, argv: &[String]) -> io::Result<Command> {
        let mut command = self.command(argv)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Ok(command)
    }

    /// A command line in its directory, with its environment, as its user.
    pub(super) fn command(&self, argv: &[String]) -> io::Result<Command> {
        let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if !self.root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the project's directory is not there"));
        }
        let mut command = match self.found(program) {
            Some(path) => Command::new(path),
            None => Command::new(program),
        };
        command
            .arg0(program)
            .args(arguments)
            .current_dir(&self.root)
            .env_clear()
            .envs(self.environment.iter())
            .kill_on_drop(true);
        if let Some((uid, gid)) = self.runs_as() {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// Where a program that is named without a folder is; none where that is the system's to find out.
    fn found(&self, name: &str) -> Option<PathBuf> {
        // Another user may run other files.
        let as_the_server = self.runs_as().is_none() && !name.contains('/');
        as_the_server.then(|| lookup::find(name, self.environment.get("PATH"), &self.root)).flatten()
    }

    /// The user and the group that it runs as, if they are not the server's own.
    pub(super) fn runs_as(&self) -> Option<(u32, u32)> {
        self.user.as_ref().filter(|user| user.uid != getuid().as_raw()).map(|user| (user.uid, user.gid))
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

/// A command line with the wrapper before it.
pub(crate) fn wrapped(wrapper: &[String], root: &Path, argv: Vec<String>) -> Vec<String> {
    let root = root.to_string_lossy();
    wrapper.iter().map(|part| part.replace("{root}", &root)).chain(argv).collect()
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
    fn a_wrapper_comes_first_and_knows_the_root() {
        let wrapper = ["box", "--bind={root}", "--"].map(str::to_owned);
        let argv = wrapped(&wrapper, Path::new("/p"), vec!["sh".to_owned()]);
        assert_eq!(argv, ["box", "--bind=/p", "--", "sh"]);
    }
}
