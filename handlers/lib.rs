//! The handlers: one file a domain, and the registry of all of them.
//!
//! Guarantees: each namespace has one owner; a handler is pure, holds no lock and waits for nothing.
//! They are not services: what a domain does is in `tidings-services`.

pub mod agent;
pub mod declared;
pub mod fs;
pub mod git;
pub mod project;
pub mod session;
pub mod shell;
pub mod user;
pub mod workflow;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{Channel, command::Json, handler::Handler};
use tidings_services::{
    fs::Files, git::Repositories, project::Projects, session::Sessions, shell::Shells, workflow::Runs,
};

/// The services that the handlers' commands call.
#[derive(Debug, Clone)]
pub struct Services {
    /// Projects and their members.
    pub projects: Arc<Projects>,
    /// Agent sessions.
    pub sessions: Arc<Sessions>,
    /// Files of projects.
    pub files: Arc<Files>,
    /// Git in projects.
    pub repositories: Arc<Repositories>,
    /// Terminals.
    pub shells: Arc<Shells>,
    /// Workflows.
    pub runs: Arc<Runs>,
}

/// What was made. The id stands here by its own name, too.
#[derive(Debug, Serialize, JsonSchema)]
struct Made<I, T> {
    /// What was made.
    id: I,
    /// Where it is told.
    channel: Channel,
    #[serde(flatten)]
    rest: T,
}

impl<I, T> Made<I, T> {
    fn answer(id: I, channel: Channel, rest: T) -> Json<Self> {
        Json(Self { id, channel, rest })
    }
}

/// The namespaces that have an owner. The start holds it against what the handlers say.
pub const NAMESPACES: [&str; 5] = ["project", "session", "shell", "user", "workflow"];

/// Every handler of the server, without those of [declared](declared::DeclaredHandler) domains.
#[must_use]
pub fn all(services: &Services) -> Vec<Arc<dyn Handler>> {
    vec![
        Arc::new(agent::AgentHandler::new(services.sessions.clone(), services.projects.clone())),
        Arc::new(fs::FsHandler::new(services.files.clone())),
        Arc::new(git::GitHandler::new(services.repositories.clone())),
        Arc::new(project::ProjectHandler::new(services.projects.clone())),
        Arc::new(session::SessionHandler::new(services.sessions.clone())),
        Arc::new(shell::ShellHandler::new(services.shells.clone())),
        Arc::new(user::UserHandler),
        Arc::new(workflow::WorkflowHandler::new(services.runs.clone())),
    ]
}

/// The recipe of docs/ADDING_A_DOMAIN.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/ADDING_A_DOMAIN.md")]
struct Recipe;
