//! Programs that the server runs for its domains: how, as whom, with which environment, and what becomes
//! of those that outlive it.
//!
//! Guarantees: no program sees a `TIDINGS_*` variable or the path of the data directory; what programs do yields
//! to what the server does; one that a killed server left behind is ended by [`Programs::recover`], one that got
//! away from its service by [`Programs::stop`]; no program of another data directory's server is killed.
//! It is not a domain: what a program means, and how its end is told, is its service's.

mod alone;
mod calls;
pub(crate) mod decode;
mod environment;
mod handed;
pub(crate) mod line;
mod lookup;
mod mark;
pub(crate) mod meter;
pub(crate) mod process;
pub(crate) mod reader;
mod sandbox;
mod starter;
mod survivors;
mod table;
pub(crate) mod terminal;
#[cfg(test)]
mod tests;
pub(crate) mod wall;

use std::{
    io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use rustix::process::getpriority_process;
use tidings_core::{Error, Result};
use tokio::{
    net::unix::pipe,
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep},
};

pub use self::{
    environment::Environment,
    sandbox::{Level, Sandbox},
};
use self::{
    mark::{MARK, Mark},
    process::{Program, Running, SystemUser, for_root},
    starter::Starter,
    survivors::Survivors,
};
use crate::blocking::blocking;

/// How long a program that was started in its turn is young: so many times as long as its start took. That is a
/// few milliseconds, and more where others want the processors.
const YOUTH: u32 = 4;

/// The longest that what outlived the server may take to end by itself: the start waits for it.
const MOMENT: Duration = Duration::from_secs(2);

/// The lowest priority that the system knows.
const LOWEST: i32 = 19;

/// How programs are run.
#[derive(Debug, Clone)]
pub struct ProgramsConfig {
    /// The environment of every program.
    pub env: Environment,
    /// The system user that programs run as; the server's own by default. Needs a server that runs as root.
    pub user: Option<String>,
    /// A program and arguments put before every command, such as a sandbox. `{root}` in an argument
    /// is replaced by the project's root. It gets `env` and what the server adds, and nothing that somebody chose for
    /// the program inside. Empty by default.
    pub wrapper: Vec<String>,
    /// What programs are kept from by the kernel, of sessions, terminals and steps; nothing by default. Not with a wrapper.
    pub sandbox: Sandbox,
    /// The files of the configuration, with the secrets that it names: no program in a sandbox sees one.
    pub files: Vec<PathBuf>,
    /// How far programs step back behind the server where both want the same processor, from 0 for not at all
    /// to 19; 15 by default: a program then gets a thirtieth of what the server gets.
    pub nice: i32,
    /// From TERM to KILL, in milliseconds; 5,000 by default.
    pub grace_ms: u64,
    /// The data directory: its folder `run` remembers process groups for the next start. No program
    /// gets to know its path from the environment.
    pub data_dir: PathBuf,
}

impl ProgramsConfig {
    /// The defaults: an empty environment.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            env: Environment::default(),
            user: None,
            wrapper: Vec::new(),
            sandbox: Sandbox::default(),
            files: Vec::new(),
            nice: 15,
            grace_ms: 5_000,
            data_dir,
        }
    }
}

/// Whether this process can start programs as a system user. Nothing is started.
///
/// # Errors
/// `invalid_data` naming `run.user`, for a user that is not there.
pub fn check_user(name: &str) -> Result<bool> {
    SystemUser::known(name).map(|user| user.can_be_run_as())
}

/// The version of the walls that the running kernel has, and what it does not hold yet; none if it has none.
#[must_use]
pub fn walls() -> Option<(i32, Vec<&'static str>)> {
    wall::abi().map(|abi| (abi, wall::lacking(abi)))
}

/// What is said where the kernel has no walls.
pub const NO_WALLS: &str = wall::MISSING;

/// Whether a program is not there, as far as that can be said before it is started: a program by its name or its absolute
/// path, or the wrapper. False where only the system or the wrapper can tell: of what another user or a sandbox runs, and
/// of what lies in a project.
#[must_use]
pub fn is_missing(config: &ProgramsConfig, program: Option<&str>) -> bool {
    let path = config.env.get("PATH");
    let of_another = config.user.is_some();
    match (program, config.wrapper.first()) {
        (None, None) => false,
        (None, Some(wrapper)) => !of_another && !lookup::is_apart(wrapper, path),
        (Some(_), Some(_)) => false,
        (Some(program), None) => {
            let is_in_projects = program.contains('/') && !program.starts_with('/');
            !of_another && !is_in_projects && !lookup::is_apart(program, path)
        }
    }
}

/// Whether a program that is there lies where its sandbox lets nothing be run that is not in the project.
#[must_use]
pub fn is_kept_from(config: &ProgramsConfig, sandbox: &Sandbox, program: &str) -> bool {
    let file = lookup::find_apart(program, config.env.get("PATH")).and_then(|file| file.canonicalize().ok());
    file.is_some_and(|file| sandbox.keeps_from(&file))
}

/// A program that was started in its turn.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) running: Running,
    /// What it reports on.
    pub(crate) reports: pipe::Receiver,
    pub(crate) youth: Youth,
}

/// The time in which a program that was started in its turn holds back the next: until it has ended, or this
/// is dropped.
#[derive(Debug)]
pub(crate) struct Youth {
    _permit: OwnedSemaphorePermit,
    left: Duration,
}

/// What runs programs, shared by the domains.
#[derive(Debug)]
pub struct Programs {
    env: Environment,
    user: Option<SystemUser>,
    wrapper: Vec<String>,
    sandbox: Sandbox,
    /// What is kept from programs in sandboxes.
    kept: Vec<PathBuf>,
    /// The priority of programs; none is the server's own.
    nice: Option<i32>,
    grace: Duration,
    starter: Starter,
    /// For those that have just started in their turn, one for each processor. Each program has a weight of its
    /// own: a crowd that starts at once would outweigh the server, however far each of them steps back.
    young: Arc<Semaphore>,
    survivors: Survivors,
    mark: Mark,
}

impl Programs {
    /// Gets ready. The data directory must be there; it gets a folder `run`.
    ///
    /// # Errors
    /// `invalid_data` for a system user that is not there or that the server may not become;
    /// `unavailable` when the data directory cannot be written, or the system has no thread left.
    pub fn new(config: ProgramsConfig) -> Result<Arc<Self>> {
        let user = config.user.as_deref().map(SystemUser::find).transpose()?;
        let unusable = |path: &Path, error| Error::unavailable(format!("{} cannot be used: {error}", path.display()));
        let data_dir = config.data_dir.canonicalize().map_err(|error| unusable(&config.data_dir, error))?;
        let mark = Mark::of(&data_dir);
        let survivors = Survivors::open(&config.data_dir, mark.clone())
            .map_err(|error| unusable(&config.data_dir.join("run"), error))?;
        let env = config.env.without(&data_dir.to_string_lossy());
        let grace = Duration::from_millis(config.grace_ms);
        let nice = priority(config.nice);
        let starter = Starter::new(nice).map_err(|error| Error::unavailable(format!("no thread is left: {error}")))?;
        let young = Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get)));
        let (wrapper, sandbox) = (config.wrapper, config.sandbox);
        let named = std::path::absolute(&config.data_dir).unwrap_or(config.data_dir);
        let kept = [config.files, vec![named, data_dir]].concat();
        Ok(Arc::new(Self { env, user, wrapper, sandbox, kept, nice, grace, starter, young, survivors, mark }))
    }

    /// Ends what a former life of the server left running: asks it to, and kills what is left a moment later. To be
    /// called once, before anything is started.
    ///
    /// # Errors
    /// `unavailable` when the folder `run` cannot be read.
    pub async fn recover(&self) -> Result<()> {
        let (survivors, mark) = (self.survivors.clone(), self.mark.clone());
        // What was started and not yet remembered when the server was killed is found by its mark.
        let moment = self.grace.min(MOMENT);
        let end = move || survivors.end_all(moment).map(|groups| groups + mark.end_all(moment));
        match blocking(end).await? {
            Ok(0) => Ok(()),
            Ok(ended) => {
                tracing::warn!(ended, "process groups of a former life of the server were ended");
                Ok(())
            }
            Err(error) => Err(Error::unavailable(format!("the folder run cannot be read: {error}"))),
        }
    }

    /// Kills what got away from its group and its session. To be called when the services have ended their programs:
    /// whatever carries the mark then belongs to nobody.
    pub async fn stop(&self) {
        let mark = self.mark.clone();
        match blocking(move || mark.kill_all()).await {
            Ok(0) => {}
            Ok(killed) => tracing::warn!(killed, "processes that had left the group of their program were killed"),
            Err(error) => tracing::error!(%error, "what had left the group of its program could not be looked for"),
        }
    }

    /// The shell of the environment of every program, if it names one.
    pub(crate) fn shell(&self) -> Option<&str> {
        self.env.get("SHELL")
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.survivors.data_dir()
    }

    /// From TERM to KILL.
    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    /// Whether a wrapper stands before every program.
    pub(crate) fn is_wrapped(&self) -> bool {
        !self.wrapper.is_empty()
    }

    /// What tells this server's things from another's.
    pub(crate) fn mark(&self) -> &str {
        self.mark.value()
    }

    /// The user and the group that programs run as, if they are not the server's own.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        self.user.as_ref().and_then(SystemUser::of_another)
    }

    /// A variable of every program.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        match (&self.user, name) {
            (Some(user), "HOME") => Some(&user.home),
            _ => self.env.get(name),
        }
    }

    /// Where a program is, by its absolute path or on the absolute folders of the programs' path.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        lookup::find_apart(name, self.env.get("PATH"))
    }

    /// The absolute folders of the programs' path: nothing is found in a project by it.
    pub(crate) fn path_apart(&self) -> String {
        lookup::apart(self.env.get("PATH"))
    }

    /// A program in a directory of a project, with the wrapper before it.
    pub(crate) fn program(&self, argv: Vec<String>, root: PathBuf) -> Program {
        let mut environment = self.env.clone();
        environment.set("PWD", &root.to_string_lossy());
        environment.set(MARK, self.mark.value());
        if let Some(user) = &self.user {
            environment.set("HOME", &user.home);
            environment.set("USER", &user.name);
            environment.set("LOGNAME", &user.name);
        }
        let (wrapper, user, nice) = (for_root(&self.wrapper, &root), self.user.clone(), self.nice);
        Program { wrapper, argv, root, environment, chosen: Environment::default(), user, nice, wall: None }
    }

    /// Starts a program in its turn, with a pipe to report on whose name it finds in `variable`, and remembers
    /// its group under an id, as [`Programs::remember`] does. To be forgotten with [`Programs::forget_in_turn`].
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn start_reporting(
        &self,
        program: Program,
        variable: &'static str,
        id: &str,
    ) -> io::Result<Begun> {
        let permit = self.young.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (reply, started) = oneshot::channel();
        let (runtime, survivors, id) = (Handle::current(), self.survivors.clone(), id.to_owned());
        let start = move || {
            // The child and its pipes belong to the runtime of whoever asked.
            let _inside = runtime.enter();
            let start = Instant::now();
            let begun = program.start_reporting(variable).map(|(running, reports)| {
                remember(&survivors, &id, running.group.id());
                Begun { running, reports, youth: Youth { _permit: permit, left: start.elapsed() * YOUTH } }
            });
            // Whoever asked may be gone; then its program goes, too.
            if reply.send(begun).is_err() {
                survivors.forget(&id);
            }
        };
        self.starter.put(start).await;
        started.await.unwrap_or_else(|_| Err(io::Error::other("the server could not start it")))
    }

    /// Forgets what runs under an id, after all that was asked before. Does not wait for it: a group that has
    /// ended and is still remembered is known as such.
    pub(crate) async fn forget_in_turn(&self, id: &str) {
        let (survivors, id) = (self.survivors.clone(), id.to_owned());
        self.starter.put(move || survivors.forget(&id)).await;
    }

    /// Remembers a process group under the id of what runs in it, so that the next start ends it if this
    /// server is killed.
    pub(crate) async fn remember(&self, id: &str, group: i32) {
        let (survivors, name) = (self.survivors.clone(), id.to_owned());
        // It fails only when the runtime ends; then the program is known by its mark.
        drop(blocking(move || remember(&survivors, &name, group)).await);
    }

    /// Forgets it.
    pub(crate) async fn forget(&self, id: &str) {
        let (survivors, name) = (self.survivors.clone(), id.to_owned());
        // It fails only when the runtime ends, and then the next start forgets it.
        drop(blocking(move || survivors.forget(&name)).await);
    }
}

impl Youth {
    /// Lets it pass, and the next start.
    pub(crate) async fn pass(self) {
        sleep(self.left).await;
    }
}

fn remember(survivors: &Survivors, id: &str, group: i32) {
    if let Err(error) = survivors.remember(id, group) {
        // A program that has ended already is not in the process list; nobody will miss it.
        tracing::debug!(id, %error, "the process group is not remembered");
    }
}

/// The priority of what steps back so far behind this process; none if it does not.
fn priority(back: i32) -> Option<i32> {
    let own = getpriority_process(None).unwrap_or(0);
    (back > 0).then(|| own.saturating_add(back).min(LOWEST))
}
