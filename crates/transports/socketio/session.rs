//! A session: one accepted Socket.IO connection and everything that belongs to it.
//!
//! Guarantees: it ends as a whole, by whichever of its ends goes first: the stream, the engine's
//! session or the server.
//! It is not the hub's connection: that one knows no socket.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_engine::hub::Connection;
use tokio::sync::Semaphore;

use super::{
    SocketIoTransport, hello::hello, line::LineEars, mailbox::Mailbox, outlet::SocketOutlet, publishing::Publishing,
};

pub(super) struct Session {
    pub(super) sid: String,
    pub(super) connection: Arc<Connection>,
    pub(super) outlet: Arc<SocketOutlet>,
    pub(super) mailbox: Mailbox,
    /// Bounds the commands that run at once.
    pub(super) running: Arc<Semaphore>,
    pub(super) publishing: Arc<Publishing>,
    /// One POST of a client that polls is read at a time.
    pub(super) posting: Semaphore,
    /// The client knows that it is connected.
    pub(super) opened: AtomicBool,
    /// The end that the owner was told of last: each token's once, also when a client refreshes with the same one.
    pub(super) warned_of: AtomicI64,
    /// When the last request came, while it polls; in milliseconds of the monotonic clock.
    heard_ms: AtomicU64,
    /// Until when the sweep passes it over; in milliseconds of the monotonic clock.
    rests_ms: AtomicU64,
    /// Since when the connection is not read, if it is not.
    pub(super) unread_since: Mutex<Option<Duration>>,
    pub(super) transport: Weak<SocketIoTransport>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// What a session is made of.
pub(super) struct SessionParts {
    pub(super) sid: String,
    pub(super) connection: Arc<Connection>,
    pub(super) outlet: Arc<SocketOutlet>,
    pub(super) mailbox: Mailbox,
}

impl Session {
    pub(super) fn new(parts: SessionParts, transport: &Arc<SocketIoTransport>) -> Arc<Self> {
        let SessionParts { sid, connection, outlet, mailbox } = parts;
        let (config, now) = (&transport.parts.config, transport.parts.clock.monotonic());
        Arc::new(Self {
            sid,
            connection,
            outlet,
            mailbox,
            running: Arc::new(Semaphore::new(config.concurrent_commands.max(1))),
            publishing: Arc::default(),
            posting: Semaphore::new(1),
            opened: AtomicBool::new(false),
            warned_of: AtomicI64::new(i64::MIN),
            heard_ms: AtomicU64::new(now.as_millis() as u64),
            rests_ms: AtomicU64::new(0),
            unread_since: Mutex::default(),
            transport: Arc::downgrade(transport),
        })
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
        if let Some(line) = self.outlet.line() {
            line.pause(crowded);
        }
    }

    /// The client knows that it is connected: the first word is said.
    pub(super) fn opened(&self) {
        if self.opened.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(transport) = self.transport.upgrade() {
            let parts = &transport.parts;
            self.connection.notify(&hello(&self.connection.principal(), &parts.config, parts.clock.now()));
        }
    }

    /// Nothing is due of it for so long, unless its token becomes another.
    pub(super) fn rest(&self, now: Duration, time: Duration) {
        self.rests_ms.store((now + time).as_millis() as u64, Ordering::SeqCst);
    }

    /// Whether nothing is due of it yet.
    pub(super) fn is_resting(&self, now: Duration) -> bool {
        (now.as_millis() as u64) < self.rests_ms.load(Ordering::SeqCst)
    }

    /// Its token is another: what is due of it is to be seen anew.
    pub(super) fn renewed(&self) {
        self.rests_ms.store(0, Ordering::SeqCst);
    }

    /// A request of the client came.
    pub(super) fn heard(&self, now: Duration) {
        self.heard_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// How long there has been no sign of the client.
    pub(super) fn silence(&self, now: Duration) -> Duration {
        match self.outlet.line() {
            Some(line) => line.silence(now),
            None => now.saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))),
        }
    }

    /// The client is out of the namespace, and so it is out of the server: its transport is ended by
    /// the sweep, if it does not end it itself.
    pub(super) fn left(&self) {
        self.outlet.gone();
        self.mailbox.close();
        self.connection.release();
    }

    /// Ends everything of it. Idempotent.
    pub(super) fn over(&self) {
        self.left();
        if let Some(transport) = self.transport.upgrade() {
            transport.forget(&self.sid);
        }
    }
}

/// What a line tells its session.
pub(super) struct SessionEars(pub(super) Weak<Session>);

impl LineEars for SessionEars {
    fn opened(&self) {
        if let Some(session) = self.0.upgrade() {
            session.opened();
        }
    }
    fn ended(&self) {
        if let Some(session) = self.0.upgrade() {
            session.over();
        }
    }
}
