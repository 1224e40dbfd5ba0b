//! Files of projects: read and listed, and watched while somebody looks.
//!
//! - [`contract`]: events, and the two small ports; [`input`]: what the commands take; [`config`]: limits.
//! - [`Files`]: the service. `beneath`: how a path is opened; `reading`: what is answered.
//! - `tree`: the watched directories; `ignores`: what is left out; `batch`: what is told; `watch`: the task.
//!
//! Guarantees: no path leads out of the project, whatever is a symbolic link; a watch costs one descriptor, and
//! nothing for what `.gitignore` leaves out; every change is told, or that not every change was; when nobody
//! looks, nothing is left of a watch.
//! It writes nothing.

mod batch;
pub(crate) mod beneath;
pub mod config;
pub mod contract;
mod files;
mod ignores;
pub mod input;
#[cfg(test)]
mod model;
mod reading;
mod tree;
mod watch;

pub use config::FsConfig;
pub use files::{Files, FsPorts};
