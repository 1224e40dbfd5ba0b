//! Fan-out: workers that give what is new in a channel to its live subscribers.
//!
//! Guarantees: a channel belongs to one worker, so its order is kept; a batch forms by itself from
//! what waits; a worker yields after some hundred subscribers and takes its channels in turn.
//! It is not for those who are behind: the connection's drain serves them.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher},
    sync::{Arc, OnceLock},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Channel, Code};
use tokio::sync::Notify;

use super::{
    Hub,
    batch::Batch,
    channel::{ChannelState, Subscriber, Taken},
    deliver::Tally,
};

/// What a worker takes of one channel at once.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: usize = 512 * 1024;
/// After so many subscribers, of one channel or of many, a worker lets others run. Few in tests, so that
/// others come between two subscribers of one batch.
const CHUNK: usize = if cfg!(test) { 3 } else { 256 };
/// What a channel without subscribers counts for.
const LEAST: usize = 8;
/// How often idle channels are looked for.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(15);

/// The place of a channel among `count`; the same for the life of the process.
pub(super) fn spread(channel: &Channel, count: usize) -> usize {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEY.get_or_init(RandomState::default).build_hasher();
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

    /// The worker of a channel.
    pub(super) fn of(&self, channel: &Channel) -> usize {
        spread(channel, self.0.len())
    }

    /// Never waits.
    pub(super) fn enqueue(&self, channel: Arc<ChannelState>) {
        self.enqueue_all(vec![channel]);
    }

    /// Never waits.
    pub(super) fn enqueue_all(&self, channels: Vec<Arc<ChannelState>>) {
        let mut shares: Vec<Vec<Arc<ChannelState>>> = self.0.iter().map(|_| Vec::new()).collect();
        for channel in channels {
            shares[channel.worker].push(channel);
        }
        for (shard, share) in self.0.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
            shard.dirty.lock().extend(share);
            shard.wake.notify_one();
        }
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
        let mut turn = Turn::default();
        loop {
            let next = shard.dirty.lock().pop_front();
            match next {
                Some(channel) => {
                    let more = self.fan_out_channel(&channel, &mut turn).await;
                    if more {
                        shard.dirty.lock().push_back(channel);
                    }
                }
                None => tokio::select! {
                    () = shard.wake.notified() => turn.served = 0,
                    () = &mut stopping => return,
                },
            }
        }
    }

    /// Gives what is new in a channel to its subscribers. Whether more waits.
    async fn fan_out_channel(&self, channel: &Arc<ChannelState>, turn: &mut Turn) -> bool {
        let Taken { entries, more, deleted, recheck } = channel.take_batch(BATCH_MESSAGES, BATCH_BYTES);
        let batch = Batch::new(entries, recheck);
        let mut from = Some(0);
        while let Some(start) = from {
            turn.subscribers.clear();
            from = channel.subscribers(start, CHUNK, &mut turn.subscribers);
            turn.served += turn.subscribers.len().max(LEAST);
            let mut tally = Tally::default();
            for subscriber in turn.subscribers.drain(..) {
                if deleted {
                    subscriber.connection.close_subscription(&channel.name, Code::NotFound, "the channel was deleted");
                } else {
                    subscriber.connection.deliver(subscriber.key, &batch, &mut tally);
                }
            }
            self.metrics.delivered(tally.messages, tally.bytes);
            if turn.served >= CHUNK {
                turn.served = 0;
                tokio::task::yield_now().await;
            }
        }
        more
    }
}

/// What a worker keeps between channels.
#[derive(Default)]
struct Turn {
    subscribers: Vec<Subscriber>,
    /// Since it last let others run.
    served: usize,
}
