//! The services of the domains: what each is made of, how all begin and how all end.
//!
//! Guarantees: each service is given its ports and nothing else; what a former life of the server left open
//! is ended, or goes on, before anybody is let in; after a stop that came to its end none has anything open.
//! It is not the rest of the wiring: that is the application's.

use std::{path::PathBuf, sync::Arc};

use tidings_core::{
    BoxFuture, Result, UserId,
    runtime::{self, Clock, Tasks},
};
use tidings_engine::{
    audience::Audience, bus::Bus, gate::GateCalls, hub::Hub, log::SqliteLog, registry::Registry, states::StateStore,
};
use tidings_handlers::Services;
use tidings_services::{
    fs::{Files, FsPorts},
    git::{GitPorts, Repositories, Sight, input::Worktree},
    programs::Programs,
    project::{ProjectId, Projects, Roots},
    session::{
        SessionPorts, Sessions,
        surroundings::{Surroundings, Terminal, Wanted},
    },
    shell::{ShellPorts, Shells},
    workflow::{RunPorts, Runs},
};

use crate::{app::StartError, config::Config, entrance::Entrance, known_users::KnownUsers, stop::Part};

/// What the other domains do for sessions.
struct Beside {
    shells: Arc<Shells>,
    repositories: Arc<Repositories>,
}

impl Surroundings for Beside {
    fn terminal(&self, wanted: Wanted) -> BoxFuture<'_, Result<Terminal>> {
        Box::pin(self.shells.clone().host(wanted))
    }

    fn worktree(&self, user: UserId, project_id: ProjectId, tree: Worktree) -> BoxFuture<'_, Result<PathBuf>> {
        Box::pin(self.repositories.clone().worktree(user, project_id, tree))
    }
}

/// What services are made of.
pub(crate) struct Ports {
    bus: Arc<Bus>,
    states: Arc<StateStore>,
    audience: Arc<dyn runtime::Audience>,
    /// Commands of other domains, once the gate is bound.
    pub(crate) calls: Arc<GateCalls>,
    /// Users, once they are bound.
    pub(crate) users: Arc<KnownUsers>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
}

impl Ports {
    /// The ports over these parts.
    pub(crate) fn new(
        registry: &Arc<Registry>,
        hub: &Arc<Hub>,
        (bus, states): (&Arc<Bus>, &Arc<StateStore>),
        clock: &Arc<dyn Clock>,
        tasks: &Arc<dyn Tasks>,
    ) -> Self {
        Self {
            bus: bus.clone(),
            states: states.clone(),
            audience: Arc::new(Audience { registry: registry.clone(), hub: hub.clone() }),
            calls: Arc::default(),
            users: Arc::default(),
            clock: clock.clone(),
            tasks: tasks.clone(),
        }
    }
}

/// Makes all services.
///
/// # Errors
/// What is wrong with the configuration of one.
pub(crate) fn make(config: &Config, programs: &Arc<Programs>, ports: &Ports) -> Result<Services, StartError> {
    let Ports { bus, states, audience, calls, users, clock, tasks } = ports;
    let (bus, states, clock, tasks) = (|| bus.clone(), || states.clone(), || clock.clone(), || tasks.clone());
    let redaction = config.redaction()?;
    let all_roots = Roots::new(config.roots());
    let roots = || all_roots.clone();
    let projects = Projects::new(bus(), states(), roots());
    let git = GitPorts { bus: bus(), states: states(), roots: roots(), clock: clock(), tasks: tasks() };
    let repositories = Repositories::new(git, programs.clone(), config.git(redaction.clone()));
    let fs = FsPorts {
        bus: bus(),
        states: states(),
        roots: roots(),
        clock: clock(),
        tasks: tasks(),
        audience: audience.clone(),
    };
    let files = Files::new(fs, config.files(), Arc::new(Sight(repositories.clone())));
    let shell = ShellPorts {
        bus: bus(),
        states: states(),
        roots: roots(),
        audience: audience.clone(),
        clock: clock(),
        tasks: tasks(),
    };
    let shells = Shells::new(shell, programs.clone(), config.shells(redaction.clone()));
    let beside = Beside { shells: shells.clone(), repositories: repositories.clone() };
    let session = SessionPorts {
        bus: bus(),
        states: states(),
        roots: roots(),
        clock: clock(),
        tasks: tasks(),
        surroundings: Some(Arc::new(beside)),
        publishing: Some(users.clone()),
    };
    let sessions = Sessions::new(session, programs.clone(), config.sessions(redaction.clone())?)?;
    let workflow = RunPorts {
        bus: bus(),
        states: states(),
        roots: roots(),
        calls: calls.clone(),
        users: users.clone(),
        clock: clock(),
        tasks: tasks(),
    };
    let runs = Runs::new(workflow, programs.clone(), config.workflows(redaction));
    Ok(Services { projects, sessions, files, repositories, shells, runs })
}

/// What a former life of the server left open is ended, or goes on. Runs of workflows come last: they follow
/// their sessions. Each step is begun again where the disk was full.
///
/// # Errors
/// `unavailable` when the log does not work.
pub(crate) async fn recover(
    services: &Services,
    entrance: &Entrance<'_>,
    log: &Arc<SqliteLog>,
) -> Result<(), StartError> {
    let Services { projects, sessions, shells, repositories, runs, .. } = services;
    let log = Some(log);
    entrance.with_room(log, async || Ok(projects.recover().await?)).await?;
    entrance.with_room(log, async || Ok(sessions.recover().await?)).await?;
    entrance.with_room(log, async || Ok(shells.recover().await?)).await?;
    entrance.with_room(log, async || Ok(repositories.recover().await?)).await?;
    entrance.with_room(log, async || Ok(runs.recover().await?)).await
}

/// What ends everything that runs, a part for each service, which resolves when nothing of it is left. All at once:
/// steps that follow a session hear of its end. Terminals know why before their sessions close them.
pub(crate) fn stop(services: &Services) -> Vec<Part<'_>> {
    let Services { sessions, shells, repositories, files, runs, .. } = services;
    vec![
        ("workflows", Box::pin(runs.stop())),
        ("terminals", Box::pin(shells.stop())),
        ("sessions", Box::pin(sessions.stop())),
        ("git operations", Box::pin(repositories.stop())),
        ("watches of files", Box::pin(files.stop())),
    ]
}
