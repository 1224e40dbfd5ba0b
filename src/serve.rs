//! `tidings serve`: start, run, stop.
//!
//! Guarantees: the stop follows one order, each step with an end: not ready, refuse new work, tell
//! clients, end services, close connections, flush the log, name stragglers. A second signal ends at once.
//! It is not the wiring: that is `app`.

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use rustix::{
    process::{Resource, getrlimit, setrlimit},
    thread::disable_transparent_huge_pages,
};
use tidings_core::{Code, log::EventLog, outlet::Ending, runtime::Clock};
use tidings_engine::{hub::Notice, log::DataDir};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    app::App,
    cli::complain,
    config::Config,
    entrance::Entrance,
    runtime::{ServerTasks, SystemClock},
    services,
    telemetry::{self, Render},
};

/// How long the tasks have once everything was told to end.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// Runs the server until a signal ends it.
pub(crate) async fn run(config: Config) -> ExitCode {
    // Heard from the beginning: whoever reads that the server listens may stop it at once.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("signals cannot be heard: {error}")),
    };
    let started = tokio::select! {
        started = start(&config, telemetry::install()) => started,
        () = signals.next() => {
            // Nobody was let in, and what was written is as after a kill: whole.
            tracing::info!("stopped before it had started");
            return ExitCode::SUCCESS;
        }
    };
    match started {
        Ok(server) => server.until_stopped(signals, &config).await,
        Err(error) => complain(&error),
    }
}

struct Server {
    app: App,
    tasks: Arc<ServerTasks>,
    clock: Arc<SystemClock>,
    close_listener: oneshot::Sender<()>,
    _directory: DataDir,
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

async fn start(config: &Config, render: Render) -> Result<Server, StartFailure> {
    raise_file_limit();
    keep_pages_small();
    let (clock, tasks) = (SystemClock::new(), ServerTasks::new());
    telemetry::keep_up(&*tasks);
    let entrance = Entrance::new(config, tasks.clone(), clock.clone());
    let directory = entrance.with_room(None, async || Ok(DataDir::lock(&config.data_dir)?)).await?;
    let app = App::build(config, clock.clone(), tasks.clone(), render, &entrance).await?;
    say_first_admin(&app, &entrance).await?;
    let (address, close_listener) = entrance.open(app.router.clone())?;
    directory.set_address(&address.to_string())?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(Server { app, tasks, clock, close_listener, _directory: directory })
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
    async fn until_stopped(self, mut signals: Signals, config: &Config) -> ExitCode {
        signals.next().await;
        let drain = Duration::from_millis(config.drain_ms);
        tokio::select! {
            code = self.stop(drain) => code,
            () = signals.next() => complain(&"a second signal: stopping at once"),
        }
    }

    async fn stop(self, drain: Duration) -> ExitCode {
        tracing::info!(drain_ms = drain.as_millis() as u64, "stopping");
        let started = self.clock.monotonic();
        self.app.readiness.set_draining();
        self.app.gate.drain();
        self.app.socketio.drain();
        let connections = self.app.hub.connections();
        for (number, connection) in connections.iter().enumerate() {
            let reconnect_after_ms = returning(drain, number, connections.len());
            connection.notify(&Notice::Draining { reconnect_after_ms });
        }
        services::stop(&self.app.services).await;
        let left = drain.saturating_sub(self.clock.monotonic().saturating_sub(started));
        let ending = Ending::temporary(Code::Draining, "the server is stopping");
        self.app.socketio.close_all(left, &ending).await;
        if self.close_listener.send(()).is_err() {
            tracing::debug!("the listener was closed already");
        }
        self.app.log.close().await;
        let stragglers = self.tasks.stop(STRAGGLERS).await;
        if stragglers.is_empty() {
            tracing::info!("stopped");
            return ExitCode::SUCCESS;
        }
        tracing::error!(?stragglers, "stopped, but these did not end in time");
        ExitCode::FAILURE
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
