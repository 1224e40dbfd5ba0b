//! The domain services: what works, and what it says about it.
//!
//! One folder a domain: its contract (events, inputs), its state (projection), its service.
//!
//! Guarantees: a service emits facts and takes calls; it names no channel, knows no socket and no
//! other service.

mod beneath;
mod blocking;
mod count;
mod course;
pub mod fs;
pub mod git;
mod listing;
pub mod programs;
pub mod project;
pub mod redaction;
#[cfg(test)]
mod saved_states_tests;
pub mod session;
pub mod shell;
mod telling;
mod together;
pub mod user;
pub mod workflow;
