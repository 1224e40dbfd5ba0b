//! One session from its start to its end: the task that owns its process, its pipes and its events.
//!
//! Guarantees: after the start is told, exactly one end is, whatever happens in between, a panic
//! included; everything that was read is told before it; when the end is told, the process group is gone
//! (of a session in a terminal whose task panics, after the terminal's grace).
//! It is not where a start is judged: the plan is made, and the place is given.

use std::{any::Any, panic::AssertUnwindSafe, path::PathBuf, sync::Arc};

use futures_util::FutureExt;
use tidings_core::{Code, Error, Event, Result};
use tokio::sync::oneshot;

use crate::{programs::process::Running, telling::after_panic};

use super::{
    attend::{Ears, Work, for_ever},
    contract::{STARTED, SessionId, Stream},
    end::{End, TIMEOUT},
    output::{Meter, Piece, Record},
    plan::Plan,
    registry::{Live, Reason, Seat},
    sessions::Sessions,
    surroundings::Surroundings,
    telling::Telling,
};

/// How often a start is tried before its caller is told that the log does not work.
const START_TRIES: u32 = 3;

/// A session on its way.
pub(super) struct Run {
    pub(super) sessions: Arc<Sessions>,
    pub(super) seat: Seat,
    pub(super) plan: Plan,
    pub(super) ears: Ears,
}

impl Run {
    /// Runs it from its start to its end. `begun` hears of the start as soon as it is durable.
    pub(super) async fn go(self, begun: oneshot::Sender<Result<SessionId>>) {
        let Self { sessions, seat, plan, ears } = self;
        let live = seat.live.clone();
        let telling = sessions.telling(&live.id);
        match sessions.earlier(&plan).await {
            Ok(None) => {}
            Ok(Some(earlier)) => return answer(begun, Ok(earlier)),
            Err(error) => return answer(begun, Err(error)),
        }
        let record = match begin(&sessions, &live, &plan, &telling).await {
            Ok(record) => record,
            Err(error) => {
                // Whether the start was kept is not known: if it was, it gets its end.
                answer(begun, Err(error));
                let end = End::failed("start_lost", "the log failed while the session was starting");
                let end = end.event(live.id.clone(), &plan, sessions.ports.clock.now());
                return report(&live.id, telling.end_if_open(end).await);
            }
        };
        answer(begun, Ok(live.id.clone()));
        let work = Work { sessions: &sessions, live: &live, plan: &plan, telling: &telling };
        let end = AssertUnwindSafe(work.run(record, ears)).catch_unwind().await.unwrap_or_else(|panic| after(&*panic));
        sessions.programs.forget(live.id.as_str()).await;
        live.course.exited();
        live.close();
        let end = end.event(live.id.clone(), &plan, sessions.ports.clock.now());
        report(&live.id, telling.tell(vec![end], None, |state| !state.status.is_open()).await);
    }
}

fn answer(begun: oneshot::Sender<Result<SessionId>>, result: Result<SessionId>) {
    // The caller may have gone; the session goes on all the same.
    drop(begun.send(result));
}

fn report(id: &SessionId, told: Result<()>) {
    if let Err(error) = told {
        tracing::error!(session = %id, %error, "the end of a session could not be told; the next start tells it");
    }
}

fn after(panic: &(dyn Any + Send)) -> End {
    let error = after_panic("session.run", panic);
    End::failed("internal", error.message())
}

/// Tells the start.
async fn begin(sessions: &Sessions, live: &Live, plan: &Plan, telling: &Telling) -> Result<Record> {
    let mut record = Record::default();
    let started = Event::new(STARTED, plan.started(&live.id, sessions.ports.clock.now())).by(Some(plan.user.clone()));
    let place = plan.worktree.as_ref().map(|tree| format!(" in the working tree {}", tree.name)).unwrap_or_default();
    let line = Piece { stream: Stream::System, content: format!("Starting {}{place}…\n", plan.name()) };
    let mut events = vec![started];
    events.extend(record.events(&live.id, [line]));
    telling.tell(events, Some(START_TRIES), |state| state.started_at.is_some()).await?;
    Ok(record)
}

impl Work<'_> {
    async fn run(&self, record: Record, ears: Ears) -> End {
        if let Some(reason) = self.live.course.why() {
            return End::before_it_began(reason);
        }
        let mut ears = ears;
        let dir = match self.place(&mut ears).await {
            Ok(dir) => dir,
            Err(end) => return end,
        };
        if self.plan.pty.is_some() {
            return self.in_terminal(ears).await;
        }
        let running = match self.start(dir).await {
            Ok(running) => running,
            Err(error) => {
                return End::failed("spawn_failed", format!("the program could not be started: {error}"));
            }
        };
        self.sessions.programs.remember(self.live.id.as_str(), running.group.id()).await;
        self.attend(running, record, ears).await
    }

    /// The program's directory: a working tree of its own, which may have to be made, or the project's.
    async fn place(&self, ears: &mut Ears) -> Result<PathBuf, End> {
        let Some(tree) = self.plan.worktree.clone() else { return Ok(self.plan.root.clone()) };
        let made = async {
            let (user, project_id) = (self.plan.user.clone(), self.plan.project_id.clone());
            self.surroundings()?.worktree(user, project_id, tree).await
        };
        let failed = |error: Error| {
            let message = format!("the working tree could not be made: {}", error.message());
            if error.code() == Code::Draining { End::ServerStopped } else { End::failed("worktree_failed", message) }
        };
        let meter = Meter::new(0, self.sessions.ports.clock.clone());
        tokio::select! {
            made = made => made.map_err(failed),
            () = self.wall() => Err(End::failed("timeout", TIMEOUT)),
            () = for_ever(ears.refuse("the working tree of this session is being made")) => unreachable!("it never ends"),
            () = self.beat(&meter) => unreachable!("it never ends"),
            () = self.live.course.turned() => {
                Err(End::before_it_began(self.live.course.why().unwrap_or(Reason::ServerStopped)))
            }
        }
    }

    /// What other domains do for sessions.
    pub(super) fn surroundings(&self) -> Result<&dyn Surroundings> {
        let none = || Error::new(Code::Conflict, "this server has no terminals and no working trees");
        self.sessions.ports.surroundings.as_deref().ok_or_else(none)
    }

    async fn start(&self, dir: PathBuf) -> std::io::Result<Running> {
        let (programs, plan) = (&self.sessions.programs, self.plan);
        let mut program = programs.program(plan.argv.clone(), plan.root.clone());
        if dir != plan.root {
            program.enter(dir);
        }
        programs.confine(program, &plan.root, plan.sandbox.as_ref()).await?.start().await
    }
}
