//! What concerns one person, wherever it happens.
//!
//! - [`contract`]: events; [`state`]: the projection.
//!
//! Guarantees: nothing here runs: events are copied here by the handlers of that which waits.
//! It is not the administration of users: that is `tidings-auth`.

pub mod contract;
pub mod state;
