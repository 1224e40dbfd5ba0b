//! A session: one accepted Socket.IO client and everything that belongs to it.
//!
//! Guarantees: it ends as a whole, by whichever of its ends goes first: the stream, the engine's session or the
//! server; its id, which a client may show to anybody, opens nothing.
//! It is not the client: that one knows no socket, and what every transport keeps of it is with that. Nor is it the
//! engine's session, which may outlive it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use engineioxide::socket::Sid;

use super::outlet::SocketOutlet;
use crate::connection::Client;

pub(super) struct Session {
    /// The id that the client is told.
    pub(super) id: Sid,
    pub(super) client: Arc<Client>,
    pub(super) outlet: Arc<SocketOutlet>,
    left: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    pub(super) fn new(client: Arc<Client>, outlet: Arc<SocketOutlet>) -> Arc<Self> {
        Arc::new(Self { id: Sid::new(), client, outlet, left: AtomicBool::new(false) })
    }

    /// Ends everything of it. Idempotent.
    pub(super) fn over(&self) {
        if !self.left.swap(true, Ordering::SeqCst) {
            self.outlet.gone();
            self.client.left();
            self.client.over();
        }
    }
}
