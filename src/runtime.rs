//! The server's surroundings: the system's clock, and tasks that are all accounted for.
//!
//! Guarantees: the only place that reads the clock and spawns; at the end every task has ended, or
//! is named as a straggler.
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
    runtime::{Clock, Tasks},
};
use tokio::runtime::Handle;

use crate::ends::{CancellationToken, TaskTracker};

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
    tracker: TaskTracker,
    stopping: CancellationToken,
    running: Arc<Mutex<HashMap<&'static str, usize>>>,
}

impl fmt::Debug for ServerTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTasks({})", self.tracker.len())
    }
}

impl ServerTasks {
    /// No tasks yet. Called inside the runtime that is to run them.
    pub(crate) fn new() -> Arc<Self> {
        let runtime = Handle::current();
        Arc::new(Self {
            runtime,
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            running: Arc::default(),
        })
    }

    /// Says that the server stops, and waits for the tasks: the names of those that are left at the deadline.
    pub(crate) async fn stop(&self, deadline: Duration) -> Vec<String> {
        self.stopping.cancel();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let running = self.running.lock();
        let mut left: Vec<String> =
            running.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name} ({count})")).collect();
        left.sort();
        left
    }
}

/// Counts a task as running until it is dropped, however it ends.
struct Running {
    name: &'static str,
    running: Arc<Mutex<HashMap<&'static str, usize>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(count) = self.running.lock().get_mut(self.name) {
            *count -= 1;
        }
    }
}

impl Tasks for ServerTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        *self.running.lock().entry(name).or_default() += 1;
        let running = Running { name, running: self.running.clone() };
        let counted = async move {
            let _running = running;
            future.await;
        };
        self.tracker.spawn_on(counted, &self.runtime);
    }

    fn stopping(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.stopping.clone().cancelled_owned())
    }
}
