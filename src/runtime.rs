//! The server's surroundings: the system's clock, and tasks that are all accounted for.
//!
//! Guarantees: the only place that reads the clock and spawns; a panic ends its task and nothing else, and
//! is counted and named; what has to run is restarted, or named as what the server cannot go on without; at
//! the end every task has ended, or is named as a straggler.
//! It is not a runtime: tokio is.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Timestamp,
    panics::{self, Panics},
    runtime::{Clock, Make, Tasks},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

/// The system's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The clocks, from now on.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's implementation")]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's implementation")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The tasks of the server.
pub(crate) struct ServerTasks {
    /// Tasks are also spawned from threads that are not the runtime's, such as the log's.
    runtime: Handle,
    clock: Arc<SystemClock>,
    running: Arc<Running>,
    stopping: watch::Sender<bool>,
    /// What panicked too often.
    lost: Arc<watch::Sender<Option<&'static str>>>,
}

impl fmt::Debug for ServerTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTasks({})", self.running.inner.lock().all)
    }
}

/// The tasks that have not ended.
#[derive(Default)]
struct Running {
    inner: Mutex<Counts>,
    /// The last one has ended.
    none: Notify,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_name: HashMap<&'static str, usize>,
}

/// Counts a task as running until it is dropped, however it ends.
struct Alive {
    name: &'static str,
    running: Arc<Running>,
}

impl Alive {
    fn new(name: &'static str, running: &Arc<Running>) -> Self {
        let mut inner = running.inner.lock();
        inner.all += 1;
        *inner.by_name.entry(name).or_default() += 1;
        Self { name, running: running.clone() }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut inner = self.running.inner.lock();
        inner.all -= 1;
        if let Some(count) = inner.by_name.get_mut(self.name) {
            *count -= 1;
        }
        if inner.all == 0 {
            self.running.none.notify_waiters();
        }
    }
}

impl ServerTasks {
    /// No tasks yet. Called inside the runtime that is to run them.
    pub(crate) fn new(clock: Arc<SystemClock>) -> Arc<Self> {
        Arc::new(Self {
            runtime: Handle::current(),
            clock,
            running: Arc::default(),
            stopping: watch::Sender::new(false),
            lost: Arc::new(watch::Sender::new(None)),
        })
    }

    /// Says that the server stops, and waits for the tasks. Resolves when all have ended.
    pub(crate) async fn stop(&self) {
        self.stopping.send_replace(true);
        loop {
            let none = self.running.none.notified();
            if self.running.inner.lock().all == 0 {
                return;
            }
            none.await;
        }
    }

    /// The names of the tasks that have not ended, each with how many there are.
    pub(crate) fn left(&self) -> Vec<String> {
        let inner = self.running.inner.lock();
        let left = inner.by_name.iter().filter(|(_, count)| **count > 0);
        let mut left: Vec<String> = left.map(|(name, count)| format!("{name} ({count})")).collect();
        left.sort();
        left
    }

    /// Resolves when a task that has to run has panicked too often to be restarted: its name.
    pub(crate) async fn lost(&self) -> &'static str {
        let mut lost = self.lost.subscribe();
        let name = lost.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        // The sender lives as long as this value does, and the condition has a name in it.
        name.unwrap_or_default()
    }
}

impl Tasks for ServerTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let alive = Alive::new(name, &self.running);
        let task = self.runtime.spawn(async move {
            let _alive = alive;
            // It is counted and named, and there is nobody to tell.
            drop(panics::caught_in(name, future).await);
        });
        drop(task);
    }

    fn supervise(&self, name: &'static str, mut make: Make) {
        let (clock, lost, mut stopping) = (self.clock.clone(), self.lost.clone(), self.stopping());
        let future = async move {
            let mut panics = Panics::default();
            for start in 0.. {
                if panics::caught_in(name, async { make(start).await }).await.is_ok() {
                    return;
                }
                let Some(pause) = panics.again(clock.monotonic()) else {
                    lost.send_replace(Some(name));
                    return;
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => tracing::warn!(task = name, "a task is started again"),
                    () = &mut stopping => return,
                }
            }
        };
        self.spawn(name, Box::pin(future));
    }

    fn stopping(&self) -> BoxFuture<'static, ()> {
        let mut stopping = self.stopping.subscribe();
        Box::pin(async move {
            // An error means that the tasks are gone, which is a stop as well.
            drop(stopping.wait_for(|stopping| *stopping).await);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn tasks() -> Arc<ServerTasks> {
        ServerTasks::new(SystemClock::new())
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_alone_and_what_is_left_at_a_stop_is_named() {
        let tasks = tasks();
        tasks.spawn("test.panics", Box::pin(async { panic!("of the test") }));
        tasks.spawn("test.stays", Box::pin(pending()));
        let stopping = tasks.stopping();
        tasks.spawn("test.goes", stopping);
        assert!(tokio::time::timeout(Duration::from_millis(50), tasks.stop()).await.is_err());
        assert_eq!(tasks.left(), ["test.stays (1)"]);
    }

    #[tokio::test]
    async fn what_has_to_run_is_made_again_until_it_panics_too_often() {
        let (tasks, starts) = (tasks(), watch::Sender::new(0));
        let (counted, mut seen) = (starts.clone(), starts.subscribe());
        let seldom = move |start: usize| -> BoxFuture<'static, ()> {
            counted.send_replace(start);
            assert!(start > 0, "also what makes a task may panic");
            Box::pin(async move { assert!(start > 1, "of the test") })
        };
        tasks.supervise("test.seldom", Box::new(seldom));
        seen.wait_for(|start| *start == 2).await.expect("it is made a third time");
        tasks.stop().await;
        let tasks = self::tasks();
        tasks.supervise("test.often", Box::new(|_| Box::pin(async { panic!("of the test") })));
        assert_eq!(tasks.lost().await, "test.often");
        tasks.stop().await;
        assert!(tasks.left().is_empty());
    }

    #[tokio::test]
    async fn a_server_that_stops_restarts_nothing() {
        let tasks = tasks();
        let stopping = tasks.stopping();
        let mut first = Some(stopping);
        let make = move |start: usize| -> BoxFuture<'static, ()> {
            assert_eq!(start, 0);
            let stopping = first.take();
            Box::pin(async move {
                if let Some(stopping) = stopping {
                    stopping.await;
                }
                panic!("of the test")
            })
        };
        tasks.supervise("test.late", Box::new(make));
        tasks.stop().await;
    }
}
