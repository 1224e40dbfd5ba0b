//! Tasks of a test, which ends them all or fails.
//!
//! Guarantees: [`TestTasks::stop`] returns when every task has ended; a task that panicked, or that
//! does not end once the stop was told, fails the test by name.
//! It is not the server's: there is no deadline to configure.

use std::{fmt, mem, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidings_core::runtime::Tasks;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::timeout};

use crate::PATIENCE;

/// The [`Tasks`] of a test. Made inside the runtime that runs them.
pub struct TestTasks {
    runtime: Handle,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    stopping: watch::Sender<bool>,
}

impl TestTasks {
    /// Tasks on the runtime of the caller.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { runtime: Handle::current(), running: Mutex::default(), stopping: watch::Sender::new(false) })
    }

    /// The names of the tasks that have not ended.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        self.running.lock().iter().filter(|(_, task)| !task.is_finished()).map(|(name, _)| *name).collect()
    }

    /// Says that the server is stopping, and waits until every task has ended.
    ///
    /// # Panics
    /// When a task panicked or does not end.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        loop {
            let tasks = mem::take(&mut *self.running.lock());
            if tasks.is_empty() {
                return;
            }
            for (name, task) in tasks {
                match timeout(PATIENCE, task).await {
                    Ok(ended) => ended.unwrap_or_else(|error| panic!("the task {name} failed: {error}")),
                    Err(_) => panic!("the task {name} did not end"),
                }
            }
        }
    }
}

impl Tasks for TestTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let task = self.runtime.spawn(future);
        self.running.lock().push((name, task));
    }

    fn stopping(&self) -> BoxFuture<'static, ()> {
        let mut stopping = self.stopping.subscribe();
        Box::pin(async move {
            // An error means that the tasks are gone, which is a stop as well.
            drop(stopping.wait_for(|stopping| *stopping).await);
        })
    }
}

impl fmt::Debug for TestTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestTasks({:?})", self.running())
    }
}
