//! One terminal from its start to its end: the task that owns its program, its bytes and its events.
//!
//! Guarantees: after the start is told, exactly one end is, whatever happens in between, a panic
//! included; everything that was read is told before it; when the end is told, every process of the
//! terminal is gone.
//! It is not where a start is judged: the plan is made, and the place is given.

use std::{
    any::Any, io, os::unix::process::ExitStatusExt, panic::AssertUnwindSafe, process::ExitStatus, sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::join3};
use tidings_core::{Event, Result, Timestamp};
use tokio::{
    process::Child,
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    contract::{Cause, ERROR, EXIT, Exited, Failed, OPENED, Status, TerminalId},
    plan::Plan,
    pump::{Pump, QUEUE, tell_all},
    registry::{Ears, Live, Reason, Seat},
    shells::Shells,
    state::{ShellState, server_stopped},
};
use crate::{
    blocking::blocking,
    programs::{process::Group, terminal::InTerminal},
    session::surroundings::Ended,
    telling::{Telling, Told, after_panic},
};

/// How often a start is tried before its caller is told that the log does not work.
const START_TRIES: u32 = 3;
/// The longest between two looks at who watches.
const LOOK: Duration = Duration::from_secs(10);
const OUTPUT_LOST: &str = "the log took the output no more";

/// A terminal on its way.
pub(super) struct Run {
    pub(super) shells: Arc<Shells>,
    pub(super) seat: Seat,
    pub(super) plan: Plan,
    pub(super) ears: Ears,
    /// Whoever waits for its end.
    pub(super) over: Option<oneshot::Sender<Ended>>,
}

/// How a terminal ended.
enum End {
    Exited(ExitStatus, Option<Reason>),
    /// It was told to end before its program was started.
    Never(Reason),
    Failed(&'static str, String),
}

impl Run {
    /// Runs it from its start to its end. `begun` hears of the start as soon as it is durable.
    pub(super) async fn go(self, begun: oneshot::Sender<Result<TerminalId>>) {
        let Self { shells, seat, plan, ears, over } = self;
        let (live, clock) = (seat.live.clone(), shells.ports.clock.clone());
        let telling = shells.telling(&live.id);
        let opened = Event::new(OPENED, plan.opened(&live.id, clock.now())).by(Some(plan.user.clone()));
        if let Err(error) = telling.tell(vec![opened], Some(START_TRIES), |state| state.opened_at.is_some()).await {
            // Whether the start was kept is not known: if it was, it gets its end.
            answer(begun, Err(error));
            let end = End::Failed("start_lost", "the log failed while the terminal was being opened".to_owned());
            return report(&live.id, telling.end_if_open(end.event(&live.id, &plan, clock.now())).await);
        }
        answer(begun, Ok(live.id.clone()));
        let work = Work { shells: &shells, live: &live, plan: &plan, telling: &telling };
        let end = AssertUnwindSafe(work.run(ears)).catch_unwind().await.unwrap_or_else(|panic| after(&*panic));
        shells.programs.forget(live.id.as_str()).await;
        live.course.exited();
        let (ended, end) = (end.outcome(), end.event(&live.id, &plan, clock.now()));
        report(&live.id, telling.tell(vec![end], None, |state| !state.is_open()).await);
        if let Some(over) = over {
            // The session's task may be gone; then nobody wants to know.
            drop(over.send(ended));
        }
    }
}

fn answer(begun: oneshot::Sender<Result<TerminalId>>, result: Result<TerminalId>) {
    // The caller may have gone; the terminal goes on all the same.
    drop(begun.send(result));
}

fn report(id: &TerminalId, told: Result<()>) {
    if let Err(error) = told {
        tracing::error!(terminal = %id, %error, "the end of a terminal could not be told; the next start tells it");
    }
}

fn after(panic: &(dyn Any + Send)) -> End {
    let error = after_panic("shell.run", panic);
    End::Failed("internal", error.message().to_owned())
}

impl End {
    /// The same, for the session whose terminal it was.
    fn outcome(&self) -> Ended {
        match self {
            Self::Failed(code, message) => Ended::Failed(code, message.clone()),
            Self::Exited(_, Some(Reason::ServerStopped)) | Self::Never(Reason::ServerStopped) => Ended::ServerStopped,
            Self::Exited(_, Some(Reason::Closed(user))) | Self::Never(Reason::Closed(user)) => {
                Ended::Closed(user.clone())
            }
            Self::Exited(_, Some(Reason::OutputLost)) => Ended::Failed("output_lost", OUTPUT_LOST.to_owned()),
            Self::Exited(status, _) => Ended::Exited(*status),
            Self::Never(_) => Ended::Never,
        }
    }

    fn event(self, id: &TerminalId, plan: &Plan, now: Timestamp) -> Event {
        let terminal_id = id.clone();
        let failed = |code: &str, message: String| {
            let board = plan.board(Status::Error, now);
            Event::new(ERROR, Failed { terminal_id: id.clone(), code: code.to_owned(), message, board })
        };
        let (status, reason) = match self {
            Self::Failed(code, message) => return failed(code, message),
            Self::Exited(status, reason) => (Some(status), reason),
            Self::Never(reason) => (None, Some(reason)),
        };
        let (reason, by) = match reason {
            Some(Reason::ServerStopped) => {
                return Event::new(ERROR, server_stopped(terminal_id, plan.board(Status::Error, now)));
            }
            Some(Reason::OutputLost) => {
                return failed("output_lost", OUTPUT_LOST.to_owned());
            }
            Some(Reason::Closed(user)) => (Cause::Closed, Some(user)),
            Some(Reason::SessionEnded) => (Cause::Closed, None),
            Some(Reason::Idle) => (Cause::Idle, None),
            None => (Cause::Exited, None),
        };
        let (code, signal) = (status.and_then(|status| status.code()), status.and_then(|status| status.signal()));
        let board = plan.board(Status::Exited, now);
        Event::new(EXIT, Exited { terminal_id, code, signal, reason, board }).by(by)
    }
}

/// A terminal at work.
struct Work<'a> {
    shells: &'a Arc<Shells>,
    live: &'a Arc<Live>,
    plan: &'a Plan,
    telling: &'a Telling<ShellState>,
}

impl Work<'_> {
    async fn run(&self, ears: Ears) -> End {
        if let Some(reason) = self.live.course.why() {
            return End::Never(reason);
        }
        let running = match self.start().await {
            Ok(running) => running,
            Err(error) => return End::Failed("spawn_failed", format!("the program could not be started: {error}")),
        };
        self.shells.programs.remember(self.live.id.as_str(), running.group.id()).await;
        self.attend(running, ears).await
    }

    async fn start(&self) -> io::Result<InTerminal> {
        let (programs, root) = (&self.shells.programs, &self.plan.place.root);
        let mut program = programs.program(self.plan.argv.clone(), root.clone());
        program.enter(self.plan.place.dir.clone());
        program.environment.set("TERM", "xterm-256color");
        program.environment.set("COLORTERM", "truecolor");
        for (name, value) in &self.plan.env {
            program.give(name, value);
        }
        let program = programs.confine(program, root, self.plan.sandbox.as_ref()).await?;
        program.start_in_terminal(self.plan.cols, self.plan.rows).await
    }

    /// Everything that goes on while the program runs, in this one task.
    async fn attend(&self, running: InTerminal, ears: Ears) -> End {
        let InTerminal { mut child, group, output, input } = running;
        let (items, queue) = mpsc::channel(QUEUE);
        let killed = watch::Sender::new(false);
        let meter = self.plan.session.as_ref().map(|session| session.meter.clone());
        let size = (self.plan.cols, self.plan.rows);
        let pump = Pump::new(self.live.id.clone(), size, items, killed.subscribe(), meter);
        let watching = async {
            let status = self.supervise(&mut child, &group).await;
            let reason = self.live.course.exited();
            // What still runs in the terminal ends with it. The list of processes is read from files.
            drop(blocking(move || group.finish()).await);
            killed.send_replace(true);
            (status, reason)
        };
        let telling = async {
            let told = tell_all(self.telling, queue).await;
            if let Err(error) = &told {
                tracing::error!(terminal = %self.live.id, %error, "the output of a terminal is lost");
                self.live.course.ask_to_end(Reason::OutputLost);
            }
            told
        };
        let ((status, reason), (), told) = join3(watching, pump.run(output, input, ears), telling).await;
        let lost = told.is_err().then_some(Reason::OutputLost);
        match status {
            Ok(status) => End::Exited(status, reason.or(lost)),
            Err(error) => End::Failed("internal", format!("the program was lost sight of: {error}")),
        }
    }

    /// Waits for the program to end, and makes it end when it is told to.
    async fn supervise(&self, child: &mut Child, group: &Group) -> io::Result<ExitStatus> {
        tokio::select! {
            status = child.wait() => return status,
            () = self.live.course.turned() => {}
            () = self.alone() => { self.live.course.ask_to_end(Reason::Idle); }
            () = self.shells.ports.tasks.stopping() => { self.live.course.ask_to_end(Reason::ServerStopped); }
        }
        group.hang_up();
        if let Ok(status) = timeout(self.shells.programs.grace(), child.wait()).await {
            return status;
        }
        group.kill().await;
        child.wait().await
    }

    /// Resolves once nobody has watched or typed for as long as a terminal may be alone.
    async fn alone(&self) {
        let limit = Duration::from_millis(self.shells.config.idle_ms);
        // A session works on whether it is watched or not.
        if limit.is_zero() || self.plan.session.is_some() {
            return std::future::pending().await;
        }
        let look = (limit / 4).min(LOOK);
        let mut alone = Duration::ZERO;
        while alone < limit {
            sleep(look).await;
            let watched = self.shells.ports.audience.watching(ShellState::DOMAIN, self.live.id.as_str()) > 0;
            alone = if self.live.was_used() || watched { Duration::ZERO } else { alone + look };
        }
    }
}
