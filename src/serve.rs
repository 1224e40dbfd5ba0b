//! `tidings serve`: start, run, stop.
//!
//! Guarantees: a signal ends the server also while it starts; the stop follows one order ([`ORDER`]), each step
//! with an end; a second signal ends at once. A part that the server cannot go on without ends it, too, with
//! exit code 1 and a line that names the part.
//! It is not the wiring: that is `app`.

use std::{
    io::Write,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    process::{Resource, getrlimit, setrlimit},
    thread::disable_transparent_huge_pages,
};
use tidings_core::{
    Code,
    log::EventLog,
    outlet::Ending,
    runtime::{Clock, Tasks},
};
use tidings_engine::{hub::Notice, log::DataDir};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    app::App,
    cli::complain,
    config::{Config, variables},
    entrance::Entrance,
    faults,
    listen::Acceptor,
    runtime::{ServerTasks, SystemClock},
    services,
    stop::{self, Step},
    telemetry::{self, Render},
};

/// The stop. Until its deadline, the time that clients and programs have (`drain_ms` and `run.grace_ms`) is over.
const ORDER: [Step<Server>; 6] = [
    Step { until: Duration::ZERO, parts: |server, left| vec![("new work", Box::pin(server.refuse(left)))] },
    Step { until: Duration::ZERO, parts: |server, _| services::stop(&server.app.services) },
    // Programs that left the group in which their service ended them.
    Step {
        until: Duration::from_secs(2),
        parts: |server, _| vec![("runaway programs", Box::pin(server.app.programs.stop()))],
    },
    Step {
        until: Duration::from_secs(3),
        parts: |server, left| vec![("connections", Box::pin(server.send_away(left)))],
    },
    Step {
        until: Duration::from_secs(4),
        parts: |server, _| vec![("the log", server.app.log.close()), ("the users", Box::pin(server.settle_users()))],
    },
    Step { until: Duration::from_secs(5), parts: |server, _| vec![("tasks", Box::pin(server.tasks.stop()))] },
];

/// How long a start that was broken off has to let go of what it holds.
const BREAKING_OFF: Duration = Duration::from_secs(2);

/// Runs the server until a signal ends it.
pub(crate) async fn run(config: Config) -> ExitCode {
    // Heard from the beginning: whoever reads that the server listens may stop it at once.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("signals cannot be heard: {error}")),
    };
    faults::follow(&variables());
    let (render, reached) = (telemetry::install(), Reached::default());
    let (broken_off, over) = oneshot::channel::<()>();
    let starting = (config.clone(), reached.clone());
    // A start reads files, and may have to wait for a disk: not on the thread that hears the signals.
    let mut start = tokio::task::spawn_blocking(move || {
        let (config, reached) = starting;
        Handle::current().block_on(async {
            tokio::select! {
                started = start(&config, render, &reached) => Some(started),
                _ = over => None,
            }
        })
    });
    let started = tokio::select! {
        started = &mut start => started,
        () = signals.next() => {
            tracing::warn!(at = reached.last(), "stopped before it was ready");
            drop(broken_off);
            // What it holds is let go; a thread that stands still is left behind.
            drop(tokio::time::timeout(BREAKING_OFF, start).await);
            return ExitCode::SUCCESS;
        }
    };
    match started {
        Ok(Some(Ok(server))) => server.until_stopped(signals).await,
        Ok(Some(Err(error))) => complain(&error),
        Ok(None) => ExitCode::SUCCESS,
        Err(panicked) => complain(&format!("the start panicked at {}: {panicked}", reached.last())),
    }
}

/// How far a start has come, for whoever breaks it off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached(Arc<Mutex<&'static str>>);

impl Reached {
    /// This comes next.
    pub(crate) fn now(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn last(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Server {
    app: App,
    tasks: Arc<ServerTasks>,
    acceptor: Arc<Acceptor>,
    drain: Duration,
    grace: Duration,
    directory: DataDir,
}

/// Every connection is a file: the limit goes up to what the system allows.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Memory comes in small pages: many small things make up a connection, and clearing two megabytes at
/// once for them is a quarter of what a new one costs, and counts as used.
fn keep_pages_small() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the size of pages stays as it is");
    }
}

type StartFailure = Box<dyn std::error::Error + Send + Sync>;

async fn start(config: &Config, render: Render, reached: &Reached) -> Result<Server, StartFailure> {
    raise_file_limit();
    keep_pages_small();
    let clock = SystemClock::new();
    let tasks = ServerTasks::new(clock.clone());
    let surroundings: (Arc<dyn Tasks>, Arc<dyn Clock>) = (tasks.clone(), clock.clone());
    telemetry::keep_up(&surroundings.0);
    let entrance = Entrance::new(config, surroundings);
    reached.now("the data directory");
    let directory = entrance.with_room(None, async || Ok(DataDir::lock(&config.data_dir)?)).await?;
    let app = App::build(config, clock, tasks.clone(), render, (&entrance, reached)).await?;
    let ownerless = app.gate.ownerless().await?;
    reached.now("listening");
    // Before the password is said, which is said once: a start that cannot listen makes nobody.
    let address = entrance.take_address()?;
    directory.set_address(&address.to_string())?;
    say_first_admin(&app, &entrance).await?;
    let acceptor = entrance.open(app.router.clone())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, data_dir = %config.data_dir.display(), "started");
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for namespace in ownerless {
        tracing::warn!(namespace, "no domain owns these channels any more: they are kept, and nobody can read them");
    }
    let (drain, grace) = (Duration::from_millis(config.drain_ms), Duration::from_millis(config.run.grace_ms));
    Ok(Server { app, tasks, acceptor, drain, grace, directory })
}

/// The password of the user that the first start makes, once.
async fn say_first_admin(app: &App, entrance: &Entrance<'_>) -> Result<(), StartFailure> {
    let first = entrance.with_room(Some(&app.log), async || Ok(app.auth.first_start().await?)).await?;
    if let Some(admin) = first {
        print(&format!("admin user: {}", admin.username));
        print(&format!("admin password: {}  (shown once; only its hash is kept)", admin.password.0));
    }
    Ok(())
}

impl Server {
    async fn until_stopped(self, mut signals: Signals) -> ExitCode {
        let lost = tokio::select! {
            () = signals.next() => None,
            task = self.tasks.lost() => Some(task),
            () = self.app.log.ended() => Some("log.writer"),
        };
        if let Some(task) = lost {
            tracing::error!(task, "panicked too often to be started again: the server is not ready, and ends");
        }
        tokio::select! {
            code = self.stop() => if lost.is_some() { ExitCode::FAILURE } else { code },
            () = signals.next() => complain(&"a second signal: stopping at once"),
        }
    }

    async fn stop(&self) -> ExitCode {
        tracing::info!(drain_ms = self.drain.as_millis() as u64, "stopping");
        let left = stop::stop(self, &ORDER, self.drain + self.grace).await;
        let tasks = self.tasks.left();
        if left.is_empty() && tasks.is_empty() {
            tracing::info!("stopped");
            return ExitCode::SUCCESS;
        }
        tracing::error!(parts = ?left, ?tasks, "stopped, but these did not end in time");
        ExitCode::FAILURE
    }

    /// Takes no new work, and tells clients when to come back. Until the end of the stop there is `left`.
    async fn refuse(&self, left: Duration) {
        self.app.readiness.set_draining();
        self.app.gate.drain();
        self.app.connections.drain();
        let drain = left.saturating_sub(self.grace);
        let connections = self.app.hub.connections();
        for (number, connection) in connections.iter().enumerate() {
            let reconnect_after_ms = returning(drain, number, connections.len());
            connection.notify(&Notice::Draining { reconnect_after_ms });
        }
    }

    /// Leaves the users in one file.
    async fn settle_users(&self) {
        let auth = self.app.auth.clone();
        if tokio::task::spawn_blocking(move || auth.settle()).await.is_err() {
            tracing::warn!("users.db was not settled");
        }
    }

    /// Closes connections, spread over what is left of their time, and takes none any more.
    async fn send_away(&self, left: Duration) {
        let ending = Ending::temporary(Code::Draining, "the server is stopping");
        self.app.connections.close_all(left.saturating_sub(self.grace), &ending).await;
        // The address is somebody else's as soon as it is let go.
        if let Err(error) = self.directory.clear_address() {
            tracing::warn!(%error, "the lock still says where the server listened");
        }
        self.acceptor.close();
    }
}

/// When a client is asked to come back, in milliseconds: each at its own time, from the end of the
/// stop until as long again.
fn returning(drain: Duration, number: usize, all: usize) -> u64 {
    let drain = drain.as_millis() as u64;
    drain + drain * number as u64 / all.max(1) as u64
}

/// The signals that stop the server.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A line on standard output. A closed one is no reason to stop.
pub(crate) fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clients_are_asked_to_come_back_at_the_same_time() {
        let times: Vec<u64> = (0..1000).map(|number| returning(Duration::from_secs(10), number, 1000)).collect();
        assert!(times.iter().all(|time| (10_000..20_000).contains(time)));
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(returning(Duration::ZERO, 3, 4), 0, "a server that stops at once asks for nothing");
    }
}
