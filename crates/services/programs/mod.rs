//! Programs that the server runs for its domains: how, as whom, with which environment, and what becomes
//! of those that outlive it.
//!
//! Guarantees: no program sees a `TIDINGS_*` variable or the path of the data directory; one that a killed
//! server left behind is killed by [`Programs::recover`].
//! It is not a domain: what a program means, and how its end is told, is its service's.

pub(crate) mod decode;
mod environment;
pub(crate) mod line;
pub(crate) mod meter;
pub(crate) mod process;
pub(crate) mod reader;
mod survivors;
mod table;
pub(crate) mod terminal;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tidings_core::{Error, Result};

pub use self::environment::Environment;
use self::{
    process::{Program, SystemUser, wrapped},
    survivors::Survivors,
};

/// The variable by which a program that outlived its server is known.
const MARK: &str = "SERVER_MARK";

/// How programs are run.
#[derive(Debug, Clone)]
pub struct ProgramsConfig {
    /// The environment of every program.
    pub env: Environment,
    /// The system user that programs run as; the server's own by default. Needs a server that runs as root.
    pub user: Option<String>,
    /// A program and arguments put before every command, such as a sandbox. `{root}` in an argument
    /// is replaced by the project's root. Empty by default.
    pub wrapper: Vec<String>,
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
        Self { env: Environment::default(), user: None, wrapper: Vec::new(), grace_ms: 5_000, data_dir }
    }
}

/// What runs programs, shared by the domains.
#[derive(Debug)]
pub struct Programs {
    env: Environment,
    user: Option<SystemUser>,
    wrapper: Vec<String>,
    grace: Duration,
    survivors: Survivors,
    /// Which server a program belongs to: of each data directory another one.
    mark: String,
}

/// A digest: it tells nobody where the directory is.
fn mark_of(data_dir: &Path) -> String {
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

impl Programs {
    /// Gets ready. The data directory must be there; it gets a folder `run`.
    ///
    /// # Errors
    /// `invalid_data` for a system user that is not there or that the server may not become;
    /// `unavailable` when the data directory cannot be written.
    pub fn new(config: ProgramsConfig) -> Result<Arc<Self>> {
        let user = config.user.as_deref().map(SystemUser::find).transpose()?;
        let unusable = |error| Error::unavailable(format!("the data directory cannot be used: {error}"));
        let survivors = Survivors::open(&config.data_dir).map_err(unusable)?;
        let data_dir = config.data_dir.canonicalize().map_err(unusable)?;
        let mark = mark_of(&data_dir);
        let env = config.env.without(&data_dir.to_string_lossy());
        let grace = Duration::from_millis(config.grace_ms);
        Ok(Arc::new(Self { env, user, wrapper: config.wrapper, grace, survivors, mark }))
    }

    /// Kills what a former life of the server left running. To be called once, before anything is started.
    ///
    /// # Errors
    /// `unavailable` when the folder `run` cannot be read.
    pub async fn recover(&self) -> Result<()> {
        let survivors = self.survivors.clone();
        let mark = format!("{MARK}={}", self.mark);
        // What was started and not yet remembered when the server was killed is found by its mark.
        let kill = move || survivors.kill_all().map(|groups| groups + table::kill_marked(&mark));
        match tokio::task::spawn_blocking(kill).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(killed)) => {
                tracing::warn!(killed, "process groups of a former life of the server were killed");
                Ok(())
            }
            Ok(Err(error)) => Err(Error::unavailable(format!("the folder run cannot be read: {error}"))),
            Err(_) => Err(Error::internal()),
        }
    }

    /// The shell of the environment of every program, if it names one.
    pub(crate) fn shell(&self) -> Option<&str> {
        self.env.get("SHELL")
    }

    /// From TERM to KILL.
    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    /// A program in a directory of a project, with the wrapper before it.
    pub(crate) fn program(&self, argv: Vec<String>, root: PathBuf) -> Program {
        let mut environment = self.env.clone();
        environment.set("PWD", &root.to_string_lossy());
        environment.set(MARK, &self.mark);
        if let Some(user) = &self.user {
            environment.set("HOME", &user.home);
            environment.set("USER", &user.name);
            environment.set("LOGNAME", &user.name);
        }
        Program { argv: wrapped(&self.wrapper, &root, argv), root, environment, user: self.user.clone() }
    }

    /// Remembers a process group under the id of what runs in it, so that the next start ends it if this
    /// server is killed.
    pub(crate) async fn remember(&self, id: &str, group: i32) {
        let (survivors, name) = (self.survivors.clone(), id.to_owned());
        let done = tokio::task::spawn_blocking(move || survivors.remember(&name, group)).await;
        if let Ok(Err(error)) = done {
            // A program that has ended already is not in the process list; nobody will miss it.
            tracing::debug!(id, %error, "the process group is not remembered");
        }
    }

    /// Forgets it.
    pub(crate) async fn forget(&self, id: &str) {
        let (survivors, name) = (self.survivors.clone(), id.to_owned());
        // It fails only when the runtime ends, and then the next start forgets it.
        drop(tokio::task::spawn_blocking(move || survivors.forget(&name)).await);
    }
}
