//! One operation from its start to its end: the task that owns git's process and tells what it does.
//!
//! Guarantees: after the start is told, exactly one end is, whatever happens in between, a panic included;
//! when it is told, no process of the operation is left, and what changed by it was told before.
//! It is not where an operation is judged: its place is given, and its command line is made.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tidings_core::{Code, Error, Event, Result, UserId};
use tokio::sync::oneshot;

use super::{
    contract::{
        CANCELLED, COMPLETED, CONFLICT_PATHS, FAILED, Kind, OperationCancelled, OperationCompleted, OperationFailed,
        OperationProgress, OperationStarted, PROGRESS, Progress, STARTED, Status,
    },
    execute::{Bounds, Finished, Printed, Stop},
    failure,
    job::Job,
    names::WORKTREES,
    place::{Paths, Place, Purpose},
    registry::{Reason, Seat},
    repositories::Repositories,
    settle::{leaving_out, todo_names_programs},
};
use crate::telling::{after_panic, tell_by_id};

/// The time between two events of progress of one phase.
const PACE: Duration = Duration::from_secs(1);
/// The most bytes of what git said in an event.
const OUTPUT: usize = 4096;
/// How often a start is tried before its caller is told that the log does not work.
const START_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The most bytes of a list of paths in conflict.
const CONFLICT_BYTES: usize = 64 * 1024;

/// Makes the folder of working trees, unless something leads elsewhere.
const WORKTREES_SCRIPT: &str = "test ! -L .worktrees && test ! -L .worktrees/.gitignore && mkdir -p .worktrees && \
                                printf '*\\n' > .worktrees/.gitignore";

/// An operation on its way.
pub(super) struct Operation {
    pub(super) repositories: Arc<Repositories>,
    pub(super) seat: Seat,
    pub(super) job: Job,
    pub(super) place: Place,
    pub(super) user: UserId,
    /// Whoever waits for its end.
    pub(super) over: Option<oneshot::Sender<Result<()>>>,
}

/// How it ended.
enum End {
    Completed,
    Cancelled(UserId),
    Failed { code: String, message: String, output: String, conflicts: Vec<String> },
}

impl End {
    fn failed(code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self::Failed { code, message, output: String::new(), conflicts: Vec::new() }
    }

    /// The same, for whoever waited for it.
    fn outcome(&self) -> Result<()> {
        match self {
            Self::Completed => Ok(()),
            Self::Cancelled(_) => Err(Error::new(Code::Conflict, "the operation was cancelled")),
            Self::Failed { code, message, .. } => Err(Error::new(Code::Conflict, format!("{message} ({code})"))),
        }
    }
}

impl Operation {
    /// Runs it from its start to its end. `begun` hears of the start as soon as it is durable.
    pub(super) async fn go(mut self, begun: oneshot::Sender<Result<()>>) {
        let started = OperationStarted {
            project_id: self.job.project_id.clone(),
            operation_id: self.seat.live.id.clone(),
            kind: self.job.kind,
            hosted: true,
        };
        let started = Event::new(STARTED, started).by(Some(self.user.clone()));
        let told = self.tell("start", started, Some(START_TRIES)).await;
        let lost = told.is_err();
        // The caller may have gone; the operation goes on all the same.
        drop(begun.send(told));
        if lost {
            // Whether the start was kept is not known: if it was, it gets its end.
            return self.end_if_open().await;
        }
        let end = AssertUnwindSafe(self.work()).catch_unwind().await.unwrap_or_else(|panic| after(&*panic));
        self.repositories.git.programs.forget(self.seat.live.id.as_str()).await;
        let status = self.repositories.refresh(&self.job.project_id, &self.place.root).await;
        let (over, outcome) = (self.over.take(), end.outcome());
        self.seat.live.is_over_now();
        self.tell_end(end, status.ok().flatten()).await;
        // Others may do something here before whoever waited goes on.
        drop(self);
        if let Some(over) = over {
            // Nobody may wait any more.
            drop(over.send(outcome));
        }
    }

    async fn tell_end(&self, end: End, status: Option<Status>) {
        let event = self.end_event(end, status);
        if let Err(error) = self.tell("end", event, None).await {
            let id = &self.seat.live.id;
            tracing::error!(operation = %id, %error, "the end of an operation could not be told; the next start tells it");
        }
    }

    fn end_event(&self, end: End, status: Option<Status>) -> Event {
        let (project_id, operation_id) = (self.job.project_id.clone(), self.seat.live.id.clone());
        let kind = self.job.kind;
        match end {
            End::Completed => {
                let Status { head, branch, .. } = status.unwrap_or_default();
                Event::new(COMPLETED, OperationCompleted { project_id, operation_id, kind, head, branch })
            }
            End::Cancelled(user) => {
                Event::new(CANCELLED, OperationCancelled { project_id, operation_id, kind }).by(Some(user))
            }
            End::Failed { code, message, output, conflicts } => {
                Event::new(FAILED, OperationFailed { project_id, operation_id, kind, code, message, output, conflicts })
            }
        }
    }

    /// Tells an event once, however often that takes: repeats under the same id are one.
    async fn tell(&self, what: &str, event: Event, tries: Option<u32>) -> Result<()> {
        let event = Event { id: Some(format!("git-{}-{what}", self.seat.live.id).into()), ..event };
        tell_by_id(&*self.repositories.ports.bus, vec![event], tries).await
    }

    async fn end_if_open(&self) {
        let mut wait = FIRST_WAIT;
        loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            match self.repositories.project(&self.job.project_id).await {
                Ok(state) => {
                    if state.is_some_and(|state| state.git.operations.contains_key(&self.seat.live.id)) {
                        let why = "the log failed while the operation was starting: try again";
                        self.tell_end(End::failed("start_lost", why), None).await;
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, "the state of a project cannot be read"),
            }
        }
    }

    /// Runs git, and says how that ended.
    async fn work(&self) -> End {
        if self.job.kind == Kind::WorktreeAdd
            && let Some(end) = self.prepare_worktrees().await
        {
            return end;
        }
        let end = self.prepared().await;
        match self.repositories.git.settle(&self.place, &self.job).await {
            Err(error) if matches!(end, End::Completed) => End::failed("git_failed", error.message()),
            _ => end,
        }
    }

    /// What comes before git does what it is for, and that.
    async fn prepared(&self) -> End {
        let (git, job) = (&self.repositories.git, &self.job);
        if job.goes_on_with_a_rebase() && !git.config.repository_programs && todo_names_programs(&self.place).await {
            let why = "the rebase is to run programs (exec): take them out of its list, or abort it";
            return End::failed("program_refused", why);
        }
        // A server that was killed while it made the tree has left it without a repository.
        if let (Some(here), Some(name), Kind::WorktreeRemove) = (self.place.here(), job.tree(), job.kind)
            && let Err(error) = git.mend(&self.place.root, here, name).await
        {
            return End::failed("git_failed", error.message());
        }
        let within = match self.within().await {
            Ok(within) => within,
            Err(error) => return End::failed("git_failed", error.message()),
        };
        match (job.kind, leaving_out(job, &within)) {
            (Kind::Clone, _) => match self.run(&self.place, job.purpose(), &job.args, Paths::Literal).await {
                End::Completed => self.check_out().await,
                end => end,
            },
            (Kind::Commit, Some(add)) => match self.run(&self.place, Purpose::Alone, &add, Paths::Patterns).await {
                End::Completed => {
                    let args: Vec<String> = job.args.iter().filter(|word| *word != "--all").cloned().collect();
                    self.run(&self.place, job.purpose(), &args, Paths::Literal).await
                }
                end => end,
            },
            (_, Some(args)) => self.run(&self.place, job.purpose(), &args, Paths::Patterns).await,
            (_, None) => self.run(&self.place, job.purpose(), &job.args, Paths::Literal).await,
        }
    }

    /// The repositories within that git would look into by what it does.
    async fn within(&self) -> Result<Vec<String>> {
        match self.job.kind {
            Kind::Add | Kind::Commit => self.repositories.git.within(&self.place).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Fills the directory of a clone, which git leaves empty: by then nobody but the server says how.
    async fn check_out(&self) -> End {
        let git = &self.repositories.git;
        let ready = async {
            let place = git.repository(&self.place.root, Purpose::Change).await?;
            let has_commits = git.read(&place, &["rev-parse", "--verify", "--quiet", "HEAD"], OUTPUT).await?;
            Ok::<_, Error>((place, has_commits.status.success()))
        };
        match ready.await {
            Ok((place, true)) => {
                let args = ["checkout", "--progress", "--force", "--no-recurse-submodules", "HEAD", "--"];
                self.run(&place, Purpose::Alone, &args.map(str::to_owned), Paths::Literal).await
            }
            Ok((_, false)) => End::Completed,
            Err(error) => End::failed("git_failed", error.message()),
        }
    }

    /// Runs git once.
    async fn run(&self, place: &Place, purpose: Purpose, args: &[String], paths: Paths) -> End {
        let (git, live) = (&self.repositories.git, &self.seat.live);
        let running = match git.start(place, purpose, args, paths).await {
            Ok(running) => running,
            Err(error) => return End::failed("spawn_failed", error.message()),
        };
        git.programs.remember(live.id.as_str(), running.group.id()).await;
        let bounds = Bounds { grace: git.programs.grace(), timeout: git.config.operation_timeout };
        let mut pace = Pace::default();
        let mut hear = |progress: Progress| self.say(&mut pace, progress);
        match bounds.attend(running, Printed::Say, live.course.turned(), &mut hear).await {
            Ok(finished) => self.judge(finished).await,
            Err(error) => End::failed("git_failed", format!("git cannot be attended: {error}")),
        }
    }

    /// Makes the folder of working trees, with a list of its own that leaves all of it out. As a program, so that it
    /// is of the user that git runs as. The end of the operation, if that fails.
    async fn prepare_worktrees(&self) -> Option<End> {
        let git = &self.repositories.git;
        let bounds = Bounds { grace: git.programs.grace(), timeout: git.config.read_timeout };
        let done = match git.script(&self.place.root, WORKTREES_SCRIPT, &[]).start().await {
            Ok(running) => bounds.attend(running, Printed::Say, self.seat.live.course.turned(), &mut |_| ()).await,
            Err(error) => Err(error),
        };
        let failed =
            |why: String| Some(End::failed("git_failed", format!("the folder {WORKTREES} cannot be made: {why}")));
        match done {
            Ok(finished) if finished.status.success() => None,
            Ok(finished) => {
                failed(if finished.said.is_empty() { "it is a symbolic link".to_owned() } else { finished.said })
            }
            Err(error) => failed(error.to_string()),
        }
    }

    /// Tells progress, if it is time and the bus has room: the next one tells more.
    fn say(&self, pace: &mut Pace, progress: Progress) {
        if !pace.is_due(&progress, self.repositories.ports.clock.monotonic()) {
            return;
        }
        if let Ok(slot) = self.repositories.ports.bus.try_reserve() {
            let (project_id, operation_id) = (self.job.project_id.clone(), self.seat.live.id.clone());
            drop(slot.send(Event::new(PROGRESS, OperationProgress { project_id, operation_id, progress })));
        }
    }

    async fn judge(&self, finished: Finished) -> End {
        // What was done is done, also where somebody asked for the end meanwhile.
        if finished.status.success() {
            return End::Completed;
        }
        match (finished.stopped, self.seat.live.course.why()) {
            (Some(Stop::Timeout), _) => {
                return End::failed("timeout", "the operation took longer than git.operation_timeout allows");
            }
            (Some(_), Some(Reason::Cancelled(user))) => return End::Cancelled(user),
            (Some(_), Some(Reason::ServerStopped)) => return server_stopped(),
            _ => {}
        }
        let said = self.repositories.git.config.redaction.redact(&finished.said).into_owned();
        let (mut code, mut message) = failure::of(&said);
        // Git takes the name of a remote that is not there for a folder, which the configuration may not allow.
        if code == failure::PROTOCOL && self.names_no_remote().await {
            (code, message) = (failure::NO_REMOTE, failure::advice(failure::NO_REMOTE).to_owned());
        }
        let conflicts = if code == "conflict" { self.conflicts().await } else { Vec::new() };
        let output = said[said.ceil_char_boundary(said.len().saturating_sub(OUTPUT))..].to_owned();
        End::Failed { code: code.to_owned(), message, output, conflicts }
    }

    /// Whether the remote that is named is none of the repository's.
    async fn names_no_remote(&self) -> bool {
        let named = self.job.args.iter().skip_while(|word| *word != "--").nth(1);
        let Some(named) = named.filter(|_| self.job.remote && self.job.kind != Kind::Clone) else { return false };
        let git = &self.repositories.git;
        let read = async {
            let place = git.repository(&self.place.root, Purpose::Read).await?;
            git.read(&place, &["remote"], CONFLICT_BYTES).await
        };
        let Ok(finished) = read.await else { return false };
        finished.status.success() && !String::from_utf8_lossy(&finished.printed).lines().any(|remote| remote == named)
    }

    /// The paths that are in conflict.
    async fn conflicts(&self) -> Vec<String> {
        let git = &self.repositories.git;
        let args = ["diff", "--name-only", "--no-ext-diff", "--no-textconv", "--diff-filter=U", "-z"];
        let read = async {
            let place = git.repository(&self.place.root, Purpose::Read).await?;
            git.read(&place, &args, CONFLICT_BYTES).await
        };
        let Ok(finished) = read.await else { return Vec::new() };
        let printed = String::from_utf8_lossy(&finished.printed);
        printed.split_terminator('\0').take(CONFLICT_PATHS).map(str::to_owned).collect()
    }
}

fn server_stopped() -> End {
    End::failed("server_stopped", "the server stopped: look at the repository, and ask again")
}

fn after(panic: &(dyn Any + Send)) -> End {
    let error = after_panic("git.operation", panic);
    End::failed("internal", error.message())
}

/// When progress is told: at once where a phase begins or is done, and now and then in between.
#[derive(Default)]
struct Pace {
    phase: String,
    done: bool,
    last: Duration,
}

impl Pace {
    fn is_due(&mut self, progress: &Progress, now: Duration) -> bool {
        let done = progress.percentage == Some(100);
        let news = progress.phase != self.phase || (done && !self.done);
        if !news && (done || now.saturating_sub(self.last) < PACE) {
            return false;
        }
        self.phase.clone_from(&progress.phase);
        self.done = done;
        self.last = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_where_a_phase_begins_and_ends_and_once_a_second_between() {
        let mut pace = Pace::default();
        let mut due = |phase: &str, current, ms| {
            let progress = Progress {
                phase: phase.to_owned(),
                current,
                total: Some(100),
                percentage: Some(current),
                detail: None,
            };
            pace.is_due(&progress, Duration::from_millis(ms))
        };
        let table = [
            ("Receiving", 0, 0, true),
            ("Receiving", 1, 500, false),
            ("Receiving", 2, 1000, true),
            ("Receiving", 100, 1001, true),
            ("Receiving", 100, 9000, false),
            ("Resolving", 100, 9001, true),
        ];
        for (phase, current, ms, expected) in table {
            assert_eq!(due(phase, current, ms), expected, "{phase} {current} {ms}");
        }
    }
}
