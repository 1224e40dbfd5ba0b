//! The transports: the only code that knows sockets.
//!
//! [`http`] is the REST side, [`socketio`] the live one; what transports of live connections share is in
//! [`connection`], and what a client has of time to send and to read in [`body`], [`stream`] and [`patience`].
//!
//! Guarantees: no domain is named here, and no transport knows another.

pub mod body;
pub mod connection;
pub mod http;
pub mod patience;
pub mod socketio;
pub mod stream;
