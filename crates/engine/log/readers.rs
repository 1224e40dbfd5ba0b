//! Readers of the log: a few threads with a connection each, off the async ones.
//!
//! Guarantees: a reader never waits for the writer nor holds it up; at most so many read at once,
//! in the order of asking; what waits is bounded. A crowd that asks wakes a thread once, not each
//! for itself.
//! It is not a cache: what is read often is in the hub's memory.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, thread};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode};
use rustix::{process::setpriority_process, thread::gettid};
use tidings_core::{Error, Result, fault, panics};
use tokio::sync::{Semaphore, oneshot};

use super::{queue::closed, schema};

/// How many read at once.
const READERS: usize = 4;
/// How many queries wait or run; whoever asks beyond that waits before.
const MOST: u32 = 1024;

/// How far readers step back behind the writer and the fan-out: who reads a million old messages is
/// not to delay who is live.
const NICE: i32 = 5;
/// Of so many that wait, one wakes a thread: the first, and then each time as many again.
const CROWD: usize = 16;

/// A query with the way of its answer.
type Query = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Query>,
    /// Threads that have nothing to do.
    idle: usize,
    threads: usize,
    closed: bool,
}

struct Shared {
    dir: PathBuf,
    inner: Mutex<Inner>,
    arrival: Condvar,
}

/// The readers.
pub(super) struct Readers {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(dir: PathBuf) -> Self {
        let shared = Arc::new(Shared { dir, inner: Mutex::default(), arrival: Condvar::new() });
        Self { shared, room: Arc::new(Semaphore::new(MOST as usize)) }
    }

    /// Runs a query on a connection of its own.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.room.clone().acquire_owned().await.map_err(|_| closed())?;
        let (to, answer) = oneshot::channel();
        self.shared.push(Box::new(move |connection| {
            let (answer, outcome) = match query(connection) {
                Ok(found) => (Some(found), Ok(())),
                Err(error) => (None, Err(error)),
            };
            drop(permit);
            // Whoever asked may be gone.
            drop(to.send(answer));
            outcome
        }))?;
        match answer.await {
            Ok(Some(found)) => Ok(found),
            // Why, and of which file, is in the server's log; a query that panicked drops the way of its answer.
            Ok(None) | Err(_) => Err(Error::unavailable("the log cannot be read now")),
        }
    }

    /// Refuses more, waits for those who read, and closes their connections.
    pub(super) async fn close(&self) {
        self.shared.inner.lock().closed = true;
        self.shared.arrival.notify_all();
        // It has all permits once nobody reads. An error means that it was closed before.
        drop(self.room.acquire_many(MOST).await);
        self.room.close();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.inner.lock().closed = true;
        self.shared.arrival.notify_all();
    }
}

impl Shared {
    /// Puts a query at the end, and sees to it that somebody takes it.
    fn push(self: &Arc<Self>, query: Query) -> Result<()> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(closed());
        }
        inner.waiting.push_back(query);
        if inner.waiting.len() % CROWD != 1 {
            return Ok(());
        }
        if inner.idle > 0 {
            self.arrival.notify_one();
        } else if inner.threads < READERS {
            self.start(&mut inner);
        }
        Ok(())
    }

    /// Starts a thread. Without any, what waits is dropped, and whoever asked is told.
    fn start(self: &Arc<Self>, inner: &mut Inner) {
        let shared = self.clone();
        let run = move || {
            if panics::caught("log.reader", || shared.run()).is_err() {
                shared.lost();
            }
        };
        match thread::Builder::new().name("tidings-read".to_owned()).spawn(run) {
            Ok(_) => inner.threads += 1,
            Err(error) => {
                tracing::error!(%error, "a reader of the log cannot be started");
                if inner.threads == 0 {
                    inner.waiting.clear();
                }
            }
        }
    }

    /// A thread was lost: another one takes what waits.
    fn lost(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        inner.threads -= 1;
        if !inner.waiting.is_empty() {
            self.start(&mut inner);
        }
    }

    fn run(&self) {
        // On Linux the priority is the thread's own.
        if let Err(error) = setpriority_process(Some(gettid()), NICE) {
            tracing::debug!(%error, "a reader of the log runs like the others");
        }
        let mut connection = None;
        while let Some(query) = self.next() {
            if connection.is_none() {
                connection = schema::reader(&self.dir).inspect_err(|error| self.failed(error)).ok();
            }
            let Some(open) = &connection else { continue };
            fault::here("log.reader");
            match panics::caught("log.query", || query(open)) {
                Ok(Ok(())) => {}
                // A connection that failed is not used again.
                Ok(Err(error)) => {
                    self.failed(&error);
                    connection = None;
                }
                Err(_) => connection = None,
            }
        }
    }

    fn failed(&self, error: &rusqlite::Error) {
        let file = schema::file(&self.dir);
        if is_damage(error) {
            tracing::error!(%error, file = %file.display(), "the log's file is damaged: restore it from a back-up");
        } else {
            tracing::error!(%error, file = %file.display(), "the log cannot be read");
        }
    }

    /// The next query; none once it is closed and nothing waits.
    fn next(&self) -> Option<Query> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(query) = inner.waiting.pop_front() {
                return Some(query);
            }
            if inner.closed {
                inner.threads -= 1;
                return None;
            }
            inner.idle += 1;
            self.arrival.wait(&mut inner);
            inner.idle -= 1;
        }
    }
}

/// Whether trying again cannot help: the file holds something that the server never wrote.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            Utf8Error(..) | FromSqlConversionFailure(..) | InvalidColumnType(..) | IntegralValueOutOfRange(..)
        )
}
