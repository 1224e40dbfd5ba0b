//! Going on with what a former life of the server left open.
//!
//! Guarantees: after [`Runs::recover`] every open run is under way again; whatever a definition does to its reader -
//! a newer one may refuse what an older one took - only its own run ends by it, and says why; no run is ended because
//! something cannot be read at this moment.
//! It is not the decision what a run does then: that is the scheduler's.

use std::{path::PathBuf, sync::Arc};

use tidings_core::{
    Code, Result, fault,
    projection::{ListStates, Reducer},
};

use super::{
    definition::{Definition, read_again},
    plan::Plan,
    registry::Whose,
    run::Run,
    runs::{Runs, all},
    state::{RunReducer, RunState},
    telling::DOMAIN,
};
use crate::blocking::blocking;

/// How many states are looked through at once when the server starts.
const RECOVER_PAGE: usize = 200;

impl Runs {
    /// Goes on with every run that a former life left open. To be called before the first start, after the
    /// sessions of that life were ended.
    ///
    /// # Errors
    /// `unavailable` when the log does not work.
    pub async fn recover(self: &Arc<Self>) -> Result<()> {
        let mut below = None;
        loop {
            let query = ListStates { project: None, below, open: true, limit: RECOVER_PAGE };
            let views = self.ports.states.list(DOMAIN, query).await?;
            let Some(last) = views.last() else { return Ok(()) };
            below = Some(last.id.clone());
            let states = views.iter().filter_map(|view| view.state::<RunState>());
            for state in states.filter(|&state| RunReducer::is_open(state)) {
                // Where it failed before, it is begun again: what goes on already goes on.
                if state.run_id.as_ref().is_some_and(|id| self.registry.mouth(id).is_none()) {
                    self.take_up(state.clone()).await?;
                }
            }
        }
    }

    /// Goes on with a run.
    async fn take_up(self: &Arc<Self>, state: RunState) -> Result<()> {
        let (Some(id), Some(project_id)) = (state.run_id.clone(), state.project_id.clone()) else { return Ok(()) };
        let whose = Whose { user: state.started_by.clone(), project_id: project_id.clone() };
        let mut principal = match &state.started_by {
            Some(user) => known(self.ports.users.principal(user).await)?,
            None => None,
        };
        if let Some(principal) = &mut principal {
            principal.issued_at = state.started_at;
        }
        let root = folder(self.root(&project_id).await)?;
        let seat = self.registry.enter(id, whose, true)?;
        let (runs, most) = (self.clone(), self.config.limits.concurrency);
        let going = async move {
            // Here and off the tasks that deliver: whatever a definition does to its reader, others are served.
            let state = Arc::new(state);
            let planned = again(state.clone(), most).await;
            let state = Arc::unwrap_or_clone(state);
            let found = planned.and_then(|plan| root.map(|root| (plan, root)));
            let (plan, root, broken) = match found {
                Ok((plan, root)) => (plan, root, None),
                Err(broken) => (Plan::new(Definition::default(), 1), PathBuf::new(), Some(broken)),
            };
            let mut run = Run { runs, seat, plan, state, untold: Vec::new(), root, principal, computing: false };
            let Some((code, why)) = broken else { return run.go().await };
            if let Err(error) = run.break_off(code, &why).await {
                tracing::error!(%error, "the end of a run could not be told; the next start tells it");
            }
        };
        self.ports.tasks.spawn("workflow.run", Box::pin(going));
        Ok(())
    }
}

/// The plan of a run that was let in once, also where less is allowed by now; or why the run ends.
async fn again(state: Arc<RunState>, concurrency: usize) -> Result<Plan, (&'static str, String)> {
    let reading = move || {
        fault::here("workflow.plan");
        let definition = read_again(&state.definition);
        let plan = Plan::new(definition.map_err(|flaws| all(&flaws))?, concurrency);
        if plan.fits(&state) { Ok(plan) } else { Err("it makes other steps than those that were told".to_owned()) }
    };
    let read = blocking(reading).await.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(|why| {
        ("definition_invalid", format!("this version of the server does not take the definition: {why}"))
    })
}

/// What is there, or that it is not; an error only where that cannot be told now. A run is not ended for that.
fn known<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.retryable() => Err(error),
        Err(_) => Ok(None),
    }
}

/// The directory of a project, or why a run in it ends; an error only where that cannot be told now.
fn folder(found: Result<PathBuf>) -> Result<Result<PathBuf, (&'static str, String)>> {
    match found {
        Ok(folder) => Ok(Ok(folder)),
        Err(error) => match error.code() {
            Code::NotFound => Ok(Err(("project_removed", "the project is not there any more".to_owned()))),
            Code::Conflict => Ok(Err(("root_refused", error.message().to_owned()))),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Error;

    use super::*;
    use crate::workflow::state::StepState;

    #[tokio::test]
    async fn a_definition_that_is_not_taken_any_more_ends_its_run_and_says_why() {
        let state = |definition: &str| {
            let mut state = RunState::default();
            definition.clone_into(&mut state.definition);
            state.steps = vec![StepState { step_id: "a".to_owned(), ..StepState::default() }];
            Arc::new(state)
        };
        assert!(again(state("steps: {a: {command: [make]}}"), 1).await.is_ok());
        for (definition, why) in [
            ("steps: {a: {comand: [make]}}", "'comand' is not a key"),
            ("steps: {b: {command: [make]}}", "other steps"),
            ("&a [*a]", "line 1"),
            ("", "line 1"),
        ] {
            let (code, told) = again(state(definition), 1).await.expect_err(definition);
            assert!(code == "definition_invalid" && told.contains(why), "{definition}: {told}");
        }
    }

    #[test]
    fn a_run_ends_only_where_its_project_is_gone_or_is_where_none_may_be() {
        assert_eq!(folder(Ok("/a".into())), Ok(Ok("/a".into())));
        let refused = folder(Err(Error::new(Code::Conflict, "lies in /etc"))).expect("an answer").expect_err("an end");
        assert_eq!(refused, ("root_refused", "lies in /etc".to_owned()));
        assert_eq!(folder(Err(Error::not_found())).expect("an answer").expect_err("an end").0, "project_removed");
        for unknown in [Error::unavailable("the disk is full"), Error::internal()] {
            let code = unknown.code();
            assert_eq!(folder(Err(unknown)).expect_err("is none").code(), code);
        }
    }

    #[test]
    fn what_cannot_be_told_now_is_not_taken_for_what_is_not_there() {
        assert_eq!(known(Ok(1)).expect("is there"), Some(1));
        for gone in [Error::not_found(), Error::forbidden()] {
            assert_eq!(known::<u8>(Err(gone)).expect("is an answer"), None);
        }
        for unknown in [Error::unavailable("the disk is full"), Error::overloaded("many wait")] {
            let code = unknown.code();
            assert_eq!(known::<u8>(Err(unknown)).expect_err("is none").code(), code);
        }
    }
}
