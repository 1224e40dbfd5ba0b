//! The load generator: measures the fan-out of a Socket.IO server from outside.
//!
//! Guarantees: one thread is all subscribers and another the publisher; every delivered message is
//! checked for order, loss and doubles; what the server spends is read from the system, not guessed
//! from time. Everything stops by itself.
//! It is not a Socket.IO client: it knows the packets that a subscriber meets, over WebSocket only.

pub mod clock;
pub mod fleet;
pub mod frame;
pub mod http;
pub mod latency;
pub mod ledger;
pub mod message;
pub mod metrics;
pub mod process;
pub mod publisher;
pub mod report;
pub mod sockets;
pub mod subscriber;
pub mod work;
