//! How a session ended, and the event that tells it.
//!
//! Guarantees: what the server was asked to do to a program comes before how the program took it.
//! It is not the decision to end it: that is the course of a session.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use tidings_core::{Event, Timestamp, UserId};

use super::{
    agent::Verdict,
    contract::{CANCELLED, COMPLETED, Cancelled, Completed, ERROR, Failed, SessionId, Status},
    plan::Plan,
    registry::Reason,
    state::server_stopped,
    surroundings::Ended,
};

pub(super) const TIMEOUT: &str = "the program ran longer than a session may";
const OUTPUT_LOST: &str = "the log took the output no more";

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Completed(Option<i32>),
    Cancelled(UserId),
    ServerStopped,
    Failed { code: &'static str, message: String, exit_code: Option<i32>, signal: Option<i32> },
}

impl End {
    pub(super) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::Failed { code, message: message.into(), exit_code: None, signal: None }
    }

    /// The end of a session that was told to end before its program started.
    pub(super) fn before_it_began(reason: Reason) -> Self {
        match reason {
            Reason::Cancelled(user) => Self::Cancelled(user),
            _ => Self::ServerStopped,
        }
    }

    /// The end of a program that ended so, told to for this reason; of an agent, what its turns came to.
    pub(super) fn of(status: ExitStatus, reason: Option<Reason>, verdict: Option<&Verdict>) -> Self {
        let failed = |code, message: &str| Self::Failed {
            code,
            message: message.to_owned(),
            exit_code: status.code(),
            signal: status.signal(),
        };
        match reason {
            Some(Reason::Cancelled(user)) => Self::Cancelled(user),
            Some(Reason::ServerStopped) => Self::ServerStopped,
            Some(Reason::Timeout) => failed("timeout", TIMEOUT),
            Some(Reason::OutputLimit) => failed("output_limit", "the program printed more than a session may"),
            Some(Reason::OutputLost) => failed("output_lost", OUTPUT_LOST),
            Some(Reason::Silent) => failed("silent", "the agent worked and told nothing for longer than it may"),
            Some(Reason::InputStuck) => failed("input_stuck", "the agent does not read what it is told"),
            Some(Reason::Lingering) => match verdict.and_then(Verdict::failure) {
                Some((code, message)) => failed(code, &message),
                None => Self::Completed(None),
            },
            None if status.signal().is_some() => {
                failed("killed", "a signal that the server did not send ended the program")
            }
            None => match verdict.and_then(Verdict::failure) {
                Some((code, message)) => failed(code, &message),
                None => Self::Completed(status.code()),
            },
        }
    }

    /// The end of a session whose terminal ended so, told to for this reason.
    pub(super) fn of_terminal(ended: Ended, reason: Option<Reason>) -> Self {
        match (ended, reason) {
            (_, Some(Reason::Cancelled(user))) | (Ended::Closed(user), None) => Self::Cancelled(user),
            (Ended::ServerStopped, _) | (_, Some(Reason::ServerStopped)) => Self::ServerStopped,
            (Ended::Exited(status), reason) => Self::of(status, reason, None),
            (_, Some(Reason::Timeout)) => Self::failed("timeout", TIMEOUT),
            (_, Some(Reason::OutputLost)) => Self::failed("output_lost", OUTPUT_LOST),
            (Ended::Failed(code, message), _) => Self::failed(code, message),
            (Ended::Closed(_) | Ended::Never, _) => Self::failed("killed", "the terminal was closed"),
        }
    }

    pub(super) fn event(self, session_id: SessionId, plan: &Plan, now: Timestamp) -> Event {
        let board = |status| Some(plan.board(status, now));
        match self {
            Self::Completed(exit_code) => {
                Event::new(COMPLETED, Completed { session_id, exit_code, board: board(Status::Completed) })
            }
            Self::Cancelled(user) => {
                Event::new(CANCELLED, Cancelled { session_id, board: board(Status::Cancelled) }).by(Some(user))
            }
            Self::ServerStopped => Event::new(ERROR, server_stopped(session_id, board(Status::Error))),
            Self::Failed { code, message, exit_code, signal } => {
                let code = code.to_owned();
                let board = board(Status::Error);
                Event::new(ERROR, Failed { session_id, code, message, exit_code, signal, board })
            }
        }
    }
}
