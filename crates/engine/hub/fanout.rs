//! Fan-out: workers that give what is new in a channel to its live subscribers.
//!
//! Guarantees: a channel belongs to one worker, so its order is kept; a batch forms by itself from
//! what waits; a worker yields after some hundred subscribers and takes its channels in turn.
//! It is not for those who are behind: the connection's drain serves them.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use tidings_core::{
    Channel, Code,
    message::WIRE_SLOTS,
    outlet::{Frame, WireForm},
};
use tokio::sync::Notify;

use super::{
    Hub,
    channel::{ChannelState, Entry, Tick},
    subscription::Subscription,
};

/// What a worker takes of one channel at once.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: usize = 512 * 1024;
/// After so many subscribers a worker lets others run.
const CHUNK: usize = 256;
/// How often idle channels are looked for.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(15);

/// The place of a channel among `count`; the same for the life of the process.
pub(super) fn spread(channel: &Channel, count: usize) -> usize {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
    hasher.write(channel.as_str().as_bytes());
    (hasher.finish() % count as u64) as usize
}

/// Channels with something new, by worker. Each channel stands in at most once.
pub(super) struct Workers(Vec<Arc<Shard>>);

#[derive(Default)]
struct Shard {
    dirty: Mutex<VecDeque<Arc<ChannelState>>>,
    wake: Notify,
}

impl Workers {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Arc::default()).collect())
    }

    /// Never waits.
    pub(super) fn enqueue(&self, channel: Arc<ChannelState>) {
        let shard = &self.0[spread(&channel.name, self.0.len())];
        shard.dirty.lock().push_back(channel);
        shard.wake.notify_one();
    }
}

/// A batch with its frames, made once for each wire form.
pub(super) struct Prepared {
    pub(super) entries: Vec<Entry>,
    pub(super) recheck: bool,
    first: Option<tidings_core::Seq>,
    contiguous: bool,
    ephemeral: bool,
    frames: [Option<Vec<Frame>>; WIRE_SLOTS],
}

impl Prepared {
    fn new(entries: Vec<Entry>, recheck: bool) -> Self {
        let mut seqs = entries.iter().filter_map(|entry| entry.message.seq);
        let first = seqs.next();
        let mut last = first;
        let contiguous = seqs.all(|seq| last.replace(seq) == Some(seq - 1));
        let ephemeral = entries.iter().any(|entry| entry.message.seq.is_none());
        Self { entries, recheck, first, contiguous, ephemeral, frames: Default::default() }
    }

    /// Whether the whole batch is what a subscription needs next.
    pub(super) fn fits(&self, subscription: &Subscription) -> bool {
        subscription.request.filter.is_none()
            && self.contiguous
            && !self.recheck
            && self.first.is_none_or(|first| first == subscription.cursor + 1)
            && self.entries.first().is_some_and(|entry| entry.tick > subscription.tick)
            && !(self.ephemeral && subscription.dropped > 0)
    }

    pub(super) fn frames(&mut self, form: &'static dyn WireForm) -> &[Frame] {
        let entries = &self.entries;
        self.frames[form.slot()]
            .get_or_insert_with(|| entries.iter().map(|entry| Frame::message(&entry.message, form)).collect())
    }

    pub(super) fn ephemeral_after(&self, tick: Tick) -> u64 {
        if !self.ephemeral {
            return 0;
        }
        let lost = self.entries.iter().filter(|entry| entry.message.seq.is_none() && entry.tick > tick).count() as u64;
        metrics::counter!("tidings_ephemeral_dropped_total").increment(lost);
        lost
    }
}

impl Hub {
    pub(super) fn start_workers(self: &Arc<Self>) {
        for shard in self.workers.0.clone() {
            let (hub, stopping) = (self.clone(), self.tasks.stopping());
            self.tasks.spawn("hub.fanout", Box::pin(hub.fan_out(shard, stopping)));
        }
        let (hub, mut stopping) = (Arc::downgrade(self), self.tasks.stopping());
        self.tasks.spawn(
            "hub.sweep",
            Box::pin(async move {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(SWEEP) => {}
                        () = &mut stopping => return,
                    }
                    let Some(hub) = hub.upgrade() else { return };
                    hub.sweep();
                }
            }),
        );
    }

    async fn fan_out(self: Arc<Self>, shard: Arc<Shard>, mut stopping: tidings_core::BoxFuture<'static, ()>) {
        loop {
            let next = shard.dirty.lock().pop_front();
            match next {
                Some(channel) => {
                    let more = self.fan_out_channel(&channel).await;
                    if more {
                        shard.dirty.lock().push_back(channel);
                    }
                }
                None => tokio::select! {
                    () = shard.wake.notified() => {}
                    () = &mut stopping => return,
                },
            }
        }
    }

    /// Gives what is new in a channel to its subscribers. Whether more waits.
    async fn fan_out_channel(&self, channel: &Arc<ChannelState>) -> bool {
        let batch = channel.take_batch(BATCH_MESSAGES, BATCH_BYTES);
        let mut prepared = Prepared::new(batch.entries, batch.recheck);
        let mut from = Some(0);
        let mut some = Vec::with_capacity(CHUNK);
        while let Some(start) = from {
            some.clear();
            from = channel.subscribers(start, CHUNK, &mut some);
            for subscriber in &some {
                if batch.deleted {
                    subscriber.connection.close_subscription(&channel.name, Code::NotFound, "the channel was deleted");
                } else {
                    subscriber.connection.deliver(&channel.name, subscriber.subscription, &mut prepared);
                }
            }
            tokio::task::yield_now().await;
        }
        batch.more
    }
}
