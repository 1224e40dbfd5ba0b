//! The domain `git`: what a project's repository is like, and what is done with it.
//!
//! Guarantees: owns no namespace: all of it goes into the channel of its project.
//! It is not where git runs: that is `tidings_services::git`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tidings_core::{
    Action, Channel, Event, Result,
    command::{Caller, Command, Json, Method, Need, answer_with},
    contract::EventRow,
    handler::{Handler, Hosted, Retention, Route},
};
use tidings_services::{
    git::{
        Repositories,
        contract::{
            EVENTS, HEAD_CHANGED, OperationNamed, OperationQueued, OperationStarted, QUEUED, STARTED, STATUS_CHANGED,
        },
        input::{
            Asked, Cancel, Checkout, CloneFrom, Commit, Diff, Fetch, Log, Merge, OneProject, Paths, Pull, Push, Rebase,
            Show, Stash, WorktreeAdd, WorktreeRemove,
        },
        job::Job,
    },
    project::ProjectId,
};
use validator::Validate;

use crate::{Made, project};

/// The handler of git.
#[derive(Debug)]
pub struct GitHandler {
    repositories: Arc<Repositories>,
}

impl GitHandler {
    /// A handler over the service.
    #[must_use]
    pub fn new(repositories: Arc<Repositories>) -> Self {
        Self { repositories }
    }
}

impl Handler for GitHandler {
    fn domain(&self) -> &'static str {
        "git"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[]
    }

    fn events(&self) -> Vec<EventRow> {
        EVENTS.to_vec()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        project::named_in_data(event)
    }

    fn admit(&self, event: &Event) -> Result<()> {
        let hosted = match event.event_type.as_str() {
            STARTED => event.payload.typed::<OperationStarted>()?.hosted,
            QUEUED => event.payload.typed::<OperationQueued>()?.hosted,
            _ => false,
        };
        if hosted { Err(project::only_the_server_hosts()) } else { Ok(()) }
    }

    /// Of an operation that this server runs, producers say nothing. Of the repository they may say what they saw.
    fn hosted(&self, event: &Event, home: &Channel) -> Hosted {
        if matches!(event.event_type.as_str(), STATUS_CHANGED | HEAD_CHANGED) {
            return Hosted::No;
        }
        match (project::named(home), event.payload.typed::<OperationNamed>()) {
            (Some(project), Ok(named)) => {
                Hosted::Ask(Box::pin(self.repositories.clone().hosts(project, named.operation_id.clone())))
            }
            // What names no operation is of none.
            _ => Hosted::No,
        }
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: ProjectId| project::channel(&id))
    }

    fn commands(&self) -> Vec<Command> {
        let mut rows = reading(&self.repositories);
        rows.extend(changing(&self.repositories));
        rows.extend(joining(&self.repositories));
        rows
    }

    fn retention(&self) -> Retention {
        // It owns no channel: what is kept is for the project's handler to say.
        Retention { messages: 0, bytes: 0, age_ms: 0 }
    }
}

/// What a command needs: to read the project, or to command it.
fn on(action: Action, project_id: &ProjectId) -> Need {
    Need::On(action, project::channel(project_id))
}

/// The rows that read.
fn reading(repositories: &Arc<Repositories>) -> Vec<Command> {
    let of = || repositories.clone();
    let (status, diff, log, show, branches, worktrees) = (of(), of(), of(), of(), of(), of());
    let rows = vec![
        Command::new(
            "git.status",
            (Method::Post, "/api/projects/{projectId}/git/status"),
            "How the repository is, and what is changed in it.",
            |input: &OneProject| on(Action::Subscribe, &input.project_id),
            move |caller, input| status.clone().status(caller.principal.user, input),
        ),
        Command::new(
            "git.diff",
            (Method::Post, "/api/projects/{projectId}/git/diff"),
            "What differs, as numbers and as a patch.",
            |input: &Diff| on(Action::Subscribe, &input.project_id),
            move |caller, input| diff.clone().diff(caller.principal.user, input),
        ),
        Command::new(
            "git.log",
            (Method::Post, "/api/projects/{projectId}/git/log"),
            "Commits, newest first.",
            |input: &Log| on(Action::Subscribe, &input.project_id),
            move |caller, input| log.clone().log(caller.principal.user, input),
        ),
        Command::new(
            "git.show",
            (Method::Post, "/api/projects/{projectId}/git/show"),
            "A commit, and what it changed.",
            |input: &Show| on(Action::Subscribe, &input.project_id),
            move |caller, input| show.clone().show(caller.principal.user, input),
        ),
        Command::new(
            "git.branches",
            (Method::Post, "/api/projects/{projectId}/git/branches"),
            "Branches, local and remote.",
            |input: &OneProject| on(Action::Subscribe, &input.project_id),
            move |caller, input| branches.clone().branches(caller.principal.user, input),
        ),
        Command::new(
            "git.worktrees",
            (Method::Post, "/api/projects/{projectId}/git/worktrees"),
            "The working trees of the repository.",
            |input: &OneProject| on(Action::Subscribe, &input.project_id),
            move |caller, input| worktrees.clone().worktrees(caller.principal.user, input),
        ),
    ];
    rows.into_iter().map(Command::that_reads).collect()
}

/// A row that begins an operation, and the input's way to what is done.
fn operation<I>(
    repositories: &Arc<Repositories>,
    (name, path): (&'static str, &'static str),
    doc: &'static str,
    job: fn(I) -> Result<Job>,
) -> Command
where
    I: Asked + DeserializeOwned + Validate + JsonSchema + Send + Sync + 'static,
{
    let repositories = repositories.clone();
    Command::new(
        name,
        (Method::Post, path),
        doc,
        |input: &I| on(Action::Command, input.project_id()),
        move |caller: Caller, input: I| {
            let (channel, wait) = (project::channel(input.project_id()), input.wait());
            answer_with(repositories.clone().begin(caller.principal.user, job(input), wait), |Json(begun)| {
                Made::answer(begun.operation_id.clone(), channel, begun)
            })
        },
    )
    .with_status(202)
    .that_waits()
}

/// The rows that change what is here.
fn changing(all: &Arc<Repositories>) -> Vec<Command> {
    vec![
        operation::<Paths>(all, ("git.add", "/api/projects/{projectId}/git/add"), "Stages paths.", |input| {
            Ok(Job::add(input))
        }),
        operation::<Paths>(
            all,
            ("git.unstage", "/api/projects/{projectId}/git/unstage"),
            "Takes paths out of what is staged.",
            |input| Ok(Job::unstage(input)),
        ),
        operation::<Commit>(
            all,
            ("git.commit", "/api/projects/{projectId}/git/commit"),
            "Commits what is staged.",
            |input| Ok(input.into()),
        ),
        operation::<Checkout>(
            all,
            ("git.checkout", "/api/projects/{projectId}/git/checkout"),
            "Checks a branch out, or makes one.",
            |input| Ok(input.into()),
        ),
        operation::<Stash>(
            all,
            ("git.stash", "/api/projects/{projectId}/git/stash"),
            "Puts changes aside, or brings them back.",
            |input| Ok(input.into()),
        ),
        operation::<WorktreeAdd>(
            all,
            ("git.worktree_add", "/api/projects/{projectId}/git/worktree_add"),
            "Makes a further working tree, in .worktrees.",
            |input| Ok(input.into()),
        ),
        operation::<WorktreeRemove>(
            all,
            ("git.worktree_remove", "/api/projects/{projectId}/git/worktree_remove"),
            "Removes a working tree.",
            |input| Ok(input.into()),
        ),
    ]
}

/// The rows that bring lines together, the one that ends an operation, and the one that takes locks away.
fn joining(all: &Arc<Repositories>) -> Vec<Command> {
    let (cancel, unlock) = (all.clone(), all.clone());
    vec![
        operation::<CloneFrom>(
            all,
            ("git.clone", "/api/projects/{projectId}/git/clone"),
            "Fills the empty directory of a project from a remote.",
            |input| Ok(input.into()),
        ),
        operation::<Fetch>(
            all,
            ("git.fetch", "/api/projects/{projectId}/git/fetch"),
            "Brings a remote's commits.",
            |input| Ok(input.into()),
        ),
        operation::<Pull>(
            all,
            ("git.pull", "/api/projects/{projectId}/git/pull"),
            "Fetches, and brings the branch up to date.",
            Job::pull,
        ),
        operation::<Push>(
            all,
            ("git.push", "/api/projects/{projectId}/git/push"),
            "Gives a remote the commits of a branch.",
            |input| Ok(input.into()),
        ),
        operation::<Merge>(
            all,
            ("git.merge", "/api/projects/{projectId}/git/merge"),
            "Merges, or goes on with a merge, or takes it back.",
            Job::merge,
        ),
        operation::<Rebase>(
            all,
            ("git.rebase", "/api/projects/{projectId}/git/rebase"),
            "Rebases, or goes on with a rebase, or takes it back.",
            Job::rebase,
        ),
        Command::new(
            "git.cancel",
            (Method::Post, "/api/projects/{projectId}/git/cancel"),
            "Ends an operation that runs, or takes one away that waits.",
            |input: &Cancel| on(Action::Command, &input.project_id),
            move |caller: Caller, input| cancel.clone().cancel(caller.principal.user, input),
        )
        .with_status(202),
        Command::new(
            "git.unlock",
            (Method::Post, "/api/projects/{projectId}/git/unlock"),
            "Takes lock files away that nobody holds any more.",
            |input: &OneProject| on(Action::Command, &input.project_id),
            move |caller: Caller, input| unlock.clone().unlock(caller.principal.user, input),
        ),
    ]
}

#[cfg(test)]
#[path = "cases/git.rs"]
mod tests;
