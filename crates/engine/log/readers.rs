//! Readers of the log: a few threads with a connection each, off the async ones.
//!
//! Guarantees: a reader never waits for the writer nor holds it up; at most so many read at once,
//! in the order of asking; what waits is bounded. A crowd that asks wakes a thread now and then, not each
//! for itself; but nobody waits behind somebody slow while a thread has nothing to do.
//! It is not a cache: what is read often is in the hub's memory.

use std::{
    collections::VecDeque,
    mem,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode};
use rustix::{process::setpriority_process, thread::gettid};
use tidings_core::{Error, Result};
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
/// Who waits so long behind somebody who reads gets a thread of its own. Quick reads are over by then, a whole crowd
/// of them, and wake nobody.
const SLOW: Duration = Duration::from_millis(1);

/// A query with the way of its answer.
type Query = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Query>,
    /// Threads that have nothing to do.
    idle: usize,
    threads: usize,
    /// A thread looks, or is to look, whether those that read are slow.
    watched: bool,
    /// The next thread that comes is to be that one.
    watch: bool,
    closed: bool,
    #[cfg(test)]
    wakes: usize,
}

struct Shared {
    dir: PathBuf,
    inner: Mutex<Inner>,
    arrival: Condvar,
    /// Where the thread that watches waits: for a time, not for an arrival.
    end: Condvar,
}

/// The readers.
pub(super) struct Readers {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(dir: PathBuf) -> Self {
        let shared = Arc::new(Shared { dir, inner: Mutex::default(), arrival: Condvar::new(), end: Condvar::new() });
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
        self.shared.close();
        // It has all permits once nobody reads. An error means that it was closed before.
        drop(self.room.acquire_many(MOST).await);
        self.room.close();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.close();
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
        if inner.waiting.len() % CROWD == 1 {
            self.wake(&mut inner);
        }
        Ok(())
    }

    /// Has one more thread come, if there is one.
    fn wake(self: &Arc<Self>, inner: &mut Inner) {
        if inner.idle == 0 && inner.threads >= READERS {
            return;
        }
        #[cfg(test)]
        {
            inner.wakes += 1;
        }
        if inner.idle > 0 {
            self.arrival.notify_one();
        } else {
            self.start(inner);
        }
    }

    fn close(&self) {
        self.inner.lock().closed = true;
        self.arrival.notify_all();
        self.end.notify_all();
    }

    /// Starts a thread. Without any, what waits is dropped, and whoever asked is told.
    fn start(self: &Arc<Self>, inner: &mut Inner) {
        let shared = self.clone();
        match thread::Builder::new().name("tidings-read".to_owned()).spawn(move || shared.run()) {
            Ok(_) => inner.threads += 1,
            Err(error) => {
                tracing::error!(%error, "a reader of the log cannot be started");
                if inner.threads == 0 {
                    inner.waiting.clear();
                }
            }
        }
    }

    fn run(self: &Arc<Self>) {
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
            match panic::catch_unwind(AssertUnwindSafe(|| query(open))) {
                Ok(Ok(())) => {}
                // A connection that failed is not used again.
                Ok(Err(error)) => {
                    self.failed(&error);
                    connection = None;
                }
                Err(_) => {
                    tracing::error!("a reader of the log panicked");
                    connection = None;
                }
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
    fn next(self: &Arc<Self>) -> Option<Query> {
        let mut inner = self.inner.lock();
        loop {
            if mem::take(&mut inner.watch) {
                if !inner.waiting.is_empty() && !inner.closed {
                    self.end.wait_for(&mut inner, SLOW);
                }
                inner.watched = false;
            }
            if let Some(query) = inner.waiting.pop_front() {
                self.leave(&mut inner);
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

    /// Somebody begins to read and leaves others waiting: a thread without work is to look after them.
    fn leave(self: &Arc<Self>, inner: &mut Inner) {
        let free = inner.idle > 0 || inner.threads < READERS;
        if !inner.waiting.is_empty() && !inner.watched && free {
            (inner.watched, inner.watch) = (true, true);
            self.wake(inner);
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

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use futures_util::future::join_all;
    use tidings_testkit::PATIENCE;

    use super::*;

    fn readers() -> (tempfile::TempDir, Readers) {
        let dir = tempfile::tempdir().unwrap();
        drop(schema::prepare(dir.path()).unwrap());
        let readers = Readers::new(dir.path().to_owned());
        (dir, readers)
    }

    /// A read that lasts until the sender is gone, and says whether it was.
    fn slow(readers: &Readers) -> (mpsc::SyncSender<()>, impl Future<Output = Result<bool>>) {
        let (to, until) = mpsc::sync_channel(1);
        let read = readers.read(move |_| {
            let told = until.recv_timeout(Duration::from_secs(60));
            Ok(told == Err(mpsc::RecvTimeoutError::Disconnected))
        });
        (to, read)
    }

    async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
        tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    #[tokio::test]
    async fn one_slow_read_holds_back_nobody_while_a_thread_has_nothing_to_do() {
        let (_dir, readers) = readers();
        // However many came together with it, and in whichever order their threads came.
        for together in [1, 2, 7, CROWD - 1, CROWD, 3 * CROWD] {
            for number_of_slow in 1..READERS {
                let (ends, slow): (Vec<_>, Vec<_>) = (0..number_of_slow).map(|_| slow(&readers)).unzip();
                let quick = (0..together).map(|n| readers.read(move |_| Ok(n)));
                let all = async {
                    futures_util::future::join(join_all(slow), async {
                        let read = in_time("the quick ones", join_all(quick)).await;
                        drop(ends);
                        read
                    })
                    .await
                };
                let (slow, read) = all.await;
                assert!(slow.into_iter().all(|ended| matches!(ended, Ok(true))), "they lasted");
                let read: Vec<usize> = read.into_iter().map(Result::unwrap).collect();
                assert_eq!(read, (0..together).collect::<Vec<_>>());
            }
        }
        readers.close().await;
    }

    #[tokio::test]
    async fn a_crowd_that_asks_while_all_threads_read_wakes_none_of_them() {
        const MANY: usize = 1000;
        let (_dir, readers) = readers();
        for _ in 0..3 {
            let (ends, slow): (Vec<_>, Vec<_>) = (0..READERS).map(|_| slow(&readers)).unzip();
            let mut slow = std::pin::pin!(join_all(slow));
            assert!(futures_util::poll!(&mut slow).is_pending());
            in_time("all threads read", async {
                while !readers.shared.inner.lock().waiting.is_empty() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let before = readers.shared.inner.lock().wakes;
            // All at once: tokio would let others run in between.
            let ask = |n| Box::pin(tokio::task::unconstrained(readers.read(move |_| Ok(n))));
            let mut crowd: Vec<_> = (0..MANY).map(ask).collect();
            for read in &mut crowd {
                assert!(futures_util::poll!(read).is_pending());
            }
            assert_eq!(readers.shared.inner.lock().waiting.len(), MANY);
            drop(ends);
            let read = in_time("the crowd", join_all(crowd)).await;
            assert!(read.into_iter().enumerate().all(|(n, read)| read.is_ok_and(|read| read == n)));
            assert_eq!(readers.shared.inner.lock().wakes, before);
            in_time("the slow ones", slow).await;
        }
        in_time("the end", readers.close()).await;
    }
}
