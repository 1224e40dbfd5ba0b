//! The transports: the only code that knows sockets.
//!
//! [`http`] is the REST side, [`socketio`] the live one; what transports of live connections share is in
//! [`connection`].
//!
//! Guarantees: no domain is named here, and no transport knows another.

pub mod connection;
pub mod http;
pub mod socketio;
