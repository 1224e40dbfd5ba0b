//! A session: one accepted Socket.IO connection and everything that belongs to it.
//!
//! Guarantees: it ends as a whole, by whichever of its ends goes first: the stream, the engine's
//! session or the server.
//! It is not the client: that one knows no socket, and what every transport keeps of it is with that.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{SocketIoTransport, outlet::SocketOutlet};
use crate::connection::{Client, LineEars};

pub(super) struct Session {
    pub(super) sid: String,
    pub(super) client: Arc<Client>,
    pub(super) outlet: Arc<SocketOutlet>,
    /// One POST of a client that polls is read at a time.
    pub(super) posting: Semaphore,
    /// When the last request came, while it polls; in milliseconds of the monotonic clock.
    heard_ms: AtomicU64,
    transport: Weak<SocketIoTransport>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    pub(super) fn new(
        sid: String,
        client: Arc<Client>,
        outlet: Arc<SocketOutlet>,
        transport: &Arc<SocketIoTransport>,
    ) -> Arc<Self> {
        let now = transport.connections.parts.clock.monotonic();
        Arc::new(Self {
            sid,
            client,
            outlet,
            posting: Semaphore::new(1),
            heard_ms: AtomicU64::new(now.as_millis() as u64),
            transport: Arc::downgrade(transport),
        })
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
        self.client.left();
    }

    /// Ends everything of it. Idempotent.
    pub(super) fn over(&self) {
        self.left();
        if let Some(transport) = self.transport.upgrade() {
            transport.forget(&self.sid);
        }
        self.client.over();
    }
}

/// What a line tells its session.
pub(super) struct SessionEars(pub(super) Weak<Session>);

impl LineEars for SessionEars {
    fn opened(&self) {
        if let Some(session) = self.0.upgrade() {
            session.client.opened();
        }
    }
    fn ended(&self) {
        if let Some(session) = self.0.upgrade() {
            session.over();
        }
    }
}
