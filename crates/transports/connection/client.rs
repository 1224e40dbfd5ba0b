//! A client: one accepted connection, and what every transport keeps of it.
//!
//! Guarantees: what it sends waits in its mailbox, in order, and a client that floods is not read; the first word is
//! said once; its token's end is told before and kept. It ends once, and then counts no longer.
//! It is not the hub's connection, which knows no time and no request; nor does it know a socket: whoever carries it
//! does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::rate::Rate;
use tidings_engine::hub::{Connection, Notice};
use tokio::sync::Semaphore;

use super::{
    Connections, Unfinished, command,
    command::Door,
    farewell,
    hello::hello,
    mailbox::{Capacity, Incoming, Mailbox, Put},
    publishing::Publishing,
};

/// How many times in a ping interval a client is looked at to which nothing happens.
const LOOKS: u32 = 12;

/// What a client runs on.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// Stops reading what the client sends, or reads again. Said again and again.
    fn pause(&self, paused: bool);
}

/// An accepted client.
pub(crate) struct Client {
    pub(crate) connection: Arc<Connection>,
    pub(crate) mailbox: Mailbox,
    pub(super) connections: Arc<Connections>,
    pub(super) door: &'static Door,
    carrier: Arc<dyn Carrier>,
    /// Bounds the commands that run at once.
    pub(super) running: Arc<Semaphore>,
    pub(super) publishing: Arc<Publishing>,
    /// The client knows that it is connected.
    opened: AtomicBool,
    /// The end that the owner was told of last: each token's once, also when a client refreshes with the same one.
    warned_of: AtomicI64,
    /// It has left, and is not counted any longer.
    over: AtomicBool,
    /// Until when it is passed over; in milliseconds of the monotonic clock.
    rests_ms: AtomicU64,
    /// Since when it is not read, if it is not.
    unread_since: Mutex<Option<Duration>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub(super) fn new(
        connections: &Arc<Connections>,
        connection: Arc<Connection>,
        carrier: Arc<dyn Carrier>,
        door: &'static Door,
    ) -> Arc<Self> {
        let (config, clock) = (&connections.parts.config, connections.parts.clock.clone());
        let capacity = Capacity {
            count: config.mailbox,
            // Room for what may still come when it is half full: what is on its way.
            bytes: config.mailbox_bytes.max(config.max_message_bytes.saturating_mul(4)).max(4 * door.portion),
            rate: Rate::per_second(config.rate_per_second, config.rate_burst),
        };
        connections.clients.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self {
            mailbox: Mailbox::new(capacity, connection.share().clone(), clock),
            connection,
            door,
            carrier,
            running: Arc::new(Semaphore::new(config.concurrent_commands.max(1))),
            publishing: Arc::default(),
            opened: AtomicBool::new(false),
            warned_of: AtomicI64::new(i64::MIN),
            over: AtomicBool::new(false),
            rests_ms: AtomicU64::new(0),
            unread_since: Mutex::default(),
            connections: connections.clone(),
        })
    }

    /// The client knows that it is connected: the first word is said.
    pub(crate) fn opened(&self) {
        if !self.opened.swap(true, Ordering::SeqCst) {
            let parts = &self.connections.parts;
            self.connection.notify(&hello(&self.connection.principal(), &parts.config, parts.clock.now()));
        }
    }

    /// The most bytes of one message of a client.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.connections.parts.config.max_message_bytes
    }

    /// So many bytes of what the client sent are kept, and it is to send the rest of a message, or not.
    ///
    /// # Errors
    /// The code to close its stream with, and why.
    pub(crate) fn keeps(
        &self,
        kept: &mut Option<Box<Unfinished>>,
        (bytes, is_awaited): (usize, bool),
    ) -> Result<(), (u16, &'static str)> {
        let parts = &self.connections.parts;
        let counted = (self.connection.share(), parts.config.message);
        Unfinished::keep(kept, (bytes, is_awaited), counted, parts.clock.monotonic())
    }

    /// Takes in what the client sent. What does not fit ends the connection.
    pub(crate) fn take_in(self: &Arc<Self>, incoming: Incoming) {
        let parts = &self.connections.parts;
        let now = parts.clock.monotonic();
        match self.mailbox.put(incoming) {
            Put::Waits => {}
            Put::Serve => parts.tasks.spawn(command::TASK, Box::pin(command::serve(self.clone()))),
            Put::Closed => return,
            Put::Full(_) if self.connection.is_closed() => return,
            Put::Full(bound) => {
                self.connection.end(&farewell::overfull(bound));
                return;
            }
        }
        self.regulate(now);
    }

    /// Stops or resumes reading from the client, by what waits in the mailbox. The client counts as
    /// held back from the first stop until it has caught up.
    pub(super) fn regulate(&self, now: Duration) {
        let mut since = self.unread_since.lock();
        let crowded = self.mailbox.is_crowded();
        if crowded {
            since.get_or_insert(now);
        } else if since.is_some() && self.mailbox.is_empty() {
            *since = None;
        }
        self.carrier.pause(crowded);
    }

    /// Whether nothing is due of it now: it rests, or the server ended it.
    pub(crate) fn is_resting(&self, now: Duration) -> bool {
        (now.as_millis() as u64) < self.rests_ms.load(Ordering::SeqCst) || self.connection.is_closed()
    }

    /// Lets everything of it go if there has been no sign of it for too long. Whether that was done: then what it
    /// runs on is to be ended.
    pub(crate) fn fell_silent(&self, silence: Duration) -> bool {
        let is_silent = silence >= self.limit();
        if is_silent {
            self.connection.release_silent();
        }
        is_silent
    }

    /// Does what is due of it by time, of all that is due whatever it runs on, and lets it rest until more is.
    pub(crate) fn attend(&self, now: Duration, silence: Duration) {
        let config = &self.connections.parts.config;
        let unread = {
            self.regulate(now);
            *self.unread_since.lock()
        };
        if unread.is_some_and(|since| now.saturating_sub(since) >= config.unread) {
            self.connection.end(&farewell::flooding());
        }
        let token = self.watch_token();
        if unread.is_none() {
            let time = token.min(self.limit().saturating_sub(silence)).min(config.ping_interval / LOOKS);
            self.rests_ms.store((now + time).as_millis() as u64, Ordering::SeqCst);
        }
    }

    /// How long there may be no sign of it.
    fn limit(&self) -> Duration {
        let config = &self.connections.parts.config;
        config.ping_interval + config.ping_timeout
    }

    /// Warns of a token's end, once, and keeps it. For how long there is nothing more to do.
    fn watch_token(&self) -> Duration {
        let principal = self.connection.principal();
        let Some((expires_at, warned_at)) = principal.expires_at.zip(principal.warned_at()) else {
            return Duration::MAX;
        };
        let now = self.connections.parts.clock.now();
        if now >= expires_at {
            self.connection.end(&farewell::expired());
        } else if now >= warned_at && self.warned_of.swap(expires_at.0, Ordering::SeqCst) != expires_at.0 {
            self.connection.notify(&Notice::Expiring { expires_at });
        }
        let next = if now < warned_at { warned_at } else { expires_at };
        Duration::from_millis(u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// Its token is another: what is due of it is to be seen anew.
    pub(super) fn renewed(&self) {
        self.rests_ms.store(0, Ordering::SeqCst);
    }

    /// The client is gone: there is nobody left to answer. What it runs on may still have to be ended. Idempotent.
    pub(crate) fn left(&self) {
        self.mailbox.close();
        self.connection.release();
    }

    /// What it runs on is over, too. Idempotent.
    pub(crate) fn over(&self) {
        self.left();
        self.uncount();
    }

    fn uncount(&self) {
        if !self.over.swap(true, Ordering::SeqCst) {
            self.connections.clients.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.uncount();
    }
}
