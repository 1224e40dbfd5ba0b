//! A log in memory, with switches for faults that a real log shows only rarely.
//!
//! Guarantees: passes the conformance suite; announcements come on the sender's own thread, before
//! the receipt resolves, unless they are paused.
//! It is not durable: what outlives a [`MemoryLog::reopen`] is what the new log shares with the old one.

pub(crate) mod store;

use std::{
    collections::{HashSet, VecDeque},
    fmt, mem,
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Channel, Epoch, Error, Result, UserId,
    bus::Placed,
    handler::Retention,
    log::{
        Appended, ChannelFacts, Committed, EventLog, ListChannels, LogSink, LogSlot, LogStatus, OtherVersions, Page,
        Publication, Read, Remembered, SavedState,
    },
    runtime::Clock,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use store::{News, Store};

/// How a log in memory behaves.
#[derive(Clone)]
pub struct MemoryConfig {
    /// How much of the channels of a namespace is kept. Default: everything.
    pub retention: Arc<dyn Fn(&str) -> Retention + Send + Sync>,
    /// The namespaces whose channels are trimmed only below a saved state. Default: none.
    pub projected: HashSet<String>,
    /// How many sends may be under way. Default: 8192.
    pub queue: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        let everything = Retention { messages: 0, bytes: 0, age_ms: 0 };
        Self { retention: Arc::new(move |_| everything), projected: HashSet::new(), queue: 8192 }
    }
}

impl fmt::Debug for MemoryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryConfig(queue {}, projected {:?})", self.queue, self.projected)
    }
}

type Answer = (oneshot::Sender<Result<Vec<Placed>>>, Result<Vec<Placed>>);

/// What is to be announced, and who is answered after it.
struct Announcement {
    news: Vec<News>,
    answer: Option<Answer>,
}

struct State {
    store: Arc<Mutex<Store>>,
    sink: Option<Arc<dyn LogSink>>,
    outbox: VecDeque<Announcement>,
    announcing: bool,
    paused: bool,
    closed: bool,
    fail: usize,
    fail_reads: bool,
    failed_reads: usize,
    lose: usize,
}

/// The [`EventLog`] of tests.
pub struct MemoryLog {
    config: MemoryConfig,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

impl MemoryLog {
    /// An empty log that keeps everything.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::with(MemoryConfig::default(), clock)
    }

    /// An empty log that behaves so.
    #[must_use]
    pub fn with(config: MemoryConfig, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::over(config, clock, Arc::new(Mutex::new(Store::new())))
    }

    fn over(config: MemoryConfig, clock: Arc<dyn Clock>, store: Arc<Mutex<Store>>) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(config.queue));
        let state = State {
            store,
            sink: None,
            outbox: VecDeque::new(),
            announcing: false,
            paused: false,
            closed: false,
            fail: 0,
            fail_reads: false,
            failed_reads: 0,
            lose: 0,
        };
        Arc::new(Self { config, clock, room, state: Arc::new(Mutex::new(state)) })
    }

    /// The same log as after a restart: same contents and epoch, no sink. The old one is to be closed.
    #[must_use]
    pub fn reopen(&self) -> Arc<Self> {
        Self::over(self.config.clone(), self.clock.clone(), self.state.lock().store.clone())
    }

    /// The same log under a new epoch, as after its copy was started elsewhere.
    #[must_use]
    pub fn reopen_copied(&self) -> Arc<Self> {
        let log = self.reopen();
        log.state.lock().store.lock().epoch = Epoch(tidings_core::id::random());
        log
    }

    /// From now on commits are announced only after [`MemoryLog::release`]. Receipts resolve all the same.
    pub fn pause_announcements(&self) {
        self.state.lock().paused = true;
    }

    /// Announces what waits, and everything from now on at once.
    pub fn release(&self) {
        self.state.lock().paused = false;
        announce(&self.state);
    }

    /// The next `sends` fail as `unavailable`, and nothing of them is kept.
    pub fn fail_next(&self, sends: usize) {
        self.state.lock().fail = sends;
    }

    /// From now on, or no more, every read fails as `unavailable`, as with a disk that gives nothing.
    pub fn fail_reads(&self, fail: bool) {
        self.state.lock().fail_reads = fail;
    }

    /// How many reads failed because it was said so.
    #[must_use]
    pub fn failed_reads(&self) -> usize {
        self.state.lock().failed_reads
    }

    /// The next `sends` are kept, but answered `unavailable` and not announced; then the sink hears
    /// `uncertain`, as after a commit whose outcome was not known.
    pub fn lose_next(&self, sends: usize) {
        self.state.lock().lose = sends;
    }

    /// Trims now what the retention no longer keeps, for instance after the clock was moved.
    pub fn trim(&self) {
        self.change(|store| store.trim(&self.config, self.clock.now()));
    }

    /// Changes the store, and announces what comes of it.
    fn change(&self, change: impl FnOnce(&mut Store) -> Vec<News>) {
        let mut state = self.state.lock();
        let news = change(&mut state.store.clone().lock());
        state.outbox.push_back(Announcement { news, answer: None });
        drop(state);
        announce(&self.state);
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Box<dyn LogSlot> {
        Box::new(Slot {
            config: self.config.clone(),
            clock: self.clock.clone(),
            state: self.state.clone(),
            _permit: permit,
        })
    }

    fn is_open(&self) -> Result<()> {
        if self.state.lock().closed { Err(closed()) } else { Ok(()) }
    }

    fn reading<T>(&self, read: impl FnOnce(&Store) -> T) -> Result<T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(closed());
        }
        if state.fail_reads {
            state.failed_reads += 1;
            return Err(Error::unavailable("the log cannot be read now"));
        }
        let store = state.store.lock();
        Ok(read(&store))
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryLog")
    }
}

fn closed() -> Error {
    Error::unavailable("the log is closed")
}

/// Announces what waits, in order. One thread at a time does it, also for those who come meanwhile.
fn announce(state: &Mutex<State>) {
    let mut locked = state.lock();
    if locked.announcing {
        return;
    }
    locked.announcing = true;
    loop {
        let paused = locked.paused;
        let mut answers = Vec::new();
        let mut ready = VecDeque::new();
        if paused {
            answers.extend(locked.outbox.iter_mut().filter_map(|waiting| waiting.answer.take()));
        } else {
            ready = mem::take(&mut locked.outbox);
        }
        if answers.is_empty() && ready.is_empty() {
            locked.announcing = false;
            return;
        }
        let sink = locked.sink.clone();
        drop(locked);
        for announcement in ready {
            if let Some(sink) = &sink {
                announcement.news.into_iter().for_each(|news| tell(&**sink, news));
            }
            answers.extend(announcement.answer);
            for (to, answer) in answers.drain(..) {
                // Whoever dropped its receipt does not want to know.
                drop(to.send(answer));
            }
        }
        for (to, answer) in answers {
            drop(to.send(answer));
        }
        locked = state.lock();
    }
}

fn tell(sink: &dyn LogSink, news: News) {
    match news {
        News::Committed(batch) if batch.is_empty() => {}
        News::Committed(batch) => sink.committed(&batch),
        News::Trimmed(channel, first) => sink.trimmed(&channel, first),
        News::StateWanted(channel, through) => sink.state_wanted(&channel, through),
        News::Deleted(channel) => sink.deleted(&channel),
        News::Uncertain => sink.uncertain(),
    }
}

struct Slot {
    config: MemoryConfig,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn append(&self, publications: Vec<Publication>) -> oneshot::Receiver<Result<Vec<Placed>>> {
        let (to, answer) = oneshot::channel();
        let now = self.clock.now();
        let mut state = self.state.lock();
        let announcement = if state.closed {
            Announcement { news: Vec::new(), answer: Some((to, Err(closed()))) }
        } else if state.fail > 0 {
            state.fail -= 1;
            Announcement { news: Vec::new(), answer: Some((to, Err(Error::unavailable("the log failed")))) }
        } else {
            let lost = state.lose > 0;
            state.lose -= usize::from(lost);
            let store = state.store.clone();
            let mut store = store.lock();
            let appended = store.append(publications, now);
            let trimmed = store.trim(&self.config, now);
            finish(appended, trimmed, lost, to)
        };
        state.outbox.push_back(announcement);
        drop(state);
        announce(&self.state);
        answer
    }
}

fn finish(
    appended: Result<(Vec<Placed>, Vec<Committed>)>,
    trimmed: Vec<News>,
    lost: bool,
    to: oneshot::Sender<Result<Vec<Placed>>>,
) -> Announcement {
    let (answer, batch) = match appended {
        Ok((placed, batch)) => (Ok(placed), batch),
        Err(error) => (Err(error), Vec::new()),
    };
    if lost {
        let answer = Err(Error::unavailable("the outcome is not known"));
        return Announcement { news: vec![News::Uncertain], answer: Some((to, answer)) };
    }
    let news = [News::Committed(batch)].into_iter().chain(trimmed).collect();
    Announcement { news, answer: Some((to, answer)) }
}

impl LogSlot for Slot {
    fn send(self: Box<Self>, publications: Vec<Publication>) -> Appended {
        let answer = self.append(publications);
        Appended::new(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }
}

impl EventLog for MemoryLog {
    fn epoch(&self) -> Epoch {
        self.state.lock().store.lock().epoch.clone()
    }

    fn attach(&self, sink: Arc<dyn LogSink>) {
        self.state.lock().sink = Some(sink);
    }

    fn reserve(&self, _bytes: usize) -> BoxFuture<'_, Result<Box<dyn LogSlot>>> {
        Box::pin(async {
            let permit = self.room.clone().acquire_owned().await.map_err(|_| closed())?;
            Ok(self.slot(permit))
        })
    }

    fn try_reserve(&self, _bytes: usize) -> Result<Box<dyn LogSlot>> {
        if self.room.is_closed() {
            return Err(closed());
        }
        let permit = self.room.clone().try_acquire_owned().map_err(|_| Error::overloaded("the log's queue is full"))?;
        Ok(self.slot(permit))
    }

    fn read(&self, channel: &Channel, read: Read) -> BoxFuture<'_, Result<Page>> {
        let page = self.reading(|store| store.read(channel, &read));
        Box::pin(async { page })
    }

    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Committed>>> {
        let found = self.reading(|store| store.feed(after, limit));
        Box::pin(async { found })
    }

    fn facts(&self, channel: &Channel) -> BoxFuture<'_, Result<Option<ChannelFacts>>> {
        let facts = self.reading(|store| store.facts(channel));
        Box::pin(async { facts })
    }

    fn states(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<Option<SavedState>>>> {
        let found = self.reading(|store| store.states(&channels));
        Box::pin(async { found })
    }

    fn states_of_others(&self, query: OtherVersions) -> BoxFuture<'_, Result<Vec<ChannelFacts>>> {
        let found = self.reading(|store| store.states_of_others(&query));
        Box::pin(async { found })
    }

    fn states_are_of(&self, namespace: &str, version: u32) -> BoxFuture<'_, Result<()>> {
        let namespace = namespace.to_owned();
        Box::pin(async move {
            self.is_open()?;
            self.change(|store| {
                store.states_are_of(namespace, version);
                Vec::new()
            });
            Ok(())
        })
    }

    fn list(&self, query: ListChannels) -> BoxFuture<'_, Result<Vec<ChannelFacts>>> {
        let found = self.reading(|store| store.list(&query));
        Box::pin(async { found })
    }

    fn save_state(&self, channel: &Channel, state: SavedState, settled: bool) -> BoxFuture<'_, Result<()>> {
        let channel = channel.clone();
        Box::pin(async move {
            self.is_open()?;
            self.change(|store| {
                store.save_state(&channel, state, settled);
                store.trim(&self.config, self.clock.now())
            });
            Ok(())
        })
    }

    fn delete(&self, channel: &Channel) -> BoxFuture<'_, Result<()>> {
        let channel = channel.clone();
        Box::pin(async move {
            self.is_open()?;
            let mut deleted = Ok(());
            self.change(|store| match store.delete(&channel) {
                Ok(news) => vec![news],
                Err(error) => {
                    deleted = Err(error);
                    Vec::new()
                }
            });
            deleted
        })
    }

    fn begin_command(
        &self,
        user: &UserId,
        command_id: &str,
        digest: &str,
    ) -> BoxFuture<'_, Result<Option<Remembered>>> {
        let (user, id, digest) = (user.clone(), command_id.to_owned(), digest.to_owned());
        Box::pin(async move {
            self.is_open()?;
            let store = self.state.lock().store.clone();
            Ok(store.lock().begin_command(&user, &id, &digest, self.clock.now()))
        })
    }

    fn end_command(&self, user: &UserId, command_id: &str, answer: Option<&str>) -> BoxFuture<'_, Result<()>> {
        let (user, id, answer) = (user.clone(), command_id.to_owned(), answer.map(str::to_owned));
        Box::pin(async move {
            self.is_open()?;
            let store = self.state.lock().store.clone();
            store.lock().end_command(&user, &id, answer.as_deref());
            Ok(())
        })
    }

    fn status(&self) -> LogStatus {
        let state = self.state.lock();
        LogStatus { waiting: 0, healthy: state.fail == 0 && !state.closed, file_bytes: 0 }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.room.close();
        self.state.lock().closed = true;
        Box::pin(async {})
    }
}
