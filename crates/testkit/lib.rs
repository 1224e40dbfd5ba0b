//! What tests of the house share: a clock, tasks, a sink and a log of their own, and the suite that
//! every event log must pass.
//!
//! Guarantees: nothing here sleeps for a time to pass; whoever waits, waits for a condition and
//! fails with what it saw.
//! It is not part of the server: nothing but tests depends on it.

mod clock;
pub mod log_conformance;
mod memory;
mod nowhere;
mod outlet;
pub mod script;
mod simulation;
mod sink;
mod tasks;

pub use clock::TestClock;
pub use memory::{MemoryConfig, MemoryLog};
pub use nowhere::Nowhere;
pub use outlet::{RecordingOutlet, Taken};
pub use simulation::{Dice, Faults, Reached, Sent, SimulatedLog, SimulatedOutlet, Turns, pass_turns};
pub use sink::{Heard, RecordingSink};
pub use tasks::TestTasks;

use std::time::Duration;

/// How long a test waits for a condition before it fails. Long, because a loaded machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(30);
