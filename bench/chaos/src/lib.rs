//! The chaos harness: breaks what a Tidings server depends on, and judges what its clients saw.
//!
//! Guarantees: it has a ledger of its own, of what was published, acknowledged and seen, and calls a run
//! good only when every view is exact; what it starts and mounts is gone when it ends; every choice
//! comes from a seed.
//! It is not a measurement of speed: see `tidings-load`. Choices are repeatable, the timing of a real
//! machine is not.

pub mod client;
pub mod disk;
pub mod fault;
pub mod faults;
pub mod fleet;
pub mod ledger;
pub mod link;
pub mod outcome;
pub mod proxy;
pub mod publisher;
pub mod random;
pub mod report;
pub mod server;
pub mod tally;
pub mod view;
pub mod wire;
