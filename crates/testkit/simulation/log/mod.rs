//! A log whose every step is a turn of its own: taking sends in, committing, announcing, answering,
//! reading, and all that can fail or come late between two of them.
//!
//! Guarantees: the port's, in what is kept and in the order of what is announced; whatever a real log
//! may do between two steps can happen here, for instance a read that knows what is not announced.
//! It is not durable, and has no commands.

mod port;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Channel, Epoch, Error, Message, Result, Seq, UserId,
    bus::Placed,
    log::{
        Appended, ChannelFacts, Committed, EventLog, ListChannels, LogSink, LogSlot, LogStatus, OtherVersions, Page,
        Publication, Read, Remembered, SavedState,
    },
    runtime::Clock,
};
use tokio::sync::{Notify, oneshot};

use super::{Dice, pass_turns};
use crate::{
    MemoryConfig,
    memory::store::{News, Store},
};

/// What goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Reads that fail.
    pub reads: usize,
    /// Reads that take so long that anything may happen meanwhile.
    pub slow: usize,
    /// Commits whose outcome is not known: they are kept or not, and announced to nobody.
    pub commits: usize,
    /// How often the log's thread gets on while the server is in the middle of something.
    pub meanwhile: usize,
}

/// How often the log reached what real ones reach rarely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Messages were trimmed away while a read of their channel was under way.
    pub trims_in_reads: usize,
    /// A channel was deleted while a read of it was under way.
    pub deletions_in_reads: usize,
    /// Reads failed.
    pub failed_reads: usize,
    /// Reads knew messages that were not announced yet.
    pub early_reads: usize,
    /// Commits were kept and not announced.
    pub lost_announcements: usize,
    /// The log's thread got on while the server was in the middle of something.
    pub meanwhile: usize,
}

impl Reached {
    /// Adds what another log reached.
    pub fn add(&mut self, other: &Self) {
        self.trims_in_reads += other.trims_in_reads;
        self.deletions_in_reads += other.deletions_in_reads;
        self.failed_reads += other.failed_reads;
        self.early_reads += other.early_reads;
        self.lost_announcements += other.lost_announcements;
        self.meanwhile += other.meanwhile;
    }
}

type Answer<T> = oneshot::Sender<Result<T>>;

enum Entry {
    Send(Vec<Publication>, Answer<Vec<Placed>>),
    Save(Channel, SavedState, bool, Answer<()>),
    Delete(Channel, Answer<()>),
    Trim(Channel, Seq),
}

enum Next {
    Tell(News),
    Answer(Answer<Vec<Placed>>, Result<Vec<Placed>>),
    Done(Answer<()>, Result<()>),
}

/// All that was ever committed in a channel, trimmed or not.
#[derive(Debug, Clone, Default)]
struct Past {
    durable: Vec<Arc<Message>>,
    /// With the head that each followed.
    ephemeral: Vec<(Arc<Message>, Seq)>,
    announced: Seq,
    announced_ephemeral: usize,
    deleted: bool,
}

struct Inside {
    store: Store,
    sink: Option<Arc<dyn LogSink>>,
    queue: VecDeque<Entry>,
    next: VecDeque<Next>,
    past: BTreeMap<Channel, Past>,
    reading: BTreeMap<Channel, usize>,
    faults: Faults,
    reached: Reached,
    stepping: bool,
    closed: bool,
}

/// The [`EventLog`] of a simulated world.
pub struct SimulatedLog {
    config: MemoryConfig,
    clock: Arc<dyn Clock>,
    dice: Arc<Dice>,
    inside: Arc<Mutex<Inside>>,
    work: Arc<Notify>,
}

impl SimulatedLog {
    /// An empty log of the epoch `e1`.
    #[must_use]
    pub fn new(config: MemoryConfig, clock: Arc<dyn Clock>, dice: Arc<Dice>) -> Arc<Self> {
        let mut store = Store::new();
        store.epoch = Epoch("e1".into());
        Self::over(config, clock, dice, (store, BTreeMap::new()))
    }

    fn over(
        config: MemoryConfig,
        clock: Arc<dyn Clock>,
        dice: Arc<Dice>,
        (store, past): (Store, BTreeMap<Channel, Past>),
    ) -> Arc<Self> {
        let inside = Inside {
            store,
            sink: None,
            queue: VecDeque::new(),
            next: VecDeque::new(),
            past,
            reading: BTreeMap::new(),
            faults: Faults::default(),
            reached: Reached::default(),
            stepping: false,
            closed: false,
        };
        Arc::new(Self { config, clock, dice, inside: Arc::new(Mutex::new(inside)), work: Arc::default() })
    }

    /// The log as the next process finds it. What was committed is there, whatever was announced or
    /// answered. With a lost tail, the newest so many messages are not, and the epoch is another one.
    #[must_use]
    pub fn restarted(&self, lost: Option<u64>) -> Arc<Self> {
        let (mut store, mut past, reached) = {
            let mut inside = self.inside.lock();
            inside.closed = true;
            inside.sink = None;
            inside.queue.clear();
            inside.next.clear();
            let store = std::mem::replace(&mut inside.store, Store::new());
            (store, std::mem::take(&mut inside.past), inside.reached)
        };
        if let Some(lost) = lost {
            let number: usize = store.epoch.0[1..].parse().unwrap_or_default();
            store.epoch = Epoch(format!("e{}", number + 1).into());
            store.lose_tail(lost);
        }
        for (channel, past) in &mut past {
            let head = store.facts(channel).map_or(0, |facts| facts.head);
            past.durable.truncate(usize::try_from(head).unwrap_or(usize::MAX));
            past.announced = head;
            past.announced_ephemeral = past.ephemeral.len();
        }
        let log = Self::over(self.config.clone(), self.clock.clone(), self.dice.clone(), (store, past));
        log.inside.lock().reached = reached;
        log
    }

    /// The log's thread, as a task.
    pub async fn write(self: Arc<Self>) {
        loop {
            while self.step() {
                pass_turns(1).await;
            }
            self.work.notified().await;
        }
    }

    /// Somebody is in the middle of something: perhaps the log's thread gets on.
    pub fn meanwhile(&self) {
        let percent = self.inside.lock().faults.meanwhile;
        while self.dice.chance(percent) && self.step() {
            self.inside.lock().reached.meanwhile += 1;
        }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.inside.lock().faults = faults;
    }

    /// What was reached so far.
    #[must_use]
    pub fn reached(&self) -> Reached {
        self.inside.lock().reached
    }

    /// Wishes that the messages of a channel below `first` are trimmed away.
    pub fn trim(&self, channel: &Channel, first: Seq) {
        self.enter(Entry::Trim(channel.clone(), first));
    }

    /// Whether nothing waits for the log's thread.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let inside = self.inside.lock();
        inside.queue.is_empty() && inside.next.is_empty()
    }

    /// The first kept number and the head of a channel, now.
    #[must_use]
    pub fn stands(&self, channel: &Channel) -> (Seq, Seq) {
        self.inside.lock().store.facts(channel).map_or((1, 0), |facts| (facts.first, facts.head))
    }

    /// The message that was ever given this number, trimmed or not.
    #[must_use]
    pub fn past(&self, channel: &Channel, seq: Seq) -> Option<Arc<Message>> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.inside.lock().past.get(channel)?.durable.get(index).cloned()
    }

    /// Whether a channel was ever deleted.
    #[must_use]
    pub fn was_deleted(&self, channel: &Channel) -> bool {
        self.inside.lock().past.get(channel).is_some_and(|past| past.deleted)
    }

    /// The ephemeral messages of a channel from an index on, with the head that each followed.
    #[must_use]
    pub fn ephemeral(&self, channel: &Channel, from: usize) -> Vec<(Arc<Message>, Seq)> {
        let inside = self.inside.lock();
        inside.past.get(channel).map_or_else(Vec::new, |past| past.ephemeral[from.min(past.ephemeral.len())..].to_vec())
    }

    /// How many ephemeral messages of a channel were announced.
    #[must_use]
    pub fn announced_ephemeral(&self, channel: &Channel) -> usize {
        self.inside.lock().past.get(channel).map_or(0, |past| past.announced_ephemeral)
    }

    fn enter(&self, entry: Entry) {
        let mut inside = self.inside.lock();
        // Whoever waits for an answer hears of the end by its dropped sender.
        if !inside.closed {
            inside.queue.push_back(entry);
            self.work.notify_one();
        }
    }

    /// One step of the log's thread. Whether there was one to do.
    fn step(&self) -> bool {
        let (sink, next) = {
            let mut inside = self.inside.lock();
            if inside.stepping || inside.closed {
                return false;
            }
            let Some(next) = inside.next.pop_front() else { return inside.take_in(self) };
            inside.stepping = true;
            inside.announcing(&next);
            (inside.sink.clone(), next)
        };
        match next {
            // Whoever dropped its receipt does not want to know.
            Next::Answer(to, answer) => drop(to.send(answer)),
            Next::Done(to, answer) => drop(to.send(answer)),
            Next::Tell(news) => sink.into_iter().for_each(|sink| tell(&*sink, &news)),
        }
        self.inside.lock().stepping = false;
        true
    }

    async fn reading<T>(&self, channel: &Channel, read: impl FnOnce(&Store) -> T) -> Result<T> {
        *self.inside.lock().reading.entry(channel.clone()).or_default() += 1;
        // Counted down also where the reader is dropped.
        let _under_way = UnderWay(self, channel);
        let slow = self.inside.lock().faults.slow;
        let patience = if self.dice.chance(slow) { 150 } else { 3 };
        pass_turns(self.dice.below(patience)).await;
        let found = {
            let mut inside = self.inside.lock();
            let failed = self.dice.chance(inside.faults.reads);
            inside.reached.failed_reads += usize::from(failed);
            let announced = inside.past.get(channel).map_or(0, |past| past.announced);
            let head = inside.past.get(channel).map_or(0, |past| past.durable.len() as Seq);
            inside.reached.early_reads += usize::from(head > announced);
            if failed || inside.closed { Err(Error::unavailable("a read failed")) } else { Ok(read(&inside.store)) }
        };
        pass_turns(self.dice.below(patience)).await;
        found
    }
}

struct UnderWay<'a>(&'a SimulatedLog, &'a Channel);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(reads) = self.0.inside.lock().reading.get_mut(self.1) {
            *reads -= 1;
        }
    }
}

fn tell(sink: &dyn LogSink, news: &News) {
    match news {
        News::Committed(batch) => sink.committed(batch),
        News::Trimmed(channel, first) => sink.trimmed(channel, *first),
        News::StateWanted(channel, through) => sink.state_wanted(channel, *through),
        News::Deleted(channel) => sink.deleted(channel),
        News::Uncertain => sink.uncertain(),
    }
}

impl Inside {
    /// Commits what waits. Whether something did.
    fn take_in(&mut self, log: &SimulatedLog) -> bool {
        let Some(entry) = self.queue.pop_front() else { return false };
        match entry {
            Entry::Trim(channel, first) => {
                let news = self.store.trim_below(&channel, first, &log.config);
                if news.iter().any(|news| matches!(news, News::Trimmed(..))) {
                    self.reached.trims_in_reads += self.reads_of(&channel);
                }
                self.next.extend(news.into_iter().map(Next::Tell));
            }
            Entry::Save(channel, state, settled, to) => {
                self.store.save_state(&channel, state, settled);
                self.next.push_back(Next::Done(to, Ok(())));
            }
            Entry::Delete(channel, to) => {
                self.reached.deletions_in_reads += self.reads_of(&channel);
                if let Some(past) = self.past.get_mut(&channel) {
                    past.deleted = true;
                }
                match self.store.delete(&channel) {
                    Ok(news) => self.next.extend([Next::Tell(news), Next::Done(to, Ok(()))]),
                    Err(error) => self.next.push_back(Next::Done(to, Err(error))),
                }
            }
            Entry::Send(publications, to) => self.commit(log, vec![(publications, to)]),
        }
        true
    }

    fn reads_of(&self, channel: &Channel) -> usize {
        usize::from(self.reading.get(channel).is_some_and(|reads| *reads > 0))
    }

    /// Commits a send, and perhaps those behind it, as one transaction.
    fn commit(&mut self, log: &SimulatedLog, mut sends: Vec<(Vec<Publication>, Answer<Vec<Placed>>)>) {
        while log.dice.chance(60)
            && let Some(Entry::Send(..)) = self.queue.front()
            && let Some(Entry::Send(publications, to)) = self.queue.pop_front()
        {
            sends.push((publications, to));
        }
        let unknown = log.dice.chance(self.faults.commits);
        if unknown && log.dice.chance(50) {
            let error = || Err(Error::unavailable("the commit failed"));
            self.next.extend(sends.into_iter().map(|(_, to)| Next::Answer(to, error())));
            return self.next.push_back(Next::Tell(News::Uncertain));
        }
        let (mut all, mut answers) = (Vec::new(), Vec::new());
        for (publications, to) in sends {
            let publications = if unknown { durable_of(publications) } else { publications };
            let appended = self.store.append(publications, log.clock.now());
            let answer = appended.map(|(placed, committed)| {
                all.extend(committed);
                placed
            });
            answers.push((to, if unknown { Err(Error::unavailable("the outcome is not known")) } else { answer }));
        }
        all.iter().for_each(|committed| self.remember(&committed.message));
        if unknown {
            self.reached.lost_announcements += 1;
            self.next.extend(answers.into_iter().map(|(to, answer)| Next::Answer(to, answer)));
            return self.next.push_back(Next::Tell(News::Uncertain));
        }
        while !all.is_empty() {
            // In parts: the hub takes one message after the other, and others may come between.
            let rest = all.split_off(1 + log.dice.below(all.len()));
            self.next.push_back(Next::Tell(News::Committed(std::mem::replace(&mut all, rest))));
        }
        self.next.extend(answers.into_iter().map(|(to, answer)| Next::Answer(to, answer)));
    }

    fn remember(&mut self, message: &Arc<Message>) {
        let past = self.past.entry(message.channel.clone()).or_default();
        match message.seq {
            Some(_) => past.durable.push(message.clone()),
            None => past.ephemeral.push((message.clone(), past.durable.len() as Seq)),
        }
    }

    /// Notes how far announcements are, as they go out.
    fn announcing(&mut self, next: &Next) {
        match next {
            Next::Tell(News::Committed(batch)) => {
                for committed in batch {
                    let past = self.past.entry(committed.message.channel.clone()).or_default();
                    past.announced = committed.message.seq.unwrap_or(past.announced);
                    past.announced_ephemeral += usize::from(committed.message.seq.is_none());
                }
            }
            Next::Tell(News::Uncertain) => {
                self.past.values_mut().for_each(|past| past.announced = past.durable.len() as Seq);
            }
            _ => {}
        }
    }
}

/// What of a lost commit can be found again.
fn durable_of(publications: Vec<Publication>) -> Vec<Publication> {
    publications.into_iter().filter(|publication| publication.durable).collect()
}
