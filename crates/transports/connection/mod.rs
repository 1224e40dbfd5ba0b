//! Live connections: what all transports share that keep a client connected.
//!
//! Guarantees: clients are admitted by one count, whichever way they come; what one of them asks takes effect in the
//! order asked, and is answered; a token's end is told before and kept; at the end all of them are sent away.
//! It is not a transport: it has no route and knows no packet. Nor is it the gate: it asks.

mod admission;
mod argument;
mod client;
mod command;
mod farewell;
pub(crate) mod frames;
mod handshakes;
mod hello;
mod line;
mod mailbox;
mod publishing;
mod tap;
mod unfinished;
mod walker;
pub(crate) mod websocket;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    Principal,
    identity::Identity,
    outlet::{Ending, Outlet},
    runtime::{Clock, Tasks},
};
use tidings_engine::{gate::Gate, hub::Hub};

pub use self::argument::{REQUESTS, refused_shape};
#[cfg(test)]
pub(crate) use self::handshakes::Handshakes;
pub(crate) use self::{
    admission::{Admission, OpenStream, Presented, Refused},
    client::{Carrier, Client},
    command::{Call, Door, Request},
    farewell::Closing,
    handshakes::{Handshake, Replaced},
    line::{Line, LineEars},
    mailbox::{Incoming, Packet},
    tap::{Heard, Message, Tap, Watch},
    unfinished::Unfinished,
    walker::code as close_code,
};

use crate::{http::Network, patience::Patience};

/// The version of the wire.
pub(crate) const PROTOCOL: u32 = 1;

/// The bounds and periods of live connections.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long it waits for the answer.
    pub ping_timeout: Duration,
    /// The most bytes of one message of a client.
    pub max_message_bytes: usize,
    /// How long a message may take to come whole.
    pub message: Patience,
    /// Commands that a connection may have beyond its rate.
    pub rate_burst: u32,
    /// Commands a second that a connection may send for long; 0 means no limit.
    pub rate_per_second: u32,
    /// Commands that wait for a connection; at half of it the connection is not read.
    pub mailbox: usize,
    /// Bytes of commands that wait for a connection; at half of it the connection is not read. At least four times
    /// a message's.
    pub mailbox_bytes: usize,
    /// Commands of one connection that run at once.
    pub concurrent_commands: usize,
    /// How long a connection may stay unread before it is closed as `rate_limited`.
    pub unread: Duration,
    /// The most connections; further ones get 503.
    pub max_connections: usize,
    /// The most connections of one user; further ones are refused as `overloaded`. Zero means that a user has no bound
    /// of its own.
    pub max_connections_per_user: usize,
    /// The most handshakes under way: what is open and not accepted yet. A further one replaces the oldest of the
    /// address that holds most, or gets 503.
    pub max_handshakes: usize,
    /// The proxies whose `X-Forwarded-For` says whose a handshake is. Empty, the default, trusts nobody's.
    pub trusted_proxies: Vec<Network>,
    /// How long a client has to present its token, and to finish an upgrade.
    pub connect_timeout: Duration,
    /// The most subscriptions of a connection, as told in `server.hello`.
    pub max_subscriptions: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
            max_message_bytes: 256 * 1024,
            message: Patience { time: Duration::from_secs(15), bytes_per_second: 4 << 10 },
            rate_burst: 2000,
            rate_per_second: 100,
            mailbox: 1024,
            mailbox_bytes: 4 * 1024 * 1024,
            concurrent_commands: 64,
            unread: Duration::from_secs(10),
            max_connections: 50_000,
            max_connections_per_user: 1000,
            max_handshakes: 2000,
            trusted_proxies: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            max_subscriptions: 1000,
        }
    }
}

/// What live connections are made of.
pub struct ConnectionParts {
    /// Judges and runs.
    pub gate: Arc<Gate>,
    /// Gives out.
    pub hub: Arc<Hub>,
    /// Says who a token is.
    pub identity: Arc<dyn Identity>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where their tasks run.
    pub tasks: Arc<dyn Tasks>,
    /// Their bounds.
    pub config: ConnectionConfig,
}

impl std::fmt::Debug for ConnectionParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionParts")
    }
}

/// The live connections of a server, over all transports.
pub struct Connections {
    pub(crate) parts: ConnectionParts,
    pub(crate) admission: Admission,
    /// Clients that were accepted and have not left their transport.
    clients: AtomicUsize,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connections({} clients)", self.clients.load(Ordering::SeqCst))
    }
}

impl Connections {
    /// None yet. The transports are made over it.
    #[must_use]
    pub fn new(parts: ConnectionParts) -> Arc<Self> {
        let admission = Admission::new(&parts);
        Arc::new(Self { parts, admission, clients: AtomicUsize::new(0) })
    }

    /// Lets a client in whose token was accepted: everything of its connection comes to be here. `outlet` is the way
    /// out to it, and `door` says how it asks.
    pub(crate) fn accept<O: Outlet + Carrier>(
        self: &Arc<Self>,
        principal: Principal,
        outlet: &Arc<O>,
        door: &'static Door,
    ) -> Arc<Client> {
        let connection = self.parts.hub.connect(principal, outlet.clone());
        Client::new(self, connection, outlet.clone(), door)
    }

    /// Refuses new connections from now on, with 503.
    pub fn drain(&self) {
        self.admission.drain();
    }

    /// Ends all connections, spread over a time, so that they do not return all at once.
    pub async fn close_all(&self, over: Duration, ending: &Ending) {
        let clock = &self.parts.clock;
        let connections = self.parts.hub.connections();
        let pause = over / u32::try_from(connections.len().max(1)).unwrap_or(u32::MAX);
        let started = clock.monotonic();
        for (number, connection) in (0u32..).zip(&connections) {
            let due = started + pause * number;
            tokio::time::sleep(due.saturating_sub(clock.monotonic())).await;
            connection.end(ending);
        }
        // What was ended leaves through its own transport: wait for it, within reason.
        let most = clock.monotonic() + farewell::FAREWELL + Duration::from_secs(1);
        while self.clients.load(Ordering::SeqCst) > 0 && clock.monotonic() < most {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
