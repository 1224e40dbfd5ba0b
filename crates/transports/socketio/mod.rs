//! The Socket.IO transport: socketioxide for the protocol, the hub for everything said on it.
//!
//! Guarantees: nothing of a connection exists before its token is accepted; what one connection
//! sends is taken in the order sent, and every event is acknowledged; a slow or flooding client
//! is not read or not written to, and nobody else notices.
//! It is not what a client asks for: it parses the wire, and `connection` does the rest.

mod door;
mod engines;
mod frames;
mod greeting;
mod heartbeat;
mod intake;
#[cfg(test)]
mod line_tests;
mod numbers;
mod outlet;
mod packet;
mod parting;
mod polled;
mod polling;
mod polls;
mod request;
mod route;
mod said;
mod session;
mod sweep;
mod upgrade;

use std::sync::{Arc, OnceLock};

use engineioxide::service::NotFoundService;
use socketioxide::{SocketIo, SocketIoConfig, TransportType, service::SocketIoService};

use self::{engines::Engines, parting::Parting};
use crate::connection::{ConnectionConfig, Connections};

/// The transport of a server.
pub struct SocketIoTransport {
    connections: Arc<Connections>,
    service: OnceLock<SocketIoService<NotFoundService>>,
    /// The engine's sessions.
    engines: Engines,
    parting: Parting,
}

impl std::fmt::Debug for SocketIoTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SocketIoTransport({} sessions)", self.engines.len())
    }
}

/// The most bytes of a client that is not accepted yet: a token and what comes with it.
pub(super) const MAX_UNACCEPTED: usize = 64 * 1024;

/// Room in a polling payload: more than may wait for a polling client, so that socketioxide never
/// has to keep a packet back (one that it keeps back is lost in an upgrade). Clients are told it; it is the reference's.
pub(super) const MAX_PAYLOAD: usize = 1_000_000;

/// The most bytes of a message over a WebSocket: somewhat beyond the limit, so that what is too large can still be
/// answered.
fn most_of_websocket(config: &ConnectionConfig) -> usize {
    config.max_message_bytes * 4
}

impl SocketIoTransport {
    /// The transport, ready to be mounted with [`SocketIoTransport::router`].
    #[must_use]
    pub fn new(connections: Arc<Connections>) -> Arc<Self> {
        let transport = Arc::new(Self {
            connections,
            service: OnceLock::new(),
            engines: Engines::default(),
            parting: Parting::new(),
        });
        let config = &transport.connections.parts.config;
        let mut builder = SocketIo::builder().with_config(SocketIoConfig::default());
        builder = builder
            .req_path("/socket.io")
            .ping_interval(heartbeat::ENGINE_INTERVAL)
            .ping_timeout(heartbeat::ENGINE_TIMEOUT)
            .upgrade_timeout(config.connect_timeout)
            // Who is not let in in time is let go by the sweep; what is over may be kept until then, see `parting`.
            .connect_timeout(config.connect_timeout + parting::SPARE)
            .max_buffer_size(polled::QUEUE_PACKETS)
            .max_payload(MAX_PAYLOAD as u64)
            .ws_read_buffer_size(512)
            .ws_max_message_size(most_of_websocket(config))
            .ws_max_frame_size(most_of_websocket(config))
            .transports([TransportType::Polling, TransportType::Websocket]);
        let (service, io) = builder.build_svc();
        door::open(&io, &transport);
        transport.parting.open(&io);
        transport.service.get_or_init(|| service);
        sweep::start(&transport);
        transport
    }

    fn service(&self) -> SocketIoService<NotFoundService> {
        self.service.get().expect("set in new, before anybody has the transport").clone()
    }
}
