//! Parting: what a session that nobody was let into does before it ends, so that nothing of it is kept.
//!
//! socketioxide waits for the first CONNECT of a session that goes well, and keeps the session as long as it waits: until
//! its own time limit, though the session ended long before. So such a session joins a namespace that lets everybody in
//! and has nothing, and then ends.
//!
//! Guarantees: what ends without having been let in is not kept; a client that knew of the namespace would get nothing
//! there, and none knows its name. Where a session ends without parting, the time limit lets it go.
//! It is not the end of a session: see `engines`.

use std::time::Duration;

use engineioxide::socket::Sid;
use socketioxide::{SocketIo, extract::SocketRef};

/// How much later than this transport socketioxide lets go of whoever is not let in: after everybody was.
pub(super) const SPARE: Duration = Duration::from_secs(5);

/// The way out.
pub(super) struct Parting {
    namespace: String,
}

impl Parting {
    /// A namespace with a name that nobody guesses.
    pub(super) fn new() -> Self {
        Self { namespace: format!("/{}", Sid::new()) }
    }

    /// Registers it.
    pub(super) fn open(&self, io: &SocketIo) {
        io.ns(self.namespace.clone(), async |_: SocketRef| {});
    }

    /// The packet of a client that joins it.
    pub(super) fn packet(&self) -> String {
        format!("40{},", self.namespace)
    }
}
