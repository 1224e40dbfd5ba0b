//! An attempt of a step: what it does, from its start to what came of it.
//!
//! Guarantees: an attempt ends whatever happens, a panic included, and says how; when it has ended, its
//! processes are gone and its session has ended. It is made with the rights that its run's user has at its start.
//! It is not the telling of its start and its end, nor the decision to try again: those are the run's.

mod command;
mod report;
mod rights;
mod session;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidings_core::{Principal, panics};
use tokio::sync::watch;

use super::{
    contract::RunId,
    plan::Prepared,
    runs::Runs,
    telling::{Done, Outcome},
};
use crate::project::ProjectId;

/// The course of a run, as its attempts hear of it. It goes one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    /// It goes on.
    Running,
    /// Somebody cancelled it.
    Cancelling,
    /// The server stops.
    Stopping,
}

/// Why an attempt is ended before it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Cancelled,
    ServerStopped,
    Timeout,
    OutputLimit,
}

impl Reason {
    fn outcome(self) -> Outcome {
        match self {
            Self::Cancelled => Outcome::Cancelled,
            Self::ServerStopped => Outcome::server_stopped(),
            Self::Timeout => Outcome::failed("timeout", "the step took longer than it may"),
            Self::OutputLimit => Outcome::failed("output_limit", "the program printed more than a step may"),
        }
    }
}

/// What an attempt is of.
pub(super) struct Attempt {
    pub(super) runs: Arc<Runs>,
    pub(super) run_id: RunId,
    pub(super) step_id: String,
    /// Its place among the steps of the run.
    pub(super) place: usize,
    pub(super) attempt: u32,
    pub(super) project_id: ProjectId,
    pub(super) root: PathBuf,
    /// How long it may take; none is without limit.
    pub(super) timeout: Option<Duration>,
    pub(super) course: watch::Receiver<Course>,
    /// In whose name it asks an agent.
    pub(super) principal: Option<Principal>,
    /// Who asked for the run; none of a run that nobody is known of.
    pub(super) asked: Option<Principal>,
}

impl Attempt {
    /// Makes the attempt.
    pub(super) async fn go(self, work: Prepared) -> Done {
        let going = async {
            match work {
                Prepared::Command { argv, env, stdin } => match self.may_execute().await {
                    Ok(()) => self.command(argv, env, stdin).await.into(),
                    Err(refused) => refused.into(),
                },
                Prepared::Session { agent, prompt } => self.session(agent, prompt).await,
                Prepared::Approval { .. } => Outcome::failed("internal", "an approval has no attempt").into(),
            }
        };
        panics::caught_in("workflow.step", going).await.unwrap_or_else(|error| {
            tracing::error!(run = %self.run_id, step = %self.step_id, %error, "a step's task panicked");
            Outcome::failed("internal", error.message()).into()
        })
    }

    /// Resolves when the attempt is to be ended: by its run, by the server, or by the time.
    async fn called_off(&self) -> Reason {
        let mut course = self.course.clone();
        let late = async {
            match self.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Whoever holds the course is gone only when the run's task is: as at a stop.
            turned = course.wait_for(|course| *course != Course::Running) => match turned.as_deref() {
                Ok(Course::Cancelling) => Reason::Cancelled,
                _ => Reason::ServerStopped,
            },
            () = late => Reason::Timeout,
        }
    }
}
