//! The Socket.IO transport: socketioxide for the protocol, the hub for everything said on it.
//!
//! Guarantees: nothing of a connection exists before its token is accepted; what one connection
//! sends takes effect in the order sent, and every event is acknowledged; a slow or flooding client
//! is not read or not written to, and nobody else notices.
//! It is not the gate: it parses the wire and asks.

mod argument;
mod changes;
mod command;
mod door;
mod frames;
mod heartbeat;
mod hello;
mod line;
#[cfg(test)]
mod line_tests;
mod mailbox;
mod outlet;
mod polled;
mod polling;
mod publishing;
mod request;
mod route;
mod session;
mod sweep;
mod tap;
mod upgrade;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineioxide::service::NotFoundService;
use parking_lot::Mutex;
use socketioxide::{ParserConfig, SocketIo, SocketIoConfig, TransportType, service::SocketIoService};
use tidings_core::{
    identity::Identity,
    outlet::Ending,
    runtime::{Clock, Tasks},
};
use tidings_engine::{gate::Gate, hub::Hub};

pub use self::argument::{REQUESTS, refused_shape};
use self::{
    changes::Changes,
    line::{Handshake, Line},
    session::Session,
};

/// The bounds and periods of the transport.
#[derive(Debug, Clone)]
pub struct SocketIoConfigured {
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long it waits for the answer.
    pub ping_timeout: Duration,
    /// The most bytes of one message of a client, over either transport.
    pub max_message_bytes: usize,
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
    /// The most WebSockets and polling sessions that are open and not connected yet; further ones get 503.
    pub max_handshakes: usize,
    /// How long a client has to present its token, and to finish an upgrade.
    pub connect_timeout: Duration,
    /// The most subscriptions of a connection, as told in `server.hello`.
    pub max_subscriptions: usize,
}

impl Default for SocketIoConfigured {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
            max_message_bytes: 256 * 1024,
            rate_burst: 2000,
            rate_per_second: 100,
            mailbox: 1024,
            mailbox_bytes: 4 * 1024 * 1024,
            concurrent_commands: 64,
            unread: Duration::from_secs(10),
            max_connections: 50_000,
            max_handshakes: 2000,
            connect_timeout: Duration::from_secs(10),
            max_subscriptions: 1000,
        }
    }
}

/// What the transport is made of.
pub struct SocketIoParts {
    /// Judges and runs.
    pub gate: Arc<Gate>,
    /// Gives out.
    pub hub: Arc<Hub>,
    /// Says who a token is.
    pub identity: Arc<dyn Identity>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where its tasks run.
    pub tasks: Arc<dyn Tasks>,
    /// Its bounds.
    pub config: SocketIoConfigured,
}

impl std::fmt::Debug for SocketIoParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SocketIoParts")
    }
}

/// The transport of a server.
pub struct SocketIoTransport {
    parts: SocketIoParts,
    service: OnceLock<SocketIoService<NotFoundService>>,
    /// Sessions by their engine id, which never leaves this file's folder.
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// Streams of changes from polling, whose session may not be accepted yet.
    lines: Mutex<HashMap<String, Arc<Line>>>,
    changes: Changes,
    /// WebSockets that are open, accepted or not.
    open_streams: Arc<AtomicUsize>,
    /// WebSockets whose client has not been told yet that it is connected, and sessions by polling that are not
    /// accepted.
    handshakes: Arc<AtomicUsize>,
    /// The latter, by their engine id, and since when they are open.
    opening: Mutex<HashMap<String, (Duration, Handshake)>>,
    draining: AtomicBool,
}

impl std::fmt::Debug for SocketIoTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SocketIoTransport({} sessions)", self.sessions.lock().len())
    }
}

/// The version of the wire.
pub(super) const PROTOCOL: u32 = 1;

/// The most bytes of a client that is not accepted yet: a token and what comes with it.
pub(super) const MAX_UNACCEPTED: usize = 64 * 1024;

/// The most binary attachments of an event that is refused for having some; more end the connection.
const MAX_ATTACHMENTS: usize = 1000;

/// Room in a polling payload: more than may wait for a polling client, so that socketioxide never
/// has to keep a packet back (one that it keeps back is lost in an upgrade).
pub(super) const MAX_PAYLOAD: usize = 1024 * 1024;

impl SocketIoTransport {
    /// The transport, ready to be mounted with [`SocketIoTransport::router`].
    #[must_use]
    pub fn new(parts: SocketIoParts) -> Arc<Self> {
        let transport = Arc::new(Self {
            parts,
            service: OnceLock::new(),
            sessions: Mutex::default(),
            lines: Mutex::default(),
            changes: Changes::default(),
            open_streams: Arc::default(),
            handshakes: Arc::default(),
            opening: Mutex::default(),
            draining: AtomicBool::new(false),
        });
        let config = &transport.parts.config;
        // Attachments are refused, but only once all have come: until then they are kept.
        let attachments = ParserConfig::common()
            .max_incoming_binary_buf_size(config.max_message_bytes * 4)
            .max_incoming_binaries(MAX_ATTACHMENTS)
            .packet_completion_timeout(config.connect_timeout);
        let mut builder = SocketIo::builder().with_config(SocketIoConfig::default()).with_parser(attachments);
        builder = builder
            .req_path("/socket.io")
            .ping_interval(config.ping_interval)
            .ping_timeout(heartbeat::ENGINE_TIMEOUT)
            .upgrade_timeout(config.connect_timeout)
            .connect_timeout(config.connect_timeout)
            .max_buffer_size(polled::QUEUE_PACKETS)
            .max_payload(MAX_PAYLOAD as u64)
            .ws_read_buffer_size(512)
            // Somewhat beyond the limit, so that what is too large can still be answered.
            .ws_max_message_size(config.max_message_bytes * 4)
            .ws_max_frame_size(config.max_message_bytes * 4)
            .transports([TransportType::Polling, TransportType::Websocket]);
        let (service, io) = builder.build_svc();
        door::open(&io, &transport);
        transport.service.get_or_init(|| service);
        sweep::start(&transport);
        transport
    }

    fn service(&self) -> SocketIoService<NotFoundService> {
        self.service.get().expect("set in new, before anybody has the transport").clone()
    }

    /// Refuses new connections from now on, with 503.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Ends all connections, spread over a time, so that they do not return all at once.
    pub async fn close_all(&self, over: Duration, ending: &Ending) {
        let connections = self.parts.hub.connections();
        let pause = over / u32::try_from(connections.len().max(1)).unwrap_or(u32::MAX);
        let started = self.parts.clock.monotonic();
        for (number, connection) in (0u32..).zip(&connections) {
            let due = started + pause * number;
            tokio::time::sleep(due.saturating_sub(self.parts.clock.monotonic())).await;
            connection.end(ending);
        }
        // What was ended leaves through its own transport: wait for it, within reason.
        let most = self.parts.clock.monotonic() + sweep::FAREWELL + Duration::from_secs(1);
        while !self.sessions.lock().is_empty() && self.parts.clock.monotonic() < most {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether no further client may be accepted.
    fn is_full(&self) -> bool {
        self.draining.load(Ordering::SeqCst) || self.parts.hub.connection_count() >= self.parts.config.max_connections
    }

    /// Why no further handshake may begin, if so: streams that are not accepted yet count, too.
    fn crowd(&self) -> Option<&'static str> {
        let config = &self.parts.config;
        if self.draining.load(Ordering::SeqCst) {
            Some("draining")
        } else if self.is_full() || self.open_streams.load(Ordering::SeqCst) >= config.max_connections {
            Some("connections")
        } else if self.handshakes.load(Ordering::SeqCst) >= config.max_handshakes {
            Some("handshakes")
        } else {
            None
        }
    }

    fn session(&self, sid: &str) -> Option<Arc<Session>> {
        self.sessions.lock().get(sid).cloned()
    }

    fn forget(&self, sid: &str) {
        if let Some(session) = self.sessions.lock().remove(sid) {
            session.connection.release();
        }
    }
}
