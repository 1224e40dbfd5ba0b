//! A run of git: its environment, its bounds, its end.
//!
//! Guarantees: git asks nobody anything, edits nothing in an editor, shows nothing in a pager, and starts
//! nothing that stays; its run ends in time with all its processes, and what it prints is bounded.
//! It is not the judgement of what a result means.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use tidings_core::{Code, Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    config::GitConfig,
    contract::Progress,
    place::{Paths, Place, Purpose, Repository},
    progress::Listener,
    shadow::{Folder, Shadows},
    tools::{self, Toolbox, Tools},
};
use crate::{
    blocking::blocking,
    programs::{
        Programs,
        process::{Program, Running},
    },
};

/// How long the pipes are read on after git has ended: somebody else may hold their other end.
const AFTERWARDS: Duration = Duration::from_millis(200);
/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// Settings of every run: what would wait, stay, be run that nobody asked for, or look into repositories within.
const SETTINGS: &[(&str, &str)] = &[
    ("color.ui", "false"),
    ("core.quotePath", "false"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("checkout.workers", "1"),
    ("log.showSignature", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("diff.ignoreSubmodules", "dirty"),
    ("diff.submodule", "short"),
    ("status.submoduleSummary", "false"),
    ("commit.verbose", "false"),
    ("merge.autoStash", "false"),
    ("rebase.autoStash", "false"),
    ("protocol.ext.allow", "never"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("advice.detachedHead", "false"),
];

/// The environment of every run.
const VARIABLES: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", ""),
    ("SSH_ASKPASS", ""),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("GIT_SSH_VARIANT", "ssh"),
    ("GIT_PROGRESS_DELAY", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", ":"),
    ("GIT_SEQUENCE_EDITOR", ":"),
    ("GIT_MERGE_AUTOEDIT", "no"),
];

/// No folder, and none can be made in it.
const NOWHERE: &str = "/dev/null";

/// Commands that are given paths of clients: paths, and no patterns.
const TAKES_PATHS: [&str; 4] = ["add", "reset", "diff", "log"];

/// Why a run was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It took too long.
    Timeout,
    /// It printed more than was wanted.
    Enough,
    /// It was asked to.
    Asked,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    /// Standard output, where it was collected: at most the limit.
    pub(super) printed: Vec<u8>,
    /// The newest lines for people.
    pub(super) said: String,
    pub(super) stopped: Option<Stop>,
}

/// What becomes of standard output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Printed {
    /// It is collected, up to so many bytes; the run ends with more.
    Collect(usize),
    /// It is for people.
    Say,
}

/// Runs git.
#[derive(Debug, Clone)]
pub(super) struct Git {
    pub(super) programs: Arc<Programs>,
    pub(super) config: GitConfig,
    pub(super) shadows: Arc<Shadows>,
    toolbox: Arc<Toolbox>,
}

impl Git {
    /// Gets ready.
    pub(super) fn new(programs: Arc<Programs>, config: GitConfig) -> Self {
        let own = || Folder::Own(std::env::temp_dir().join(format!("tidings-git-{}", programs.mark())));
        let folder = config.shadow_dir.clone().map_or_else(own, Folder::Named);
        let shadows = Arc::new(Shadows::new(folder, programs.mark(), programs.owner()));
        Self { programs, config, shadows, toolbox: Arc::default() }
    }

    /// Runs a command that reads, and collects at most so many bytes of what it prints.
    ///
    /// # Errors
    /// `not_found` when the directory is gone, `unavailable` when git cannot be run or takes too long.
    pub(super) async fn read(&self, place: &Place, args: &[&str], limit: usize) -> Result<Finished> {
        self.run(place, Purpose::Read, args, limit).await
    }

    /// The same for any purpose.
    ///
    /// # Errors
    /// As [`Git::read`].
    pub(super) async fn run(&self, place: &Place, purpose: Purpose, args: &[&str], limit: usize) -> Result<Finished> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let running = self.start(place, purpose, &args, Paths::Literal).await?;
        self.collect(running, limit).await
    }

    async fn collect(&self, running: Running, limit: usize) -> Result<Finished> {
        let bounds = Bounds { grace: self.programs.grace(), timeout: self.config.read_timeout };
        let finished = bounds.attend(running, Printed::Collect(limit), pending(), &mut |_| ()).await;
        let finished = finished.map_err(|error| unusable(&error))?;
        if finished.stopped == Some(Stop::Timeout) {
            return Err(Error::unavailable("git takes too long for this repository: see git.read_timeout"));
        }
        Ok(finished)
    }

    /// Starts git.
    ///
    /// # Errors
    /// As [`Git::read`]; `unavailable` where nothing would hold it.
    pub(super) async fn start(
        &self,
        place: &Place,
        purpose: Purpose,
        args: &[String],
        paths: Paths,
    ) -> Result<Running> {
        tools::check(&self.programs, &self.config)?;
        let mut program = self.program(place, purpose, args, paths);
        let is_free = self.config.repository_programs && purpose != Purpose::Read;
        let tools =
            if is_free || !tools::has_wall(&self.programs, &self.config) { None } else { Some(self.tools().await?) };
        if !self.programs.is_wrapped() {
            // Never one that lies in the project.
            program.run_file(&tools::git(&self.programs)?);
        }
        let (git, place) = (self.clone(), place.clone());
        let start = move || {
            if !program.root.is_dir() {
                return Err(gone());
            }
            if let Some(tools) = tools {
                program.wall = Some(Arc::new(tools::wall(&tools, &git.programs, &git.config, &place, purpose)));
            }
            program.start_here().map_err(|error| unusable(&error))
        };
        blocking(start).await?
    }

    async fn tools(&self) -> Result<Arc<Tools>> {
        let ask = |git: PathBuf, wall| async move {
            let argv = vec![git.to_string_lossy().into_owned(), "--exec-path".to_owned()];
            let mut program = self.programs.program(argv, "/".into());
            program.wall = Some(Arc::new(wall));
            let running = program.start().await.map_err(|error| unusable(&error))?;
            let finished = self.collect(running, CHUNK).await?;
            Ok(String::from_utf8_lossy(&finished.printed).into_owned())
        };
        self.toolbox.open(&self.programs, ask).await
    }

    /// A script of the server's own in a project, with words that it finds as its arguments.
    pub(super) fn script(&self, root: &Path, script: &str, words: &[&str]) -> Program {
        let argv = ["sh", "-c", script, "sh"].iter().chain(words).map(|&word| word.to_owned()).collect();
        let mut program = self.outside(argv, root);
        if tools::has_wall(&self.programs, &self.config) {
            program.wall = Some(Arc::new(tools::scripts(root)));
        }
        program
    }

    /// A program in a project that finds no other one in it.
    fn outside(&self, argv: Vec<String>, root: &Path) -> Program {
        let mut program = self.programs.program(argv, root.to_owned());
        program.environment.set("PATH", &self.programs.path_apart());
        program
    }

    fn program(&self, place: &Place, purpose: Purpose, args: &[String], paths: Paths) -> Program {
        let mut argv = vec!["git".to_owned(), "--no-pager".to_owned()];
        argv.extend(args.iter().cloned());
        let mut program = self.outside(argv, &place.root);
        let ssh = tools::ssh(&self.programs, &self.config);
        let environment = &mut program.environment;
        let has_ssh = environment.iter().any(|(name, _)| name == "GIT_SSH_COMMAND");
        for (name, value) in VARIABLES {
            environment.set(name, value);
        }
        // Not for all: git calls itself with patterns of its own, for one to clear away what a stash took.
        let takes_paths = args.first().is_some_and(|command| TAKES_PATHS.contains(&command.as_str()));
        if takes_paths && paths == Paths::Literal {
            environment.set("GIT_LITERAL_PATHSPECS", "1");
        }
        if !has_ssh {
            environment.set("GIT_SSH_COMMAND", &ssh);
        }
        let protocols = match purpose {
            Purpose::Read => "none".to_owned(),
            Purpose::Alone | Purpose::Resume | Purpose::Change | Purpose::Reach => self.config.protocols.join(":"),
        };
        environment.set("GIT_ALLOW_PROTOCOL", &protocols);
        if purpose == Purpose::Read {
            environment.set("GIT_OPTIONAL_LOCKS", "0");
            environment.set("GIT_NO_LAZY_FETCH", "1");
        }
        if let Some(above) = place.root.parent() {
            environment.set("GIT_CEILING_DIRECTORIES", &above.to_string_lossy());
        }
        match &place.repository {
            Repository::ToCome => {}
            Repository::Without => environment.set("GIT_DIR", NOWHERE),
            Repository::Here(here) => {
                environment.set("GIT_DIR", &here.git_dir.to_string_lossy());
                environment.set("GIT_WORK_TREE", &here.tree.to_string_lossy());
                if let Some(shadow) = &here.shadow {
                    environment.set("GIT_COMMON_DIR", &shadow.dir().to_string_lossy());
                }
            }
        }
        // As variables: a name in a setting of `-c` could hold a '=' and so mean another one.
        let hooks =
            (purpose == Purpose::Read || !self.config.repository_programs).then_some(("core.hooksPath", NOWHERE));
        let mut count = 0;
        for (name, value) in SETTINGS.iter().copied().chain(hooks) {
            environment.set(&format!("GIT_CONFIG_KEY_{count}"), name);
            environment.set(&format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        environment.set("GIT_CONFIG_COUNT", &count.to_string());
        program
    }
}

/// The refusal where a project's directory is gone.
pub(super) fn gone() -> Error {
    Error::new(Code::NotFound, "the project's directory is not there any more")
}

fn unusable(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return tools::missing();
    }
    Error::unavailable(format!("git cannot be run: {error}"))
}

/// How long a run may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// From TERM to KILL.
    pub(super) grace: Duration,
    /// The longest; zero for no limit.
    pub(super) timeout: Duration,
}

impl Bounds {
    /// Attends a run until its end. `asked` resolves when it is to end before.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn attend(
        self,
        running: Running,
        printed: Printed,
        asked: impl Future<Output = ()>,
        hear: &mut (dyn FnMut(Progress) + Send),
    ) -> io::Result<Finished> {
        let Running { mut child, group, stdin, stdout, stderr } = running;
        drop(stdin);
        let mut ears = Ears {
            stdout: Pipe::of(stdout),
            stderr: Pipe::of(stderr),
            printed,
            out: Vec::new(),
            lines: Listener::default(),
            errors: Listener::default(),
            hear,
        };
        let mut asked = std::pin::pin!(asked);
        let mut overdue = std::pin::pin!(after(self.timeout));
        let mut force = std::pin::pin!(after(Duration::ZERO));
        let mut stopped = None;
        let status = loop {
            let stop = tokio::select! {
                status = child.wait() => break status?,
                enough = ears.listen() => enough.then_some(Stop::Enough),
                () = &mut overdue, if stopped.is_none() => Some(Stop::Timeout),
                () = &mut asked, if stopped.is_none() => Some(Stop::Asked),
                () = &mut force, if stopped.is_some() => {
                    group.kill().await;
                    force.set(after(Duration::ZERO));
                    None
                }
            };
            if stop.is_some() && stopped.is_none() {
                stopped = stop;
                group.terminate();
                force.set(after(self.grace.max(Duration::from_millis(1))));
            }
        };
        group.finish();
        // What was printed before the end may still be in the pipes.
        let rest = async {
            while ears.is_open() {
                ears.listen().await;
            }
        };
        drop(tokio::time::timeout(AFTERWARDS, rest).await);
        Ok(ears.finished(status, stopped))
    }
}

/// Resolves after a time; never, if that is zero.
async fn after(time: Duration) {
    if time.is_zero() {
        pending::<()>().await;
    }
    tokio::time::sleep(time).await;
}

/// One end of a pipe, as long as there is something to read.
struct Pipe<R>(Option<R>, Box<[u8]>);

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn of(reader: R) -> Self {
        Self(Some(reader), vec![0; CHUNK].into_boxed_slice())
    }

    /// The next bytes. Nothing at the end, and for ever after it.
    async fn next(&mut self) -> &[u8] {
        let Some(reader) = &mut self.0 else { return pending().await };
        // A pipe that fails has nothing more to say.
        let length = reader.read(&mut self.1).await.unwrap_or(0);
        if length == 0 {
            self.0 = None;
        }
        &self.1[..length]
    }
}

struct Ears<'a, O, E> {
    stdout: Pipe<O>,
    stderr: Pipe<E>,
    printed: Printed,
    out: Vec<u8>,
    lines: Listener,
    errors: Listener,
    hear: &'a mut (dyn FnMut(Progress) + Send),
}

impl<O: AsyncRead + Unpin, E: AsyncRead + Unpin> Ears<'_, O, E> {
    fn is_open(&self) -> bool {
        self.stdout.0.is_some() || self.stderr.0.is_some()
    }

    /// Hears the next bytes of either pipe. Says whether more was printed than is wanted.
    async fn listen(&mut self) -> bool {
        let Self { stdout, stderr, printed, out, lines, errors, hear } = self;
        let (bytes, listener) = tokio::select! {
            bytes = stdout.next() => match printed {
                Printed::Collect(limit) => {
                    let room = limit.saturating_sub(out.len());
                    out.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    return bytes.len() > room;
                }
                Printed::Say => (bytes, lines),
            },
            bytes = stderr.next() => (bytes, errors),
        };
        listener.hear(bytes).into_iter().for_each(hear);
        false
    }

    fn finished(self, status: ExitStatus, stopped: Option<Stop>) -> Finished {
        let said = self.lines.said() + &self.errors.said();
        Finished { status, printed: self.out, said, stopped }
    }
}
