//! Agent sessions: a program runs in a project, and everybody who may can watch it live.
//!
//! - [`contract`]: events; [`input`], [`answer`]: what the commands take and give; [`state`]: the projection.
//! - [`config`]: agents, limits; `command_line`: how an agent is started.
//! - [`Sessions`]: the service. One task a session (`run`), which owns its program ([`crate::programs`]),
//!   its output (`output`), its standard input (`inbox`) and its events (`telling`).
//! - An agent that speaks a format of its own: its adapter (`adapter`, pure) inside its task (`agent`), and
//!   what that comes to (`conversation`, `draft`).
//! - [`surroundings`]: the terminal (`terminal`) or working tree that a program runs in, of another domain.
//!
//! Guarantees: a session that started has exactly one end, whoever dies; its output is told in the
//! order it was read, without loss, and a program that prints faster than the log takes it waits;
//! no child sees a `TIDINGS_*` variable or the path of the data directory.
//! It is not a sandbox: what separates programs from the server is `[run] sandbox`, `user` or a wrapper.

mod abandoned;
mod adapter;
mod agent;
pub mod agents;
pub mod answer;
mod asking;
mod attend;
mod command_line;
pub mod config;
pub mod contract;
pub mod conversation;
pub mod draft;
mod end;
mod inbox;
pub mod input;
mod lines;
pub mod open_questions;
mod output;
mod plan;
mod pulse;
mod reading;
mod registry;
mod run;
mod sessions;
pub mod state;
pub mod surroundings;
mod telling;
mod terminal;
#[cfg(test)]
mod tests;
pub mod trial;

pub use adapter::Publication;
pub use agent::Publishing;
pub use config::{AdapterKind, AgentConfig, AgentRole, Limits, SessionConfig, Stdin};
pub use contract::{SessionId, Status};
pub use reading::{Brief, OUTPUT_BYTES, Page};
pub use sessions::{SessionPorts, Sessions, Starter};
pub use state::{SessionReducer, SessionState};
