//! The Socket.IO transport: socketioxide for the protocol, the hub for everything said on it.
//!
//! Guarantees: nothing of a connection exists before its token is accepted; what one connection
//! sends is taken in the order sent, and every event is acknowledged; a slow or flooding client
//! is not read or not written to, and nobody else notices.
//! It is not what a client asks for: it parses the wire, and `connection` does the rest.

mod changes;
mod door;
mod frames;
mod greeting;
mod heartbeat;
#[cfg(test)]
mod line_tests;
mod outlet;
mod polled;
mod polling;
mod request;
mod route;
mod session;
mod sweep;
mod upgrade;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use engineioxide::service::NotFoundService;
use parking_lot::Mutex;
use socketioxide::{ParserConfig, SocketIo, SocketIoConfig, TransportType, service::SocketIoService};

use self::{changes::Changes, session::Session};
use crate::connection::{Connections, Handshake, Line};

/// The transport of a server.
pub struct SocketIoTransport {
    connections: Arc<Connections>,
    service: OnceLock<SocketIoService<NotFoundService>>,
    /// Sessions by their engine id, which never leaves this file's folder.
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// Streams of changes from polling, whose session may not be accepted yet.
    lines: Mutex<HashMap<String, Arc<Line>>>,
    changes: Changes,
    /// Sessions by polling that are not accepted, by their engine id, and since when they are open.
    opening: Mutex<HashMap<String, (Duration, Handshake)>>,
}

impl std::fmt::Debug for SocketIoTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SocketIoTransport({} sessions)", self.sessions.lock().len())
    }
}

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
    pub fn new(connections: Arc<Connections>) -> Arc<Self> {
        let transport = Arc::new(Self {
            connections,
            service: OnceLock::new(),
            sessions: Mutex::default(),
            lines: Mutex::default(),
            changes: Changes::default(),
            opening: Mutex::default(),
        });
        let config = &transport.connections.parts.config;
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

    fn session(&self, sid: &str) -> Option<Arc<Session>> {
        self.sessions.lock().get(sid).cloned()
    }

    fn forget(&self, sid: &str) {
        self.sessions.lock().remove(sid);
    }
}
