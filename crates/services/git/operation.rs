//! One operation from its place to its end: the task that waits for its turn, owns git's process and tells what it does.
//!
//! Guarantees: after its place in line or its start is told, exactly one end is, whatever happens in between, a panic
//! included; when it is told, no process of the operation is left, and what changed by it was told before.
//! It is not where an operation is judged: its place is given, and its command line is made.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use tidings_core::{Code, Error, Event, Result, UserId};
use tokio::sync::oneshot;

use super::{
    contract::{
        CANCELLED, COMPLETED, CONFLICT_PATHS, EndStatus, FAILED, Kind, OperationCancelled, OperationCompleted,
        OperationEnd, OperationFailed, OperationProgress, OperationQueued, OperationStarted, PROGRESS, Progress,
        QUEUED, STARTED, Status, stopped,
    },
    execute::{Bounds, Finished, Place, Printed, Purpose, Stop},
    failure,
    job::Job,
    locks,
    names::WORKTREES,
    registry::{Reason, Seat},
    repositories::Repositories,
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
/// The most bytes of paths that are named beside those that were asked for: they are arguments of a program.
const MOST_HALVES_BYTES: usize = 512 * 1024;

/// Makes the folder of working trees, unless something leads elsewhere.
const WORKTREES_SCRIPT: &str = "test ! -L .worktrees && test ! -L .worktrees/.gitignore && mkdir -p .worktrees && \
                                printf '*\\n' > .worktrees/.gitignore";

/// An operation on its way.
pub(super) struct Operation {
    pub(super) repositories: Arc<Repositories>,
    pub(super) seat: Seat,
    pub(super) job: Job,
    /// Where it works; none while it waits for its turn.
    pub(super) place: Option<Place>,
    pub(super) user: UserId,
    /// Whoever waits for its end.
    pub(super) over: Option<oneshot::Sender<OperationEnd>>,
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
    fn told(&self, status: Option<&Status>) -> OperationEnd {
        let mut end = OperationEnd {
            status: EndStatus::Completed,
            code: None,
            message: None,
            output: String::new(),
            conflicts: Vec::new(),
            head: None,
            branch: None,
        };
        match self {
            Self::Completed => {
                end.head = status.and_then(|status| status.head.clone());
                end.branch = status.and_then(|status| status.branch.clone());
            }
            Self::Cancelled(_) => end.status = EndStatus::Cancelled,
            Self::Failed { code, message, output, conflicts } => {
                end.status = EndStatus::Failed;
                (end.code, end.message) = (Some(code.clone()), Some(message.clone()));
                (end.output, end.conflicts) = (output.clone(), conflicts.clone());
            }
        }
        end
    }
}

/// What an end means for whoever needed the operation to succeed.
pub(super) fn outcome(end: OperationEnd) -> Result<()> {
    let failed = |why: String| Err(Error::new(Code::Conflict, why));
    match end.status {
        EndStatus::Completed => Ok(()),
        EndStatus::Cancelled => failed("the operation was cancelled".to_owned()),
        EndStatus::Failed => {
            let (code, message) = (end.code.unwrap_or_default(), end.message.unwrap_or_default());
            failed(format!("{message} ({code})"))
        }
    }
}

impl Operation {
    /// Runs it from its place to its end. `begun` hears of its place in line, or of its start where it need not wait,
    /// as soon as that is durable.
    pub(super) async fn go(mut self, begun: oneshot::Sender<Result<()>>) {
        let (place, begun) = match self.place.take() {
            Some(place) => (place, Some(begun)),
            None => {
                if !self.has_told("queue", self.queued_event(), Some(begun)).await {
                    return self.end_if_open().await;
                }
                let ready = AssertUnwindSafe(self.wait()).catch_unwind().await;
                match ready.unwrap_or_else(|panic| Err(after(&*panic))) {
                    Ok(place) => (place, None),
                    Err(end) => return self.end(end, None).await,
                }
            }
        };
        if !self.has_told("start", self.started_event(), begun).await {
            return self.end_if_open().await;
        }
        let end = AssertUnwindSafe(self.work(&place)).catch_unwind().await.unwrap_or_else(|panic| after(&*panic));
        self.repositories.git.programs.forget(self.seat.live.id.as_str()).await;
        let status = self.repositories.refresh(&self.job.project_id, &place.root).await;
        self.end(end, status.ok().flatten()).await;
    }

    /// Tells the first that there is to tell of it, and says whether that is durable. Whoever waits hears it, too, and
    /// may have gone: the operation goes on all the same.
    async fn has_told(&self, what: &str, event: Event, begun: Option<oneshot::Sender<Result<()>>>) -> bool {
        let told = self.tell(what, event, Some(START_TRIES)).await;
        let is_durable = told.is_ok();
        if let Some(begun) = begun {
            drop(begun.send(told));
        }
        is_durable
    }

    /// Waits for its turn: where it may work then, or its end, if it is to end before or cannot begin.
    async fn wait(&self) -> Result<Place, End> {
        if self.seat.turn().await {
            return self.repositories.ready(&self.job).await.map_err(|error| End::failed("refused", error.message()));
        }
        Err(match self.seat.live.course.why() {
            Some(Reason::Cancelled(user)) => End::Cancelled(user),
            _ => End::failed("server_stopped", stopped(true)),
        })
    }

    /// Tells its end, gives its place up, and lets whoever waited for it go on.
    async fn end(mut self, end: End, status: Option<Status>) {
        let (over, told) = (self.over.take(), end.told(status.as_ref()));
        self.seat.live.is_over_now();
        self.tell_end(end, status).await;
        // Others may do something here before whoever waited goes on.
        drop(self);
        if let Some(over) = over {
            // Nobody may wait any more.
            drop(over.send(told));
        }
    }

    async fn tell_end(&self, end: End, status: Option<Status>) {
        let event = self.end_event(end, status);
        if let Err(error) = self.tell("end", event, None).await {
            let id = &self.seat.live.id;
            tracing::error!(operation = %id, %error, "the end of an operation could not be told; the next start tells it");
        }
    }

    fn queued_event(&self) -> Event {
        let (project_id, operation_id) = (self.job.project_id.clone(), self.seat.live.id.clone());
        let queued = OperationQueued { project_id, operation_id, kind: self.job.kind, hosted: true };
        Event::new(QUEUED, queued).by(Some(self.user.clone()))
    }

    fn started_event(&self) -> Event {
        let (project_id, operation_id) = (self.job.project_id.clone(), self.seat.live.id.clone());
        let started = OperationStarted { project_id, operation_id, kind: self.job.kind, hosted: true };
        Event::new(STARTED, started).by(Some(self.user.clone()))
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
    async fn work(&self, place: &Place) -> End {
        let (git, live) = (&self.repositories.git, &self.seat.live);
        if self.job.kind == Kind::WorktreeAdd
            && let Some(end) = self.prepare_worktrees(place).await
        {
            return end;
        }
        let args = match self.arguments(place).await {
            Ok(args) => args,
            Err(end) => return end,
        };
        // Before git starts: what it leaves behind is known to be its own, also to the next life of the server.
        let began = locks::moment(self.repositories.ports.clock.now());
        let kept = git.remember(live.id.as_str(), &place.root, began).await;
        let end = self.run(place, &args, began).await;
        git.forget(kept).await;
        end
    }

    async fn run(&self, place: &Place, args: &[String], began: SystemTime) -> End {
        let (git, live) = (&self.repositories.git, &self.seat.live);
        let running = match git.start(place, Purpose::Change, args).await {
            Ok(running) => running,
            Err(error) => return End::failed("spawn_failed", error.message()),
        };
        git.programs.remember(live.id.as_str(), running.group.id()).await;
        let bounds = Bounds { grace: git.programs.grace(), timeout: git.config.operation_timeout };
        let mut pace = Pace::default();
        let mut hear = |progress: Progress| self.say(&mut pace, progress);
        match bounds.attend(running, Printed::Say, live.course.turned(), &mut hear).await {
            Ok(finished) => {
                if was_broken_off(&finished) {
                    git.clear(&place.root, began).await;
                }
                self.judge(place, finished).await
            }
            Err(error) => End::failed("git_failed", format!("git cannot be attended: {error}")),
        }
    }

    /// What git is called with: the job's own, and what only the repository can tell.
    async fn arguments(&self, place: &Place) -> Result<Vec<String>, End> {
        let mut args = self.job.args.clone();
        if self.job.kind == Kind::Unstage {
            let other_halves = self.repositories.git.other_halves(&place.root, self.job.paths()).await;
            let other_halves = other_halves.map_err(|error| End::failed("git_failed", error.message()))?;
            if other_halves.iter().map(String::len).sum::<usize>() > MOST_HALVES_BYTES {
                return Err(End::failed("git_failed", "more renames than can be named at once: unstage \".\""));
            }
            args.extend(other_halves);
        }
        Ok(args)
    }

    /// Makes the folder of working trees, with a list of its own that leaves all of it out. As a program, so that it
    /// is of the user that git runs as. The end of the operation, if that fails.
    async fn prepare_worktrees(&self, place: &Place) -> Option<End> {
        let git = &self.repositories.git;
        let argv = ["sh", "-c", WORKTREES_SCRIPT].map(str::to_owned).to_vec();
        let bounds = Bounds { grace: git.programs.grace(), timeout: git.config.read_timeout };
        let done = match git.programs.program(argv, place.root.clone()).start().await {
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

    async fn judge(&self, place: &Place, finished: Finished) -> End {
        // What was done is done, also where somebody asked for the end meanwhile.
        if finished.status.success() {
            return End::Completed;
        }
        match (finished.stopped, self.seat.live.course.why()) {
            (Some(Stop::Timeout), _) => {
                return End::failed("timeout", "the operation took longer than git.operation_timeout allows");
            }
            (Some(_), Some(Reason::Cancelled(user))) => return End::Cancelled(user),
            (Some(_), Some(Reason::ServerStopped)) => return End::failed("server_stopped", stopped(false)),
            _ => {}
        }
        let git = &self.repositories.git;
        let said = git.config.redaction.redact(&finished.said).into_owned();
        let (mut code, mut message) = failure::of(&said);
        // A stash under a lock says nothing at all, or nothing that means something.
        if code == "locked" || (code == "git_failed" && self.job.kind == Kind::Stash) {
            let why = git.why_locked(&place.root).await;
            if code == "locked" || why.is_some() {
                code = "locked";
                message = why.unwrap_or_else(|| "another program held a lock of the repository: try again".to_owned());
            }
        }
        let conflicts = if code == "conflict" { self.conflicts(place).await } else { Vec::new() };
        let output = said[said.ceil_char_boundary(said.len().saturating_sub(OUTPUT))..].to_owned();
        End::Failed { code: code.to_owned(), message, output, conflicts }
    }

    /// The paths that are in conflict.
    async fn conflicts(&self, place: &Place) -> Vec<String> {
        let git = &self.repositories.git;
        let args = ["diff", "--name-only", "--no-ext-diff", "--no-textconv", "--diff-filter=U", "-z"];
        let read = async {
            let place = git.repository(&place.root, Purpose::Read).await?;
            git.read(&place, &args, CONFLICT_BYTES).await
        };
        let Ok(finished) = read.await else { return Vec::new() };
        let printed = String::from_utf8_lossy(&finished.printed);
        printed.split_terminator('\0').take(CONFLICT_PATHS).map(str::to_owned).collect()
    }
}

/// Whether git did not end by itself: it may have left its locks behind. A wrapper tells a signal as a code.
fn was_broken_off(finished: &Finished) -> bool {
    !finished.status.success() && (finished.stopped.is_some() || finished.status.code().is_none_or(|code| code > 128))
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
