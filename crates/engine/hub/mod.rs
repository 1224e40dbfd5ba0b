//! The hub: channels in memory, their newest messages, their subscriptions; fan-out.
//!
//! Guarantees: a subscriber sees the durable messages of a channel in `seq` order, each exactly
//! once, or is told; there is no queue for a client, only a cursor, so one that stops reading costs
//! a constant and delays nobody; nothing reaches the hub before the log has it.
//! It is not the judge: whoever subscribes here was allowed to by the gate.
//!
//! Locks, in the order in which they are taken: a connection's `out`, then a channel's `inner` or the
//! map of connections.
//! Both are held for a few map operations and non-blocking offers, never across an await.

mod batch;
mod channel;
mod connection;
mod deliver;
mod drain;
mod fanout;
mod figures;
mod filter;
mod held;
mod notice;
mod probe;
mod subscription;
mod subscriptions;
#[cfg(test)]
mod tests;
mod view;
mod waiting;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tidings_core::{
    Channel, Principal, Result, Seq, fault,
    identity::Revocation,
    log::{Committed, EventLog},
    outlet::{Ending, Outlet},
    panics,
    runtime::{Clock, Tasks},
};

use self::{
    channel::{ChannelState, Pinned},
    fanout::Workers,
    figures::Figures,
};
use crate::{
    budget::{Budget, BudgetConfig},
    states::StateStore,
};

pub use self::{
    connection::{Connection, MAX_WAITING_ANSWERS},
    filter::Filter,
    notice::{Hello, HelloLimits, HelloUser, Notice},
    subscription::{MAX_BATCH, MaxLag, Outcome, Since, SubscribeRequest, Unrecovered},
    view::{BehindView, ChannelView, Live},
};

/// The bounds of a hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Messages that a channel keeps in memory.
    pub ring_messages: usize,
    /// Bytes that a channel keeps in memory.
    pub ring_bytes: usize,
    /// Bytes that all channels together keep in memory.
    pub total_ring_bytes: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// How many fan-out workers share the channels; 0 means one for each core.
    pub workers: usize,
    /// Bytes of answers that may wait for a connection before no more of its commands are taken; 4 MiB by default.
    pub answer_bytes: usize,
    /// Bytes that are held for clients: what they sent and wait for, and what they have not read.
    pub budget: BudgetConfig,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            ring_messages: 1024,
            ring_bytes: 1024 * 1024,
            total_ring_bytes: 256 * 1024 * 1024,
            subscriptions: 1000,
            workers: 0,
            answer_bytes: 4 * 1024 * 1024,
            budget: BudgetConfig::default(),
        }
    }
}

/// Into how many maps the channels are spread.
const SHARDS: usize = 16;
/// Some of the channels in memory.
type Shard = RwLock<HashMap<Channel, Arc<ChannelState>, foldhash::fast::RandomState>>;

/// The hub of a server.
pub struct Hub {
    config: HubConfig,
    log: Arc<dyn EventLog>,
    states: Arc<StateStore>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    shards: Vec<Shard>,
    ring_bytes: AtomicUsize,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_connection: AtomicU64,
    /// Connections that do not take what is offered to them now.
    slow: AtomicUsize,
    budget: Arc<Budget>,
    workers: Workers,
    metrics: Figures,
    probe: Mutex<Option<Arc<probe::Probe>>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub({} connections)", self.connections.lock().len())
    }
}

impl Hub {
    /// A hub over a log. Its workers run until the server stops.
    #[must_use]
    pub fn new(
        config: HubConfig,
        log: Arc<dyn EventLog>,
        states: Arc<StateStore>,
        clock: Arc<dyn Clock>,
        tasks: Arc<dyn Tasks>,
    ) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = Workers::new(if config.workers == 0 { cores } else { config.workers });
        let budget = Budget::new(config.budget);
        let hub = Arc::new(Self {
            config,
            log,
            states,
            clock,
            tasks,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            ring_bytes: AtomicUsize::new(0),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(1),
            slow: AtomicUsize::new(0),
            budget,
            workers,
            metrics: Figures::new(),
            probe: Mutex::default(),
        });
        hub.start_workers();
        hub
    }

    /// A connection of a principal, whose way out is `outlet`.
    #[must_use]
    pub fn connect(self: &Arc<Self>, principal: Principal, outlet: Arc<dyn Outlet>) -> Arc<Connection> {
        let connection = self.connect_inside(principal, outlet);
        self.connections.lock().insert(connection.id(), connection.clone());
        metrics::gauge!("tidings_connections").increment(1.0);
        connection
    }

    /// A connection that counts as none: the server's own.
    fn connect_inside(self: &Arc<Self>, principal: Principal, outlet: Arc<dyn Outlet>) -> Arc<Connection> {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        Connection::new(id, self.clone(), principal, outlet)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.lock().len()
    }

    /// How many connections do not take what is offered to them now.
    #[must_use]
    pub fn slow_connection_count(&self) -> usize {
        self.slow.load(Ordering::Relaxed)
    }

    /// What is held for clients.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// How many subscriptions a channel has now.
    #[must_use]
    pub fn subscriber_count(&self, channel: &Channel) -> usize {
        self.known(channel).map_or(0, |known| known.subscriber_count())
    }

    /// All connections, for whoever ends or warns them one by one.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().cloned().collect()
    }

    /// Ends the connections that a revocation concerns.
    pub fn revoke(&self, revocation: &Revocation, ending: &Ending) {
        for connection in self.connections() {
            if revocation.concerns(&connection.principal()) {
                connection.end(ending);
            }
        }
    }

    fn released(&self, connection: u64) {
        if self.connections.lock().remove(&connection).is_some() {
            metrics::gauge!("tidings_connections").decrement(1.0);
        }
    }

    fn shard(&self, channel: &Channel) -> &Shard {
        &self.shards[fanout::spread(channel, SHARDS)]
    }

    fn known(&self, channel: &Channel) -> Option<Arc<ChannelState>> {
        self.shard(channel).read().get(channel).cloned()
    }

    /// The channel in memory, with its head read from the log if it was not there.
    async fn load(&self, channel: &Channel) -> Result<Pinned> {
        let pinned = {
            let mut shard = self.shard(channel).write();
            let new = || ChannelState::new(channel.clone(), self.workers.of(channel));
            shard.entry(channel.clone()).or_insert_with(new).clone().pin()
        };
        if !pinned.0.is_loaded() {
            // It stands in the map before the log is asked: no commit after the answer can be missed.
            let facts = self.log.facts(channel).await?;
            pinned.0.loaded(facts.as_ref());
        }
        Ok(pinned)
    }

    /// Hears of commits, on the log's thread: notes them in their channels and wakes the workers.
    pub fn committed(&self, batch: &[Committed]) {
        let now = self.clock.monotonic();
        let mut dirty = Vec::new();
        for committed in batch {
            let Some(channel) = self.known(&committed.message.channel) else { continue };
            let over = self.ring_bytes.load(Ordering::Relaxed) > self.config.total_ring_bytes;
            let change = channel.push(committed.message.clone(), &self.config, over, now);
            self.account(change.grown, change.shrunk);
            if change.dirty {
                dirty.push(channel);
            }
        }
        self.workers.enqueue_all(dirty);
    }

    fn account(&self, grown: usize, shrunk: usize) {
        self.ring_bytes.fetch_add(grown, Ordering::Relaxed);
        self.ring_bytes.fetch_sub(shrunk, Ordering::Relaxed);
    }

    /// Hears that messages of a channel are gone.
    pub fn trimmed(&self, channel: &Channel, first: Seq) {
        if let Some(channel) = self.known(channel) {
            channel.trimmed(first);
        }
    }

    /// Hears that a channel was deleted: its subscriptions end.
    pub fn deleted(&self, channel: &Channel) {
        if let Some(channel) = self.known(channel) {
            let shrunk = channel.delete();
            self.account(0, shrunk);
            self.workers.enqueue(channel);
        }
    }

    /// Hears that announcements were lost: all heads are read again.
    pub fn uncertain(self: &Arc<Self>) {
        let (hub, mut stopping, all) = (self.clone(), self.tasks.stopping(), self.in_memory());
        all.iter().for_each(|channel| channel.doubt());
        self.tasks.spawn(
            "hub.reload",
            Box::pin(async move {
                let mut unread = all;
                loop {
                    unread = hub.reload(unread).await;
                    if unread.is_empty() {
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(drain::RETRY) => {}
                        () = &mut stopping => return,
                    }
                }
            }),
        );
    }

    /// Reads the heads of channels again. Those whose head could not be read: somebody may stand before it
    /// for ever, so they have to be read later.
    async fn reload(&self, channels: Vec<Arc<ChannelState>>) -> Vec<Arc<ChannelState>> {
        let mut unread = Vec::new();
        for channel in channels {
            let read = panics::caught_in("hub.reload", async {
                fault::here("hub.reload");
                let facts = self.log.facts(&channel.name).await?;
                channel.reload(facts.as_ref());
                Ok(())
            });
            match read.await.flatten() {
                Ok(()) => self.workers.enqueue(channel),
                Err(error) => {
                    tracing::error!(channel = %channel.name, %error, "a head could not be read; it is tried again");
                    unread.push(channel);
                }
            }
        }
        unread
    }

    /// The channels in memory, by name.
    fn in_memory(&self) -> Vec<Arc<ChannelState>> {
        let all = self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>());
        let mut all: Vec<_> = all.collect();
        // A map's order is another one in each process: what is done with them could not be repeated.
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Drops channels that nobody subscribes to and nobody published to since the last sweep.
    fn sweep(&self) {
        fault::here("hub.sweep");
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.retain(|_, channel| match channel.retire_if_idle() {
                Some(shrunk) => {
                    self.account(0, shrunk);
                    false
                }
                None => true,
            });
        }
        metrics::gauge!("tidings_channels_in_memory")
            .set(self.shards.iter().map(|shard| shard.read().len()).sum::<usize>() as f64);
    }
}
