//! Projects: directories in which programs may run, their members, and the board of what runs there.
//!
//! Guarantees: an event-sourced domain; what [`Projects`] says of memberships is what its events say.
//! It is not a file browser: the directory itself is read by nobody here.

pub mod contract;
mod place;
mod roots;
mod service;
mod state;

pub use contract::{ProjectId, ProjectState, Summary};
pub(crate) use place::Place;
pub use roots::{Roots, RootsConfig};
pub use service::Projects;
pub use state::ProjectReducer;
