//! Tasks of a test, which ends them all or fails.
//!
//! Guarantees: [`TestTasks::stop`] returns when every task has ended; a task that panicked, or that
//! does not end once the stop was told, fails the test by name. What is supervised is made again at once, and
//! fails the test too, unless the test asked for that.
//! It is not the server's: there is no deadline to configure.

use std::{fmt, mem, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidings_core::{
    panics,
    runtime::{Make, Tasks},
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::timeout};

use crate::PATIENCE;

/// The [`Tasks`] of a test. Made inside the runtime that runs them.
pub struct TestTasks {
    runtime: Handle,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    stopping: watch::Sender<bool>,
    restarted: Arc<Mutex<Vec<&'static str>>>,
}

impl TestTasks {
    /// Tasks on the runtime of the caller.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            runtime: Handle::current(),
            running: Mutex::default(),
            stopping: watch::Sender::new(false),
            restarted: Arc::default(),
        })
    }

    /// The names of the tasks that have not ended.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        self.running.lock().iter().filter(|(_, task)| !task.is_finished()).map(|(name, _)| *name).collect()
    }

    /// The names of what panicked and was made again since the last call: a test that asks has expected them.
    #[must_use]
    pub fn take_restarted(&self) -> Vec<&'static str> {
        mem::take(&mut *self.restarted.lock())
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
                let restarted = self.take_restarted();
                assert!(restarted.is_empty(), "these panicked: {restarted:?}");
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

    fn supervise(&self, name: &'static str, mut make: Make) {
        let restarted = self.restarted.clone();
        let future = async move {
            for start in 0..panics::MOST {
                if panics::caught_in(name, async { make(start).await }).await.is_ok() {
                    return;
                }
                restarted.lock().push(name);
            }
            panic!("{name} panicked too often");
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

impl fmt::Debug for TestTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestTasks({:?})", self.running())
    }
}
