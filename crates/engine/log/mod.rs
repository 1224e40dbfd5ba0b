//! The event log in SQLite: numbers, keeps, reads, trims and announces publications.
//!
//! Guarantees: those of the port, `tidings_core::log`; with [`Durability::Power`] a commit waits
//! for the disk. One writer thread gives the numbers, so the order on the disk is the order announced.
//! It is not the owner of its directory: [`DataDir`] is, and whoever opens a log holds one.

mod allowance;
mod append;
mod batch;
mod channels;
mod config;
mod directory;
mod epoch;
mod error;
mod facts;
mod jobs;
mod news;
mod page;
mod queue;
mod readers;
mod reserve;
mod rows;
mod schedule;
mod schema;
mod space;
mod steady;
mod tail;
mod tally;
#[cfg(test)]
mod tests;
mod trim;
mod writer;

use std::{
    collections::VecDeque,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tidings_core::{
    BoxFuture, Channel, Epoch, Result, UserId,
    log::{
        Appended, ChannelFacts, Committed, Ended, EventLog, ListChannels, LogRules, LogSink, LogSlot, LogStatus,
        OtherVersions, Page, Publication, Read, Remembered, SavedState,
    },
    runtime::Clock,
};
use tokio::sync::{oneshot, watch};

pub use config::{Durability, LogConfig};
pub use directory::{DataDir, Holder, Holding, Others};
pub use error::OpenError;
pub use reserve::has_no_room;

use append::Numbering;
use epoch::Machine;
use queue::{Queue, Room, To, Work, answer_bytes, closed};
use readers::Readers;
use reserve::Reserve;
use space::Space;
use steady::Steady;
use tail::SharedTail;
use tally::Tally;
use trim::Trimmer;
use writer::{Place, Shared, Writer};

/// The event log of one server.
pub struct SqliteLog {
    epoch: Epoch,
    dir: PathBuf,
    shared: Arc<Shared>,
    readers: Readers,
    tail: SharedTail,
}

impl SqliteLog {
    /// Opens the log of a directory, or makes it. The caller holds the directory's [`DataDir`].
    ///
    /// # Errors
    /// [`OpenError`]: the file is a newer program's, or cannot be used.
    pub fn open(config: LogConfig, clock: Arc<dyn Clock>) -> std::result::Result<Arc<Self>, OpenError> {
        Self::open_on(config, clock, &Machine::here(), None)
    }

    fn open_on(
        config: LogConfig,
        clock: Arc<dyn Clock>,
        machine: &Machine,
        most_pages: Option<u32>,
    ) -> std::result::Result<Arc<Self>, OpenError> {
        let failed = schema::of_file(&config.dir);
        let place = Place { dir: config.dir.clone(), durability: config.durability, most_pages };
        let reserve = Reserve::new(&config.dir, config.reserve_bytes);
        let (opened, full) = match place.open(machine) {
            Err(error) if error.is_full_disk() && reserve.release() => (place.open(machine), true),
            opened => (opened, false),
        };
        let (sql, epoch) = opened?;
        let mut space = Space::new(config.total_bytes, reserve);
        if full {
            space.disk_full(clock.monotonic());
        }
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue, config.queue_bytes),
            sink: OnceLock::new(),
            rules: OnceLock::new(),
            healthy: AtomicBool::new(true),
            full: AtomicBool::new(false),
            full_times: AtomicU64::new(0),
            full_elsewhere: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        });
        let tail = SharedTail::default();
        let writer = Writer {
            place,
            shared: shared.clone(),
            numbering: Numbering::load(&sql, epoch.clone(), tail.clone()).map_err(&failed)?.allowing(config.allowed),
            sql: Some(sql),
            trimmer: Trimmer::default(),
            space,
            steady: Steady::new(&*clock),
            tally: Tally::default(),
            clock,
            waiting: VecDeque::new(),
            since_slice: 0,
            retry: Duration::from_millis(20),
        };
        thread::Builder::new()
            .name("tidings-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::File { path: config.dir.clone(), source })?;
        let readers = Readers::new(config.dir.clone());
        Ok(Arc::new(Self { epoch, dir: config.dir, shared, readers, tail }))
    }

    /// Says how channels are kept. Until then nothing is trimmed, whatever there is. To be called once, when the
    /// rules of all namespaces are known: one without a rule is never trimmed by one.
    pub fn keep(&self, rules: LogRules) {
        if self.shared.rules.set(rules).is_err() {
            tracing::error!("the log was told twice how it keeps channels: the first time counts");
        }
        self.shared.queue.wake();
    }

    /// Says that something else than the log found the disk full: the log gives up its reserve and trims its oldest
    /// messages, so that there is room.
    pub fn make_room(&self) {
        if !reserve::is_there(&self.dir) {
            return;
        }
        self.shared.full_elsewhere.store(true, Ordering::Relaxed);
        self.shared.queue.wake();
    }

    /// Whether the disk is full, and how often it was found full since the log was opened.
    #[must_use]
    pub fn full_disk(&self) -> (bool, u64) {
        (self.shared.full.load(Ordering::Relaxed), self.shared.full_times.load(Ordering::Relaxed))
    }

    /// Makes the next [`SqliteLog::open`] of this directory begin a new epoch: every client is told
    /// to start anew. The caller holds the directory's [`DataDir`], and no log of it is open.
    ///
    /// # Errors
    /// As [`SqliteLog::open`].
    pub fn renew_epoch(dir: &Path) -> std::result::Result<(), OpenError> {
        let sql = schema::prepare(dir)?;
        epoch::forget(&sql).map_err(schema::of_file(dir))
    }

    /// Resolves when the log writes nothing any more: it was closed, or its writer panicked too often.
    pub async fn ended(&self) {
        // An error would mean that the writer is gone, which is the end as well.
        drop(self.shared.ended.subscribe().wait_for(|ended| *ended).await);
    }

    fn slot(&self, room: Room) -> Box<dyn LogSlot> {
        Box::new(Slot { shared: self.shared.clone(), room })
    }

    /// Has the writer do something, and waits for its answer.
    async fn ask<T>(&self, bytes: usize, work: impl FnOnce(To<T>) -> Work) -> Result<T> {
        let room = self.shared.queue.reserve(bytes).await?;
        let (to, answer) = oneshot::channel();
        self.shared.queue.push(work(to), room);
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(query).await
    }
}

impl fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteLog({})", self.dir.display())
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

struct Slot {
    shared: Arc<Shared>,
    room: Room,
}

impl Slot {
    fn push(self, user: Option<UserId>, publications: Vec<Publication>) -> Appended {
        let (to, answer) = oneshot::channel();
        self.shared.queue.push(Work::Send { publications, user, to }, self.room);
        Appended::new(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }
}

impl LogSlot for Slot {
    fn send(self: Box<Self>, publications: Vec<Publication>) -> Appended {
        self.push(None, publications)
    }

    fn send_for(self: Box<Self>, user: UserId, publications: Vec<Publication>) -> Appended {
        self.push(Some(user), publications)
    }
}

impl EventLog for SqliteLog {
    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    fn attach(&self, sink: Arc<dyn LogSink>) {
        if self.shared.sink.set(sink).is_err() {
            tracing::error!("a second sink of the log hears nothing");
        }
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Box<dyn LogSlot>>> {
        Box::pin(async move { Ok(self.slot(self.shared.queue.reserve(bytes).await?)) })
    }

    fn try_reserve(&self, bytes: usize) -> Result<Box<dyn LogSlot>> {
        Ok(self.slot(self.shared.queue.try_reserve(bytes)?))
    }

    fn read(&self, channel: &Channel, read: Read) -> BoxFuture<'_, Result<Page>> {
        let (channel, tail) = (channel.clone(), self.tail.clone());
        Box::pin(self.query(move |sql| page::read(sql, &tail, &channel, &read)))
    }

    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Committed>>> {
        Box::pin(self.query(move |sql| rows::feed(sql, after, limit)))
    }

    fn facts(&self, channel: &Channel) -> BoxFuture<'_, Result<Option<ChannelFacts>>> {
        let (channel, tail) = (channel.clone(), self.tail.clone());
        Box::pin(self.query(move |sql| facts::one(sql, &tail, &channel)))
    }

    fn states(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<Option<SavedState>>>> {
        Box::pin(self.query(move |sql| facts::states(sql, &channels)))
    }

    fn states_of_others(&self, query: OtherVersions) -> BoxFuture<'_, Result<Vec<ChannelFacts>>> {
        let tail = self.tail.clone();
        Box::pin(self.query(move |sql| facts::of_others(sql, &tail, &query)))
    }

    fn states_are_of(&self, namespace: &str, version: u32) -> BoxFuture<'_, Result<()>> {
        let namespace = namespace.to_owned();
        Box::pin(self.ask(0, move |to| Work::StatesAreOf { namespace, version, to }))
    }

    fn list(&self, query: ListChannels) -> BoxFuture<'_, Result<Vec<ChannelFacts>>> {
        let tail = self.tail.clone();
        Box::pin(self.query(move |sql| facts::list(sql, &tail, &query)))
    }

    fn save_state(&self, channel: &Channel, state: SavedState, settled: bool) -> BoxFuture<'_, Result<()>> {
        let channel = channel.clone();
        Box::pin(self.ask(state.bytes.len(), move |to| Work::SaveState { channel, state, settled, to }))
    }

    fn delete(&self, channel: &Channel) -> BoxFuture<'_, Result<()>> {
        let channel = channel.clone();
        Box::pin(self.ask(0, |to| Work::Delete { channel, to }))
    }

    fn begin_command(
        &self,
        user: &UserId,
        command_id: &str,
        digest: &str,
    ) -> BoxFuture<'_, Result<Option<Remembered>>> {
        let (user, id, digest) = (user.clone(), command_id.to_owned(), digest.to_owned());
        Box::pin(self.ask(id.len(), |to| Work::BeginCommand { user, id, digest, to }))
    }

    fn end_command(&self, user: &UserId, command_id: &str, mut ended: Option<Ended>) -> BoxFuture<'_, Result<()>> {
        let (user, id) = (user.clone(), command_id.to_owned());
        // What is too long to be kept takes no room in the queue either.
        allowance::shorten(ended.as_mut());
        let bytes = answer_bytes(ended.as_ref());
        Box::pin(self.ask(bytes, |to| Work::EndCommand { user, id, ended, to }))
    }

    fn status(&self) -> LogStatus {
        let file = schema::file(&self.dir);
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        LogStatus {
            waiting: self.shared.queue.waiting(),
            healthy: self.shared.healthy.load(Ordering::Relaxed),
            file_bytes: size(&file) + size(&file.with_extension("db-wal")),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.queue.close();
        Box::pin(async {
            self.ended().await;
            self.readers.close().await;
        })
    }
}
