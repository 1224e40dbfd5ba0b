//! Readers of the log: a few connections of their own, off the async threads.
//!
//! Guarantees: a reader never waits for the writer nor holds it up; at most so many read at once,
//! in the order of asking.
//! It is not a cache: what is read often is in the hub's memory.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tidings_core::{Error, Result};
use tokio::{sync::Semaphore, task};

use super::{queue::closed, schema};

/// How many read at once.
const READERS: u32 = 4;

/// The readers.
pub(super) struct Readers {
    dir: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    closed: AtomicBool,
}

impl Readers {
    pub(super) fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            dir,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(READERS as usize)),
            closed: AtomicBool::new(false),
        })
    }

    /// Runs a query on a connection of its own.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let readers = self.clone();
        let read = task::spawn_blocking(move || {
            let answer = readers.run(query);
            drop(permit);
            answer
        });
        match read.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "the log cannot be read");
                Err(Error::unavailable("the log cannot be read now"))
            }
            Err(error) => {
                tracing::error!(%error, "a reader of the log failed");
                Err(Error::unavailable("the log cannot be read now"))
            }
        }
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::reader(&self.dir)?,
        };
        let answer = query(&connection)?;
        // A connection that failed is not used again.
        self.idle.lock().push(connection);
        Ok(answer)
    }

    /// Refuses more, waits for those who read, and closes their connections.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // It has all permits once nobody reads. An error means that it was closed before.
        drop(self.permits.acquire_many(READERS).await);
        self.permits.close();
        self.idle.lock().clear();
    }
}
