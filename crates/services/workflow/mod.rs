//! Workflows: a graph of steps runs in a project, survives the server, and everybody who may can watch.
//!
//! - [`contract`]: events; [`input`]: what the commands take; [`state`]: the projection.
//! - [`definition`]: what a text says; [`expression`]: its conditions and values; [`scalar`]: what is given as it was
//!   written; `plan`: a definition as the steps of one run; `scheduler`: what is next. All of them are pure.
//! - [`Runs`]: the service. One task a run (`run`), which owns its decisions, and one an attempt of a step
//!   (`step`), which owns its program or follows its session.
//!
//! Guarantees: a run that started has exactly one end, and so has each attempt of each step, whoever dies;
//! a step runs again only where its definition says so. A run is the fold of its channel: what a restart
//! goes on by is what everybody can read.
//! It is not a sandbox, and it starts no agent by itself: that is the sessions', asked through the gate.

pub mod answer;
pub mod config;
pub mod contract;
pub mod definition;
pub mod expression;
mod file;
pub mod input;
mod listening;
mod outputs;
mod plan;
mod reading;
mod recover;
mod registry;
mod run;
mod runs;
pub mod scalar;
mod scheduler;
pub mod state;
mod step;
mod telling;
#[cfg(test)]
mod tests;

pub use config::{Limits, WorkflowConfig};
pub use contract::{RunId, RunStatus};
pub use reading::{Brief, Page};
pub use runs::{RunPorts, Runs, Users, Wanting};
pub use state::{RunReducer, RunState};
