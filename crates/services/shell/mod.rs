//! Terminals: a program runs in a pseudo-terminal of a project, and everybody who may sees the same screen.
//!
//! - [`contract`]: events; [`input`] and [`answer`]: what the commands take and give; [`state`]: the projection, whose [`display`] keeps
//!   the screen; [`config`]: limits.
//! - [`Shells`]: the service. One task a terminal (`run`), which owns its program ([`crate::programs`]), its
//!   bytes (`pump`) and its events (`telling`). `hosting`: terminals for the programs of sessions.
//!
//! Guarantees: a terminal that was opened has exactly one end, whoever dies; its output is told in the order it
//! was written, without loss, and a program that floods waits; whoever joins gets the screen, not a replay;
//! viewers come and go, and the terminal stays until its program exits, somebody closes it, or nobody has
//! watched it for longer than configured (a session's stays until that ends).
//! It is not a sandbox: what separates programs from the server is `[run] sandbox`, `user` or a wrapper.

pub mod answer;
pub mod config;
pub mod contract;
pub mod display;
mod hosting;
pub mod input;
mod plan;
mod pump;
mod reading;
mod registry;
mod run;
mod shells;
pub mod state;
#[cfg(test)]
mod tests;

pub use config::ShellConfig;
pub use contract::{Status, TerminalId};
pub use reading::{Brief, Page};
pub use shells::{ShellPorts, Shells};
pub use state::{ShellReducer, ShellState};
