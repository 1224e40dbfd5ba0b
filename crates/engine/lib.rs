//! The engine: what runs between the services and the transports.
//!
//! [`log`] keeps the messages, [`bus`] takes the events in, [`states`] folds them, [`hub`] gives
//! them out, [`gate`] judges and runs what clients ask, and [`registry`] knows who owns what. [`budget`] counts
//! the bytes that clients make the server hold, [`seats`] what is under way for each of them.
//!
//! Guarantees: the invariants of docs/ARCHITECTURE.md that concern order, durability and bounds.
//! It knows no domain by name and no transport.

pub mod audience;
pub mod budget;
pub mod bus;
pub mod gate;
#[cfg(test)]
mod house;
pub mod hub;
pub mod log;
pub mod registry;
pub mod seats;
pub mod sink;
pub mod states;
