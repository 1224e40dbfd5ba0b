//! Attending a program while it runs: its pipes, its agent if it speaks a format, its heartbeat, its limits.
//!
//! Guarantees: everything goes on in the session's one task and ends with it; what was read is told
//! before the end is; a program that is told to end does, by force after the grace.
//! It is not the start and not the telling of the end.

use std::{process::ExitStatus, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join, join3},
};
use tidings_core::{Error, Event, Result};
use tokio::{
    process::{Child, ChildStdin, ChildStdout},
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    adapter::Adapter,
    agent::{Agent, Opening, Parts, Publisher, Request, Verdict},
    config::Stdin,
    contract::{HEARTBEAT, Heartbeat, PAUSED, Paused, Phase, RESUMED, Resumed, Stream},
    end::End,
    inbox::{self, Line},
    lines::read_lines,
    output::{Item, Meter, Pump, QUEUE, Record, tell_all},
    plan::Plan,
    registry::{Control, Live, Reason},
    sessions::Sessions,
    telling::Telling,
};
use crate::programs::{
    process::{Group, Running},
    reader::{Reader, Watched},
};

/// How long children that keep the pipe open may go on after the program itself has ended.
const DRAIN: Duration = Duration::from_secs(1);
/// How many lines of an agent wait to be looked at.
const LINES: usize = 64;

/// Where what people ask of a session comes out.
pub(super) struct Ears {
    pub(super) asked: Asked,
    pub(super) controls: mpsc::Receiver<Control>,
}

impl Ears {
    /// Refuses what cannot wait, for now, until this is dropped. Lines for a program wait.
    pub(super) async fn refuse(&mut self, why: &str) {
        let refused = || Error::unavailable(format!("{why}: try again"));
        loop {
            let request = async {
                match &mut self.asked {
                    Asked::Agent { requests, .. } => requests.recv().await,
                    Asked::Lines(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(request) = request => request.refuse(refused()),
                // Whoever asked may have gone.
                Some(Control { reply, .. }) = self.controls.recv() => drop(reply.send(Err(refused()))),
                else => return,
            }
        }
    }
}

/// What people say, as the session takes it.
pub(super) enum Asked {
    /// Lines for the program's standard input.
    Lines(mpsc::Receiver<Line>),
    /// Requests to an agent that speaks a format of its own.
    Agent { adapter: Box<dyn Adapter>, requests: mpsc::Receiver<Request> },
}

/// A session at work.
pub(super) struct Work<'a> {
    pub(super) sessions: &'a Arc<Sessions>,
    pub(super) live: &'a Arc<Live>,
    pub(super) plan: &'a Plan,
    pub(super) telling: &'a Telling,
}

/// What reads a program's standard output, and what writes its standard input.
struct Voice {
    reading: BoxFuture<'static, Option<Verdict>>,
    writing: BoxFuture<'static, ()>,
}

impl Work<'_> {
    /// Everything that goes on while the program runs, in this one task.
    pub(super) async fn attend(&self, running: Running, record: Record, ears: Ears) -> End {
        let Running { mut child, group, stdin, stdout, stderr } = running;
        let Ears { asked, mut controls } = ears;
        let config = &self.sessions.config;
        let (items, queue) = mpsc::channel(QUEUE);
        let (killed, _) = watch::channel(false);
        let meter = Arc::new(Meter::new(config.limits.output_bytes, self.sessions.ports.clock.clone()));
        let read_all = Notify::new();
        let watched = self.watched(&meter, &killed);
        let errors = self.pump(Stream::Stderr, &items).run(Reader::new(stderr, watched.clone()));
        let Voice { reading, writing } = self.voice(asked, stdin, Reader::new(stdout, watched), &items);
        drop(items);
        let reading = join(reading, errors.boxed()).map(|(verdict, ())| {
            read_all.notify_one();
            verdict
        });
        let watching = async {
            let status = self.supervise(&mut child, &group, &meter, &mut controls).await;
            let reason = self.live.course.exited();
            drop(timeout(DRAIN, read_all.notified()).await);
            group.finish();
            killed.send_replace(true);
            (status, reason)
        };
        let telling = async {
            let told = tell_all(self.telling, record, queue).await;
            if let Err(error) = &told {
                tracing::error!(session = %self.live.id, %error, "the output of a session is lost");
                self.live.course.ask_to_end(Reason::OutputLost);
            }
            told
        };
        let ((status, reason), verdict, told) = tokio::select! {
            done = join3(watching, reading, telling) => done,
            () = for_ever(writing) => unreachable!("it never ends"),
            () = self.beat(&meter) => unreachable!("it never ends"),
        };
        // A program may have ended by itself before it could be told to.
        let over = meter.is_over().then_some(Reason::OutputLimit);
        let lost = told.is_err().then_some(Reason::OutputLost);
        match status {
            Ok(status) => End::of(status, reason.or(over).or(lost), verdict.as_ref()),
            Err(error) => End::failed("internal", format!("the program was lost sight of: {error}")),
        }
    }

    /// How the server speaks with the program: as with any, or by an adapter.
    fn voice(&self, asked: Asked, stdin: ChildStdin, stdout: Reader<ChildStdout>, items: &mpsc::Sender<Item>) -> Voice {
        let (first, stays) = (self.plan.first.clone(), self.plan.stdin);
        let (adapter, requests) = match asked {
            Asked::Lines(lines) => {
                let reading = self.pump(Stream::Stdout, items).run(stdout).map(|()| None).boxed();
                return Voice { reading, writing: inbox::feed(stdin, first, stays, lines).boxed() };
            }
            Asked::Agent { adapter, requests } => (adapter, requests),
        };
        let (agent, writes) = Agent::new(Parts {
            adapter,
            live: self.live.clone(),
            redaction: self.sessions.config.redaction.clone(),
            clock: self.sessions.ports.clock.clone(),
            items: items.clone(),
            publisher: self.publisher(),
        });
        let opening = Opening { prompt: first, prompted: self.plan.prompted, stays_open: stays == Stdin::Open };
        let (lines, read) = mpsc::channel(LINES);
        let agent = agent.run(opening, read, requests);
        let reading = join(read_lines(stdout, lines), agent).map(|((), verdict)| Some(verdict)).boxed();
        Voice { reading, writing: inbox::feed(stdin, None, Stdin::Open, writes).boxed() }
    }

    /// What its agent's program may publish.
    fn publisher(&self) -> Publisher {
        let Sessions { config, ports, .. } = &**self.sessions;
        let agent = self.plan.agent.as_ref().and_then(|name| config.agents.get(name));
        let types = agent.map(|agent| agent.publish.clone()).unwrap_or_default();
        Publisher { port: ports.publishing.clone(), types }
    }

    fn watched(&self, meter: &Arc<Meter>, killed: &watch::Sender<bool>) -> Watched {
        let live = self.live.clone();
        let over = Arc::new(move || {
            live.course.ask_to_end(Reason::OutputLimit);
        });
        Watched { meter: meter.clone(), killed: killed.subscribe(), over }
    }

    fn pump(&self, stream: Stream, items: &mpsc::Sender<Item>) -> Pump {
        Pump { stream, redaction: self.sessions.config.redaction.clone(), items: items.clone() }
    }

    /// Waits for the program to end, and makes it end when it is told to.
    async fn supervise(
        &self,
        child: &mut Child,
        group: &Group,
        meter: &Meter,
        controls: &mut mpsc::Receiver<Control>,
    ) -> std::io::Result<ExitStatus> {
        let stopping = self.sessions.ports.tasks.stopping();
        let (limits, told) = (self.limits(meter), self.live.course.turned());
        let mut ending = std::pin::pin!(async {
            tokio::select! {
                () = told => {}
                reason = limits => { self.live.course.ask_to_end(reason); }
                () = stopping => { self.live.course.ask_to_end(Reason::ServerStopped); }
            }
        });
        loop {
            tokio::select! {
                status = child.wait() => return status,
                () = &mut ending => break,
                Some(control) = controls.recv() => self.control(group, control).await,
            }
        }
        group.terminate();
        if let Ok(status) = timeout(self.sessions.programs.grace(), child.wait()).await {
            return status;
        }
        group.kill().await;
        child.wait().await
    }

    /// Resolves when the session has run for as long as it may.
    pub(super) async fn wall(&self) {
        match self.sessions.config.limits.wall_ms {
            0 => std::future::pending().await,
            wall => sleep(Duration::from_millis(wall)).await,
        }
    }

    /// Resolves with the limit that is met first.
    async fn limits(&self, meter: &Meter) -> Reason {
        let config = &self.sessions.config;
        let lingering = async {
            if self.plan.stdin == Stdin::Open || config.linger_ms == 0 {
                return std::future::pending().await;
            }
            self.live.pulse.has_answered().await;
            sleep(Duration::from_millis(config.linger_ms)).await;
        };
        tokio::select! {
            () = self.wall() => Reason::Timeout,
            () = self.silence(meter) => Reason::Silent,
            () = lingering => Reason::Lingering,
        }
    }

    /// Resolves once a busy program has been silent for longer than it may.
    async fn silence(&self, meter: &Meter) {
        let limit = self.sessions.config.limits.silence_ms;
        if limit == 0 {
            return std::future::pending().await;
        }
        loop {
            if !self.live.pulse.is_busy() {
                meter.hear();
            }
            let left = limit.saturating_sub(meter.silent_ms());
            if left == 0 {
                return;
            }
            // Looked at often enough that waiting for a person is never taken for silence.
            sleep(Duration::from_millis(left.min((limit / 4).max(1)))).await;
        }
    }

    /// Makes the program stand still or go on, and tells that it did.
    async fn control(&self, group: &Group, Control { user, pause, reply }: Control) {
        if pause {
            group.stop();
        } else {
            group.go_on();
        }
        let done = if self.live.pulse.pause(pause) { self.tell_control(pause, user).await } else { Ok(()) };
        // Whoever asked may have gone.
        drop(reply.send(done));
    }

    async fn tell_control(&self, pause: bool, user: tidings_core::UserId) -> Result<()> {
        let session_id = self.live.id.clone();
        let event =
            if pause { Event::new(PAUSED, Paused { session_id }) } else { Event::new(RESUMED, Resumed { session_id }) };
        self.telling.tell(vec![event.by(Some(user))], None, |state| state.paused == pause).await
    }

    /// Says regularly that the session is alive.
    pub(super) async fn beat(&self, meter: &Meter) {
        let Sessions { config, ports, .. } = &**self.sessions;
        if config.heartbeat_ms == 0 {
            return std::future::pending().await;
        }
        let from = ports.clock.monotonic();
        loop {
            sleep(Duration::from_millis(config.heartbeat_ms)).await;
            let elapsed = ports.clock.monotonic().saturating_sub(from);
            let running = self.live.course.is_running();
            let data = Heartbeat {
                session_id: self.live.id.clone(),
                phase: if running { self.live.pulse.phase() } else { Phase::Stopping },
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

pub(super) async fn for_ever(future: impl Future<Output = ()>) {
    future.await;
    std::future::pending().await
}
