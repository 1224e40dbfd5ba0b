//! Tests of sessions with real programs, over a bus and states in memory.
//!
//! Guarantees: nothing here waits for time alone; every program that is started is ended.
//! They are not tests of the wire or of the log: those are the root's and the engine's.

mod conversing;
mod ending;
mod faults;
mod folding;
mod house;
mod input;
mod reading;
mod running;
mod starting;
