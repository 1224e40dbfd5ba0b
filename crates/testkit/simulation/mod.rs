//! A simulated world of one thread: whose turn it is, what fails and what comes late is drawn from a seed.
//!
//! Guarantees: the same seed gives the same run, on any machine; nothing waits for time to pass.
//! It is not a judge: what must hold is said by the test that runs the world.

mod dice;
mod log;
mod outlet;
mod turns;

pub use dice::Dice;
pub use log::{Faults, Reached, SimulatedLog};
pub use outlet::{Sent, SimulatedOutlet};
pub use turns::{Turns, pass_turns};
