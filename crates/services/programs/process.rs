//! A program that runs: started in a group of its own, and ended with the whole of it.
//!
//! Guarantees: a child sees the environment it is given and nothing else; when a [`Group`] goes out
//! of scope, its processes are killed. Descendants that make a group of their own escape it: a
//! wrapper that separates programs holds them, too.
//! It is not a judge of what may run.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::RwLock;
use rustix::{
    fs::{Mode, fchmod},
    process::{Pid, Signal, getuid, kill_process_group},
};
use tidings_core::{Error, Result};
use tokio::{
    net::unix::pipe::Receiver,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::{environment::Environment, table::Family};

/// A terminal that is being opened is inherited by whatever starts meanwhile, until it is marked: so starts
/// share this lock, and an opening has it alone.
pub(super) static STARTING: RwLock<()> = RwLock::new(());

/// The descriptor of the pipe that a program reports on.
const REPORT_FD: i32 = 3;
/// The name under which a program finds that pipe: a file that it appends lines to.
pub(crate) const REPORT: &str = "/dev/fd/3";

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
        let refuse = |why: &str| Error::invalid_field("run.user", why);
        let list = std::fs::read_to_string("/etc/passwd").map_err(|_| refuse("the list of users cannot be read"))?;
        let user = Self::in_list(&list, name).ok_or_else(|| refuse("there is no such user"))?;
        if !getuid().is_root() && getuid().as_raw() != user.uid {
            return Err(refuse("only a server that runs as root can start programs as another user"));
        }
        Ok(user)
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
    pub(crate) fn start(&self) -> io::Result<Running> {
        spawn(self.piped()?)
    }

    /// Starts it with a pipe of its own to report on, which it finds under the name in [`REPORT`].
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start_reporting(&self) -> io::Result<(Running, Receiver)> {
        let (reader, writer) = io::pipe()?;
        if self.user.is_some() {
            // Another user opens it by its name, too.
            fchmod(&writer, Mode::from_raw_mode(0o622))?;
        }
        let mut command = self.piped()?;
        let mapping = FdMapping { parent_fd: writer.into(), child_fd: REPORT_FD };
        command.fd_mappings(vec![mapping]).map_err(|error| io::Error::other(error.to_string()))?;
        let receiver = Receiver::from_owned_fd(reader.into())?;
        Ok((spawn(command)?, receiver))
    }

    /// The command in a group of its own, with pipes.
    fn piped(&self) -> io::Result<Command> {
        let mut command = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Ok(command)
    }

    /// The command line in its directory, with its environment, as its user.
    pub(super) fn command(&self) -> io::Result<Command> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if !self.root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the project's directory is not there"));
        }
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).env_clear().envs(self.environment.iter()).kill_on_drop(true);
        if let Some((uid, gid)) = self.runs_as() {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// The user and the group that it runs as, if they are not the server's own.
    pub(super) fn runs_as(&self) -> Option<(u32, u32)> {
        self.user.as_ref().filter(|user| user.uid != getuid().as_raw()).map(|user| (user.uid, user.gid))
    }
}

fn spawn(mut command: Command) -> io::Result<Running> {
    let mut child = {
        let _inherits_no_terminal = STARTING.read();
        command.spawn()?
    };
    let group = Group::of(&child)?;
    let missing = || io::Error::other("a pipe is missing");
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    Ok(Running { child, group, stdin, stdout, stderr })
}

/// A process group that ends with this value; of a program in a terminal, its whole session.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    over: bool,
}

impl Group {
    pub(super) fn of(child: &Child) -> io::Result<Self> {
        let raw = child.id().and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
        let leader = raw.and_then(Pid::from_raw).ok_or_else(|| io::Error::other("a child without an id"))?;
        Ok(Self { leader, over: false })
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

    /// Kills all its processes. In a terminal that takes a look at the system's list of processes.
    pub(crate) fn kill(&self) {
        Family(self.id()).kill();
    }

    /// Kills what is left of it, for the last time.
    pub(crate) fn finish(mut self) {
        self.kill();
        self.over = true;
    }

    fn signal(&self, signal: Signal) {
        // A group without processes is what is wanted; nothing else can be done about a failure.
        if let Err(error) = kill_process_group(self.leader, signal) {
            tracing::trace!(group = self.id(), %error, "no process of the group took the signal");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
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
