//! The rights of a run's user when a step starts.
//!
//! Guarantees: what was taken from the user since the run began - it was disabled, deleted, revoked or given other
//! roles - is gone for every step that starts afterwards; nobody gets more than the run began with.
//! It is not the judgement of a session's start: that is the gate's, with the principal that is answered here.

use tidings_core::{Action, Error, Principal};

use super::{super::telling::Outcome, Attempt};

impl Attempt {
    /// The user of the run as it is now.
    ///
    /// # Errors
    /// The end of the attempt: `forbidden` for a user that is not there any more or may not log in, `unavailable`.
    pub(super) async fn as_of_now(&self, began_as: &Principal) -> Result<Principal, Outcome> {
        let users = &self.runs.ports.users;
        if users.stands(began_as) {
            return Ok(began_as.clone());
        }
        let now = users.principal(&began_as.user).await.map_err(|error| refused(&error))?;
        // Its token may have had less than the user has.
        let roles = now.roles.into_iter().filter(|role| began_as.roles.contains(role)).collect();
        Ok(Principal::new(now.user, roles, Vec::new()))
    }

    /// Whether the user of the run may still run commands in its project. Whoever could at the start and from whom
    /// nothing was taken since, may.
    ///
    /// # Errors
    /// As [`Attempt::as_of_now`], and `forbidden` without the right to execute.
    pub(super) async fn may_execute(&self) -> Result<(), Outcome> {
        let users = &self.runs.ports.users;
        let Some(asked) = self.asked.as_ref().filter(|asked| !users.stands(asked)) else { return Ok(()) };
        let now = self.as_of_now(asked).await?;
        match users.may(&now, Action::Execute, &self.project_id).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Outcome::failed("forbidden", "the user of this run may not execute any more")),
            Err(error) => Err(refused(&error)),
        }
    }
}

fn refused(error: &Error) -> Outcome {
    if error.retryable() {
        return Outcome::failed(
            error.code().as_str(),
            format!("the user of this run cannot be read: {}", error.message()),
        );
    }
    Outcome::failed("forbidden", "the user of this run is not there any more, or may not log in")
}
