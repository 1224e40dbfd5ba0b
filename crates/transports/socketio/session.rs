//! A session: one accepted Socket.IO connection and everything that belongs to it.
//!
//! Guarantees: it ends as a whole, by whichever of its ends goes first: the stream, the engine's
//! session or the server.
//! It is not the hub's connection: that one knows no socket.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_engine::hub::Connection;
use tokio::sync::Notify;

use super::{SocketIoTransport, line::LineEars, mailbox::Mailbox, outlet::QueueOutlet};

pub(super) struct Session {
    pub(super) sid: String,
    pub(super) connection: Arc<Connection>,
    pub(super) outlet: Arc<QueueOutlet>,
    pub(super) mailbox: Mailbox,
    /// socketioxide has told the client that it is connected.
    pub(super) opened: Notify,
    /// The owner was told that the token ends; reset by a refresh.
    pub(super) warned: AtomicBool,
    /// Packets in the last polling response: they have left once the next poll comes.
    pub(super) last_poll: AtomicUsize,
    /// Since when the connection is not read, if it is not.
    pub(super) unread_since: Mutex<Option<Duration>>,
    pub(super) transport: Weak<SocketIoTransport>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
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

    /// The client knows that it is connected: the first word may be said.
    pub(super) fn mailbox_open(&self) {
        self.opened.notify_one();
    }

    /// The client is out of the namespace. Where the server sent it away, the sweep still has its
    /// transport to end: a client that stays would keep it open for ever.
    pub(super) fn left(&self) {
        if self.outlet.farewell(Duration::ZERO) {
            self.outlet.gone();
            self.mailbox.close();
            self.connection.release();
        } else {
            self.over();
        }
    }

    /// Ends everything of it. Idempotent.
    pub(super) fn over(&self) {
        self.outlet.gone();
        self.mailbox.close();
        self.connection.release();
        if let Some(transport) = self.transport.upgrade() {
            transport.forget(&self.sid);
        }
    }

    pub(super) fn take_last_poll(&self) -> usize {
        self.last_poll.swap(0, Ordering::SeqCst)
    }
}

/// What a line tells its session.
pub(super) struct SessionEars(pub(super) Weak<Session>);

impl LineEars for SessionEars {
    fn written(&self, packets: usize) {
        if let Some(session) = self.0.upgrade() {
            session.outlet.written(packets);
        }
    }
    fn ended(&self) {
        if let Some(session) = self.0.upgrade() {
            session.over();
        }
    }
}
