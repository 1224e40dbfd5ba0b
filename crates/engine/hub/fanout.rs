//! Fan-out: workers that give what is new in a channel to its live subscribers.
//!
//! Guarantees: a channel belongs to one worker, so its order is kept; a batch forms by itself from
//! what waits; a worker yields after some hundred subscribers and takes its channels in turn. One that panicked
//! is made again, and looks at every subscriber of its channels: whoever lacks something falls behind.
//! It is not for those who are behind: the connection's drain serves them.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher},
    sync::{Arc, OnceLock},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{BoxFuture, Channel, Code, fault};
use tokio::sync::Notify;

use super::{
    Hub,
    batch::Batch,
    channel::{ChannelState, Subscriber, Taken},
    connection::Connection,
    deliver::Tally,
    probe,
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

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The worker of a channel.
    pub(super) fn of(&self, channel: &Channel) -> usize {
        probe::worker_of(channel, self.0.len()).unwrap_or_else(|| spread(channel, self.0.len()))
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
        for (worker, shard) in self.workers.0.iter().enumerate() {
            let (hub, shard) = (self.clone(), shard.clone());
            let make = move |start| -> BoxFuture<'static, ()> {
                let (hub, shard, stopping) = (hub.clone(), shard.clone(), hub.tasks.stopping());
                Box::pin(async move {
                    if start > 0 {
                        hub.look_again(worker);
                    }
                    hub.fan_out(shard, stopping).await;
                })
            };
            self.tasks.supervise("hub.fanout", Box::new(make));
        }
        let (hub, tasks) = (Arc::downgrade(self), self.tasks.clone());
        let make = move |_| -> BoxFuture<'static, ()> {
            let (hub, mut stopping) = (hub.clone(), tasks.stopping());
            Box::pin(async move {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(SWEEP) => {}
                        () = &mut stopping => return,
                    }
                    let Some(hub) = hub.upgrade() else { return };
                    hub.sweep();
                }
            })
        };
        self.tasks.supervise("hub.sweep", Box::new(make));
    }

    /// A worker was lost somewhere in its channels: of each, everybody's cursor is looked at.
    fn look_again(&self, worker: usize) {
        let own: Vec<_> = self.in_memory().into_iter().filter(|channel| channel.worker == worker).collect();
        own.iter().for_each(|channel| channel.look_again(false));
        self.workers.enqueue_all(own);
        // What it was writing to may be nobody's subscriber any more.
        self.connections().iter().for_each(Connection::end_if_torn);
    }

    async fn fan_out(self: Arc<Self>, shard: Arc<Shard>, mut stopping: BoxFuture<'static, ()>) {
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
        let unfinished = Unfinished { channel, deleted };
        let batch = Batch::new(entries, self.log.epoch(), recheck);
        let mut from = Some(0);
        while let Some(start) = from {
            turn.subscribers.clear();
            from = channel.subscribers(start, CHUNK, &mut turn.subscribers);
            turn.served += turn.subscribers.len().max(LEAST);
            let mut tally = Tally::default();
            for subscriber in turn.subscribers.drain(..) {
                fault::here("hub.fanout");
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
        // All of it is dealt with.
        std::mem::forget(unfinished);
        more
    }
}

/// A batch that is being given out. Dropped when that was broken off: then the channel is to be looked at again.
struct Unfinished<'a> {
    channel: &'a ChannelState,
    deleted: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.channel.look_again(self.deleted);
    }
}

/// What a worker keeps between channels.
#[derive(Default)]
struct Turn {
    subscribers: Vec<Subscriber>,
    /// Since it last let others run.
    served: usize,
}
