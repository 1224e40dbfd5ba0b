//! One session from its start to its end: the task that owns its process, its pipes and its events.
//!
//! Guarantees: after the start is told, exactly one end is, whatever happens in between, a panic
//! included; everything that was read is told before it; when the end is told, the process group is gone.
//! It is not where a start is judged: the plan is made, and the place is given.

use std::{any::Any, panic::AssertUnwindSafe, process::ExitStatus, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tidings_core::{Error, Event, Result};
use tokio::{
    io::AsyncRead,
    process::Child,
    sync::{Notify, mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    contract::{HEARTBEAT, Heartbeat, Phase, STARTED, SessionId, Stream},
    end::End,
    inbox::{self, Line},
    output::{Meter, Piece, Pump, QUEUE, Record, tell_all},
    plan::Plan,
    process::{Group, Program, Running},
    registry::{Course, Live, Reason, Seat},
    sessions::Sessions,
    telling::Telling,
};

/// How long children that keep the pipe open may go on after the program itself has ended.
const DRAIN: Duration = Duration::from_secs(1);
/// How often a start is tried before its caller is told that the log does not work.
const START_TRIES: u32 = 3;

/// A session on its way.
pub(super) struct Run {
    pub(super) sessions: Arc<Sessions>,
    pub(super) seat: Seat,
    pub(super) plan: Plan,
    pub(super) lines: mpsc::Receiver<Line>,
}

impl Run {
    /// Runs it from its start to its end. `begun` hears of the start as soon as it is durable.
    pub(super) async fn go(self, begun: oneshot::Sender<Result<SessionId>>) {
        let Self { sessions, seat, plan, lines } = self;
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
        let end = AssertUnwindSafe(work.run(record, lines)).catch_unwind().await.unwrap_or_else(|panic| after(&*panic));
        work.forget().await;
        live.exited();
        live.inbox.close();
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
    let error = Error::internal();
    let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(%error, panic = %what, "a session's task panicked");
    End::failed("internal", error.message())
}

/// Tells the start.
async fn begin(sessions: &Sessions, live: &Live, plan: &Plan, telling: &Telling) -> Result<Record> {
    let mut record = Record::default();
    let started = Event::new(STARTED, plan.started(&live.id, sessions.ports.clock.now())).by(Some(plan.user.clone()));
    let line = Piece { stream: Stream::System, content: format!("Starting {}…\n", plan.name()) };
    let mut events = vec![started];
    events.extend(record.events(&live.id, [line]));
    telling.tell(events, Some(START_TRIES), |state| state.started_at.is_some()).await?;
    Ok(record)
}

struct Work<'a> {
    sessions: &'a Arc<Sessions>,
    live: &'a Arc<Live>,
    plan: &'a Plan,
    telling: &'a Telling,
}

impl Work<'_> {
    async fn run(&self, record: Record, lines: mpsc::Receiver<Line>) -> End {
        if let Course::Stopping(reason) = &*self.live.course.borrow() {
            return match reason {
                Reason::Cancelled(user) => End::Cancelled(user.clone()),
                _ => End::ServerStopped,
            };
        }
        let running = match self.start() {
            Ok(running) => running,
            Err(error) => {
                return End::failed("spawn_failed", format!("the program could not be started: {error}"));
            }
        };
        self.remember(running.group.id()).await;
        self.attend(running, record, lines).await
    }

    fn start(&self) -> std::io::Result<Running> {
        let Sessions { config, user, .. } = &**self.sessions;
        let mut environment = config.env.clone();
        environment.set("PWD", &self.plan.root.to_string_lossy());
        if let Some(user) = user {
            environment.set("HOME", &user.home);
            environment.set("USER", &user.name);
            environment.set("LOGNAME", &user.name);
        }
        let (argv, root) = (self.plan.argv.clone(), self.plan.root.clone());
        Program { argv, root, environment, user: user.clone() }.start()
    }

    async fn remember(&self, group: i32) {
        let (survivors, id) = (self.sessions.survivors.clone(), self.live.id.clone());
        let done = tokio::task::spawn_blocking(move || survivors.remember(id.as_str(), group)).await;
        if let Ok(Err(error)) = done {
            // A program that has ended already is not in the process list; nobody will miss it.
            tracing::debug!(session = %self.live.id, %error, "the process group is not remembered");
        }
    }

    async fn forget(&self) {
        let (survivors, id) = (self.sessions.survivors.clone(), self.live.id.clone());
        // It fails only when the runtime ends, and then the next start forgets it.
        drop(tokio::task::spawn_blocking(move || survivors.forget(id.as_str())).await);
    }

    /// Everything that goes on while the program runs, in this one task.
    async fn attend(&self, running: Running, record: Record, lines: mpsc::Receiver<Line>) -> End {
        let Running { mut child, group, stdin, stdout, stderr } = running;
        let config = &self.sessions.config;
        let (pieces, queue) = mpsc::channel(QUEUE);
        let (killed, _) = watch::channel(false);
        let meter = Arc::new(Meter::new(config.limits.output_bytes, self.sessions.ports.clock.clone()));
        let read_all = Notify::new();
        let pumps = self.pump(Stream::Stdout, stdout, &meter, &pieces, &killed).boxed();
        let pumps =
            futures_util::future::join(pumps, self.pump(Stream::Stderr, stderr, &meter, &pieces, &killed).boxed());
        drop(pieces);
        let reading = pumps.map(|_| read_all.notify_one());
        let watching = async {
            let status = self.supervise(&mut child, &group).await;
            let reason = self.live.exited();
            drop(timeout(DRAIN, read_all.notified()).await);
            group.finish();
            killed.send_replace(true);
            (status, reason)
        };
        let telling = async {
            let told = tell_all(self.telling, record, queue).await;
            if let Err(error) = &told {
                tracing::error!(session = %self.live.id, %error, "the output of a session is lost");
                self.live.ask_to_end(Reason::OutputLost);
            }
            told
        };
        let work = futures_util::future::join3(watching, reading, telling);
        let feeding = inbox::feed(stdin, self.plan.first.clone(), self.plan.stdin, lines);
        let ((status, reason), (), told) = tokio::select! {
            done = work => done,
            () = for_ever(feeding) => unreachable!("it never ends"),
            () = self.beat(&meter) => unreachable!("it never ends"),
        };
        // A program may have ended by itself before it could be told to.
        let over = meter.is_over().then_some(Reason::OutputLimit);
        let lost = told.is_err().then_some(Reason::OutputLost);
        match status {
            Ok(status) => End::of(status, reason.or(over).or(lost)),
            Err(error) => End::failed("internal", format!("the program was lost sight of: {error}")),
        }
    }

    fn pump(
        &self,
        stream: Stream,
        source: impl AsyncRead + Unpin + Send + 'static,
        meter: &Arc<Meter>,
        pieces: &mpsc::Sender<Piece>,
        killed: &watch::Sender<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let live = self.live.clone();
        let pump = Pump {
            stream,
            redaction: self.sessions.config.redaction.clone(),
            meter: meter.clone(),
            pieces: pieces.clone(),
            killed: killed.subscribe(),
            over: Arc::new(move || {
                live.ask_to_end(Reason::OutputLimit);
            }),
        };
        pump.run(source)
    }

    /// Waits for the program to end, and makes it end when it is told to.
    async fn supervise(&self, child: &mut Child, group: &Group) -> std::io::Result<ExitStatus> {
        let config = &self.sessions.config;
        let mut course = self.live.course.subscribe();
        let wall = async {
            match config.limits.wall_ms {
                0 => std::future::pending().await,
                wall => sleep(Duration::from_millis(wall)).await,
            }
        };
        let stopping = self.sessions.ports.tasks.stopping();
        tokio::select! {
            status = child.wait() => return status,
            _ = course.wait_for(|course| *course != Course::Running) => {}
            () = wall => { self.live.ask_to_end(Reason::Timeout); }
            () = stopping => { self.live.ask_to_end(Reason::ServerStopped); }
        }
        group.terminate();
        if let Ok(status) = timeout(Duration::from_millis(config.grace_ms), child.wait()).await {
            return status;
        }
        group.kill();
        child.wait().await
    }

    /// Says regularly that the session is alive.
    async fn beat(&self, meter: &Meter) {
        let Sessions { config, ports, .. } = &**self.sessions;
        if config.heartbeat_ms == 0 {
            return std::future::pending().await;
        }
        let from = ports.clock.monotonic();
        loop {
            sleep(Duration::from_millis(config.heartbeat_ms)).await;
            let elapsed = ports.clock.monotonic().saturating_sub(from);
            let phase = if *self.live.course.borrow() == Course::Running { Phase::Running } else { Phase::Stopping };
            let data = Heartbeat {
                session_id: self.live.id.clone(),
                phase,
                elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                silent_ms: meter.silent_ms(),
            };
            // It is ephemeral: where there is no room for it, the next one will do.
            if let Ok(slot) = ports.bus.try_reserve() {
                drop(slot.send(Event::new(HEARTBEAT, data)));
            }
        }
    }
}

async fn for_ever(future: impl Future<Output = ()>) {
    future.await;
    std::future::pending().await
}
