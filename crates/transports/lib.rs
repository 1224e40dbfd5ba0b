//! The transports: the only code that knows sockets.
//!
//! [`http`] is the REST side, [`socketio`] the live one.
//!
//! Guarantees: no domain is named here, and neither transport knows the other.

pub mod http;
pub mod socketio;
