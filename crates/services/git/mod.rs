//! Git: what a project's repository is like, and operations on it that everybody who may can watch.
//!
//! - [`contract`]: events and what stands in a project's state; [`input`]: what the commands take.
//! - [`config`]: limits. [`Repositories`]: the service.
//! - `names`: what may be a path, a revision, a branch; `job`: an operation as a command line of git.
//! - `guard`: a repository as it is looked at before anything of it is used; `execute`: a run of git.
//! - `status`, `listing`: git's own formats, read; `progress`, `failure`: what git says while it works and
//!   when it does not. `registry`: which operation has its turn; `locks`: what git leaves behind. `trees`: working
//!   trees for what runs in them. `turns`: how many reads at once, and whose
//!   is next; `looks`: one for all who ask.
//!
//! Guarantees: an operation that started or stands in line has exactly one end, whoever dies; one changes a repository
//! at a time, in the order in which they were asked for; nothing that a client sends becomes an option of git; no program that the repository itself names
//! is run, unless configured; nothing asks a person at a terminal that is not there; so many runs of git at once
//! as configured, whoever asks.
//! It is not a git of its own: the command `git` does the work, as the user that programs run as.

pub mod config;
pub mod contract;
mod elsewhere;
mod execute;
mod failure;
mod guard;
pub mod input;
pub mod job;
mod listing;
mod locks;
mod looks;
mod names;
mod operation;
mod progress;
mod reading;
mod refresh;
mod registry;
mod repositories;
mod status;
#[cfg(test)]
mod tests;
mod trees;
mod turns;

pub use config::GitConfig;
pub use locks::Unlocked;
pub(crate) use names::{LONGEST, PATH, a_path};
pub use refresh::Sight;
pub use repositories::{GitPorts, Repositories};
