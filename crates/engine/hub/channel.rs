//! A channel in memory: its head, its newest messages, its subscribers.
//!
//! Guarantees: one lock covers head, ring and subscriber list; the ring is bounded in messages and
//! bytes, and what it no longer has is in the log.
//! It is not the fan-out: it only says what is new and who listens.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{Channel, Message, Seq, log::ChannelFacts};

use super::{HubConfig, connection::Connection, subscription::Subscription, subscriptions::Key};

/// A place in the order of all that passes through a channel, ephemeral messages included.
pub(super) type Tick = u64;

/// The head that an ephemeral message follows, while that cannot be told.
const UNKNOWN: Seq = Seq::MAX;

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) tick: Tick,
    /// The channel's head once this was in: its own number, or that of what it follows.
    pub(super) head: Seq,
    /// How many ephemeral messages there were once this was in.
    pub(super) ephemeral: u64,
    pub(super) message: Arc<Message>,
}

/// Who listens: a connection, which of its subscriptions, and where that stands in it.
#[derive(Clone)]
pub(super) struct Subscriber {
    pub(super) connection: Arc<Connection>,
    pub(super) key: Key,
}

pub(super) struct ChannelState {
    pub(super) name: Channel,
    /// Which of the fan-out's workers it belongs to.
    pub(super) worker: usize,
    /// How many of its subscriptions are behind: no connection has to be asked.
    behind: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    loaded: bool,
    /// Whoever is about to attach; a pinned channel stays in memory.
    pins: usize,
    deleted: bool,
    /// It is no longer in the map of channels.
    retired: bool,
    /// Somebody's cursor may be behind although nothing is new: the fan-out looks at everybody.
    recheck: bool,
    /// So many times announcements were lost for which the head was not read again yet.
    doubts: usize,
    head: Seq,
    /// The newest number that was announced, as far as that is known: what comes next follows it.
    announced: Seq,
    first: Seq,
    ring: VecDeque<Entry>,
    ring_bytes: usize,
    tick: Tick,
    ephemeral: u64,
    fanned: Tick,
    queued: bool,
    used: bool,
    mean_bytes: u64,
    rate: Rate,
    subscribers: Vec<Option<Subscriber>>,
    free: Vec<usize>,
}

/// Messages in the current and the last ten seconds.
#[derive(Default)]
struct Rate {
    window: u64,
    current: u64,
    last: u64,
}

impl Rate {
    fn note(&mut self, now: Duration) {
        let window = now.as_secs() / 10;
        if window != self.window {
            self.last = if window == self.window + 1 { self.current } else { 0 };
            self.current = 0;
            self.window = window;
        }
        self.current += 1;
    }

    fn per_second(&self, now: Duration) -> f64 {
        let age = (now.as_secs() / 10).saturating_sub(self.window);
        match age {
            0 => self.last.max(self.current) as f64 / 10.0,
            1 => self.current as f64 / 10.0,
            _ => 0.0,
        }
    }
}

/// A channel that stays in memory meanwhile.
pub(super) struct Pinned(pub(super) Arc<ChannelState>);

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.inner.lock().pins -= 1;
    }
}

/// What a push changed.
pub(super) struct Change {
    pub(super) grown: usize,
    pub(super) shrunk: usize,
    pub(super) dirty: bool,
}

/// What a worker takes: what is new since the last time, and how it stands.
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    pub(super) more: bool,
    pub(super) deleted: bool,
    pub(super) recheck: bool,
}

/// Where a channel stands when somebody attaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) head: Seq,
    pub(super) first: Seq,
    pub(super) tick: Tick,
    /// How many ephemeral messages passed through until then.
    pub(super) ephemeral: u64,
}

impl ChannelState {
    pub(super) fn new(name: Channel, worker: usize) -> Arc<Self> {
        let inner = Mutex::new(Inner { used: true, first: 1, ..Inner::default() });
        Arc::new(Self { name, worker, behind: AtomicUsize::new(0), inner })
    }

    /// Keeps the channel in memory until the pin is dropped.
    pub(super) fn pin(self: Arc<Self>) -> Pinned {
        self.inner.lock().pins += 1;
        Pinned(self)
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.inner.lock().loaded
    }

    pub(super) fn loaded(&self, facts: Option<&ChannelFacts>) {
        let mut inner = self.inner.lock();
        if inner.loaded {
            return;
        }
        inner.loaded = true;
        if let Some(facts) = facts {
            inner.head = inner.head.max(facts.head);
            inner.announced = inner.head;
            inner.first = inner.first.max(facts.first);
            inner.mean_bytes = facts.bytes / (facts.head + 1).saturating_sub(facts.first).max(1);
        }
    }

    /// Announcements were lost: what comes now may follow something that is not known here.
    pub(super) fn doubt(&self) {
        self.inner.lock().doubts += 1;
    }

    /// The log was read ahead of its announcements: whoever was given that comes back with it.
    pub(super) fn reaches(&self, head: Seq) {
        let mut inner = self.inner.lock();
        inner.head = inner.head.max(head);
    }

    /// The log's heads were read again after announcements were lost.
    pub(super) fn reload(&self, facts: Option<&ChannelFacts>) {
        let mut inner = self.inner.lock();
        inner.loaded = true;
        inner.recheck = true;
        inner.doubts = inner.doubts.saturating_sub(1);
        if let Some(facts) = facts {
            inner.head = inner.head.max(facts.head);
            inner.first = inner.first.max(facts.first);
        }
        if inner.doubts == 0 {
            inner.announced = inner.head;
            let next = inner.head + 1;
            inner.place_before(next);
        }
        inner.queued = true;
    }

    /// A batch was broken off: the next one is of everybody's cursor. Whoever calls enqueues the channel.
    pub(super) fn look_again(&self, deleted: bool) {
        let mut inner = self.inner.lock();
        inner.recheck = true;
        inner.queued = true;
        inner.deleted |= deleted;
    }

    pub(super) fn push(&self, message: Arc<Message>, config: &HubConfig, over: bool, now: Duration) -> Change {
        let mut inner = self.inner.lock();
        if inner.retired {
            // Whoever found it before it went: nobody listens, and the next who asks begins anew.
            return Change { grown: 0, shrunk: 0, dirty: false };
        }
        inner.tick += 1;
        inner.used = true;
        inner.rate.note(now);
        let (tick, grown) = (inner.tick, message.weight());
        let head = match message.seq {
            Some(seq) => {
                inner.head = inner.head.max(seq);
                inner.mean_bytes = (inner.mean_bytes * 7 + message.payload.json().len() as u64) / 8;
                inner.announced = seq;
                inner.place_before(seq);
                seq
            }
            None => {
                inner.ephemeral += 1;
                // Where it belongs is only known with the head; until then it is beyond everybody's.
                if inner.doubts > 0 { UNKNOWN } else { inner.announced }
            }
        };
        let ephemeral = inner.ephemeral;
        inner.ring.push_back(Entry { tick, head, ephemeral, message });
        inner.ring_bytes += grown;
        let keep = if over { 1 } else { config.ring_messages };
        let mut shrunk = 0;
        while inner.ring.len() > 1 && (inner.ring.len() > keep || inner.ring_bytes > config.ring_bytes) {
            shrunk += inner.pop_front();
        }
        if inner.subscribers.len() == inner.free.len() {
            inner.fanned = tick;
        }
        let dirty = !inner.queued && inner.fanned < tick;
        inner.queued |= dirty;
        Change { grown, shrunk, dirty }
    }

    pub(super) fn trimmed(&self, first: Seq) {
        let mut inner = self.inner.lock();
        inner.first = inner.first.max(first);
    }

    /// Empties the channel; the next batch tells the worker to end its subscriptions.
    pub(super) fn delete(&self) -> usize {
        let mut inner = self.inner.lock();
        inner.deleted = true;
        inner.queued = true;
        inner.first = inner.head + 1;
        inner.ring.clear();
        std::mem::take(&mut inner.ring_bytes)
    }

    /// Takes what is new, at most so many messages and bytes. Without more, the channel is clean.
    pub(super) fn take_batch(&self, messages: usize, bytes: usize) -> Taken {
        let mut inner = self.inner.lock();
        let from = inner.fanned;
        let start = inner.index_after_tick(from);
        let mut entries = Vec::new();
        let mut taken = 0;
        for entry in inner.ring.iter().skip(start).take(messages) {
            if taken > bytes {
                break;
            }
            taken += entry.message.weight();
            entries.push(entry.clone());
        }
        // What left the ring before it was fanned out is read from the log by whoever lacks it.
        inner.fanned = entries.last().map_or(inner.tick, |entry| entry.tick);
        let more = inner.fanned < inner.tick;
        inner.queued = more;
        let (deleted, recheck) = (inner.deleted, inner.recheck);
        inner.deleted = false;
        inner.recheck = false;
        Taken { entries, more, deleted, recheck: recheck || (entries_missing(&inner, start, from)) }
    }

    /// Some subscribers, from an index on; and the next index, none at the end.
    pub(super) fn subscribers(&self, from: usize, count: usize, into: &mut Vec<Subscriber>) -> Option<usize> {
        let inner = self.inner.lock();
        let end = (from + count).min(inner.subscribers.len());
        into.extend(inner.subscribers[from.min(end)..end].iter().flatten().cloned());
        (end < inner.subscribers.len()).then_some(end)
    }

    pub(super) fn subscriber_count(&self) -> usize {
        let inner = self.inner.lock();
        inner.subscribers.len() - inner.free.len()
    }

    /// A subscription of it is behind from now on.
    pub(super) fn fell_behind(&self) {
        self.behind.fetch_add(1, Ordering::Relaxed);
    }

    /// One that was behind is not any more, or has ended.
    pub(super) fn caught_up(&self) {
        self.behind.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many of its subscriptions are behind.
    pub(super) fn behind(&self) -> usize {
        self.behind.load(Ordering::Relaxed)
    }

    /// Attaches a subscriber, and says where the channel stands at that moment.
    pub(super) fn attach(&self, subscriber: Subscriber) -> (usize, Standing) {
        let mut inner = self.inner.lock();
        inner.used = true;
        let slot = match inner.free.pop() {
            Some(slot) => {
                inner.subscribers[slot] = Some(subscriber);
                slot
            }
            None => {
                inner.subscribers.push(Some(subscriber));
                inner.subscribers.len() - 1
            }
        };
        (slot, inner.standing())
    }

    pub(super) fn detach(&self, slot: usize) {
        let mut inner = self.inner.lock();
        if inner.subscribers.get_mut(slot).is_some_and(|place| place.take().is_some()) {
            inner.free.push(slot);
        }
        if inner.free.len() == inner.subscribers.len() {
            inner.free = Vec::new();
            inner.subscribers = Vec::new();
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.inner.lock().standing()
    }

    /// How many ephemeral messages a subscription misses that goes live now, without those that its
    /// filter drops, as far as memory still has them.
    pub(super) fn ephemeral_missed(&self, subscription: &Subscription) -> u64 {
        let inner = self.inner.lock();
        let start = inner.index_after_tick(subscription.tick);
        let dropped = |entry: &&Entry| entry.message.seq.is_none() && !subscription.passes(&entry.message);
        let dropped = inner.ring.range(start..).filter(dropped).count() as u64;
        inner.ephemeral.saturating_sub(subscription.ephemeral + dropped)
    }

    pub(super) fn rate(&self, now: Duration) -> f64 {
        self.inner.lock().rate.per_second(now)
    }

    /// About how many bytes of data lie between a cursor and the head.
    pub(super) fn bytes_after(&self, cursor: Seq) -> u64 {
        let inner = self.inner.lock();
        let front = inner.ring.iter().find_map(|entry| entry.message.seq).unwrap_or(inner.head + 1);
        let start = inner.ring.partition_point(|entry| entry.head <= cursor);
        let in_ring = inner.ring.range(start..).filter(|entry| entry.message.seq.is_some());
        let exact: u64 = in_ring.map(|entry| entry.message.payload.json().len() as u64).sum();
        exact + front.saturating_sub(cursor.saturating_add(1)) * inner.mean_bytes
    }

    /// The durable messages that follow a cursor without a hole, if the ring still has the next one.
    pub(super) fn after(&self, cursor: Seq, messages: usize, bytes: usize) -> Option<Vec<Arc<Message>>> {
        let inner = self.inner.lock();
        let start = inner.ring.partition_point(|entry| entry.head <= cursor);
        let mut durable = inner.ring.range(start..).filter(|entry| entry.message.seq.is_some()).peekable();
        if durable.peek()?.head != cursor + 1 {
            return None;
        }
        let (mut size, mut next) = (0, cursor + 1);
        let fits = |entry: &&Entry| {
            // Where an announcement was lost the ring has a hole, which only the log can fill.
            let fits = size <= bytes && entry.head == next;
            size += entry.message.payload.json().len();
            next += 1;
            fits
        };
        Some(durable.take(messages).take_while(fits).map(|entry| entry.message.clone()).collect())
    }

    /// If nobody listens or is about to, and nothing happened since the last call: empties the ring, with the
    /// bytes that it gives back. The caller holds the map's lock and drops the channel.
    pub(super) fn retire_if_idle(&self) -> Option<usize> {
        let mut inner = self.inner.lock();
        if inner.subscribers.len() > inner.free.len() || inner.pins > 0 || inner.used || inner.queued {
            inner.used = false;
            return None;
        }
        inner.retired = true;
        inner.ring.clear();
        Some(std::mem::take(&mut inner.ring_bytes))
    }
}

/// Whether the ring lost entries after `from` before they were taken.
fn entries_missing(inner: &Inner, start: usize, from: Tick) -> bool {
    inner.ring.get(start).is_some_and(|entry| entry.tick > from + 1) || (inner.ring.is_empty() && inner.tick > from)
}

impl Inner {
    /// The ticks of the ring follow each other.
    fn index_after_tick(&self, tick: Tick) -> usize {
        let front = self.ring.front().map_or(tick + 1, |entry| entry.tick);
        usize::try_from((tick + 1).saturating_sub(front)).unwrap_or(usize::MAX).min(self.ring.len())
    }

    fn standing(&self) -> Standing {
        let first = self.first.min(self.head + 1);
        Standing { head: self.head, first, tick: self.tick, ephemeral: self.ephemeral }
    }

    /// A head that was read is ahead of what is announced: what came before `seq` did not follow it.
    fn place_before(&mut self, seq: Seq) {
        for entry in self.ring.iter_mut().rev().take_while(|entry| entry.head >= seq && entry.message.seq.is_none()) {
            entry.head = seq - 1;
        }
    }

    fn pop_front(&mut self) -> usize {
        let Some(entry) = self.ring.pop_front() else { return 0 };
        let weight = entry.message.weight();
        self.ring_bytes -= weight.min(self.ring_bytes);
        weight
    }
}
