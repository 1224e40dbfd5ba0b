//! The domain `workflow`: graphs of steps, live.
//!
//! Guarantees: owns the namespace `workflow`; an event goes into the channel of the run that its data
//! names. Summaries for a project's board and requests for a person's attention are made of the service's
//! own events only.
//! It is not where runs run: that is `tidings_services::workflow`.

use std::sync::Arc;

use serde::Deserialize;
use tidings_core::{
    Action, Channel, Error, Event, Result, UserId,
    command::{Caller, Command, Json, Method, Need, answer_with},
    contract::EventRow,
    handler::{Handler, Hosted, Retention, Route},
    projection::{Fold, Projection},
};
use tidings_services::{
    project::{
        ProjectId,
        contract::{WORKFLOW_RUN_SUMMARY, WORKFLOW_SUMMARIES},
    },
    user::contract::{ATTENTION_REQUESTED, ATTENTION_RESOLVED, AttentionKind},
    workflow::{
        Page, RunId, RunReducer, Runs, Wanting,
        answer::{Begun, ListedRun, ListedRuns, OfRun},
        contract::{
            Board, CANCELLED, COMPLETED, EVENTS, FAILED, RunCancelled, RunCompleted, RunFailed, RunStarted, RunUpdated,
            STARTED, STEP_CANCELLED, STEP_COMPLETED, STEP_FAILED, STEP_OUTPUT, STEP_PROGRESS, STEP_SESSION,
            STEP_SKIPPED, STEP_STARTED, STEP_WAITING, StepCancelled, StepCompleted, StepFailed, StepOutput,
            StepProgress, StepSession, StepSkipped, StepStarted, StepWaiting, UPDATED,
        },
        input::{Approve, ListRuns, OneRun, ReadStepOutput, Rerun, StartRun, ValidateWorkflow},
    },
};

use crate::{project, user};

const NAMESPACE: &str = "workflow";
const RUN: &str = "run";

/// The channel of a run.
#[must_use]
pub fn channel(id: &RunId) -> Channel {
    Channel::of(NAMESPACE, &format_args!("{RUN}:{id}"))
}

/// The handler of workflows.
#[derive(Debug)]
pub struct WorkflowHandler {
    runs: Arc<Runs>,
}

impl WorkflowHandler {
    /// A handler over the service.
    #[must_use]
    pub fn new(runs: Arc<Runs>) -> Self {
        Self { runs }
    }
}

impl Handler for WorkflowHandler {
    fn domain(&self) -> &'static str {
        "workflow"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[NAMESPACE]
    }

    fn channels(&self) -> Vec<String> {
        vec!["workflow:run:{runId}".to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        [EVENTS, WORKFLOW_SUMMARIES].concat()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        route(event)
    }

    /// Of a run that this server runs, producers say nothing: its steps, its answers and its ends decide what runs next.
    fn hosted(&self, _event: &Event, home: &Channel) -> Hosted {
        run_of(home).map_or(Hosted::No, |id| Hosted::Ask(Box::pin(self.runs.clone().hosts(id))))
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: RunId| channel(&id))
    }

    fn commands(&self) -> Vec<Command> {
        let mut rows = acting(&self.runs);
        rows.extend(reading(&self.runs));
        rows
    }

    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<RunReducer>::projection())
    }

    fn retention(&self) -> Retention {
        Retention { messages: 0, bytes: 200_000_000, age_ms: 30 * 24 * 3_600_000 }
    }
}

fn route(event: &Event) -> Result<Route> {
    match event.event_type.as_str() {
        STARTED => {
            let data = event.payload.typed::<RunStarted>()?;
            let project = Some(data.project_id.as_str().into());
            let route = home(event, &data.run_id)?.opening(event.by.clone(), project);
            Ok(with_summary(route, data.board.as_ref()))
        }
        UPDATED => {
            let data = event.payload.typed::<RunUpdated>()?;
            home(event, &data.run_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        COMPLETED => {
            let data = event.payload.typed::<RunCompleted>()?;
            home(event, &data.run_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        FAILED => {
            let data = event.payload.typed::<RunFailed>()?;
            home(event, &data.run_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        CANCELLED => {
            let data = event.payload.typed::<RunCancelled>()?;
            home(event, &data.run_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        _ => step_route(event),
    }
}

fn step_route(event: &Event) -> Result<Route> {
    match event.event_type.as_str() {
        STEP_STARTED => home(event, &event.payload.typed::<StepStarted>()?.run_id),
        STEP_SESSION => home(event, &event.payload.typed::<StepSession>()?.run_id),
        STEP_OUTPUT => home(event, &event.payload.typed::<StepOutput>()?.run_id),
        STEP_PROGRESS => home(event, &event.payload.typed::<StepProgress>()?.run_id),
        STEP_SKIPPED => home(event, &event.payload.typed::<StepSkipped>()?.run_id),
        STEP_WAITING => {
            let data = event.payload.typed::<StepWaiting>()?;
            let route = home(event, &data.run_id)?;
            Ok(with_attention(route, ATTENTION_REQUESTED, data.attention.as_ref(), &data.step_id))
        }
        STEP_COMPLETED => {
            let data = event.payload.typed::<StepCompleted>()?;
            let route = home(event, &data.run_id)?;
            Ok(with_attention(route, ATTENTION_RESOLVED, data.attention.as_ref(), &data.step_id))
        }
        STEP_FAILED => {
            let data = event.payload.typed::<StepFailed>()?;
            let route = home(event, &data.run_id)?;
            Ok(with_attention(route, ATTENTION_RESOLVED, data.attention.as_ref(), &data.step_id))
        }
        STEP_CANCELLED => {
            let data = event.payload.typed::<StepCancelled>()?;
            let route = home(event, &data.run_id)?;
            Ok(with_attention(route, ATTENTION_RESOLVED, data.attention.as_ref(), &data.step_id))
        }
        _ => other(event),
    }
}

/// To the channel of a run, which the event's own must agree with.
fn home(event: &Event, id: &RunId) -> Result<Route> {
    Route::named_by("data.runId", event, channel(id))
}

/// By the run in the data, else, of a type that only its producer knows, by the channel.
fn other(event: &Event) -> Result<Route> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Carried {
        run_id: Option<RunId>,
    }
    let is_object = event.payload.json().starts_with('{');
    let carried = if is_object { event.payload.typed::<Carried>()?.run_id.clone() } else { None };
    match (carried, &event.channel) {
        (Some(id), _) => home(event, &id),
        (None, Some(named)) if run_of(named).is_some() => Ok(Route::to(named.clone())),
        (None, Some(_)) => Err(Error::invalid_field("channel", "is workflow:run:{runId}")),
        (None, None) => Err(Error::invalid_field("data.runId", "names the run")),
    }
}

/// The run that a channel is of, if it is a whole `workflow:run:{runId}`.
fn run_of(named: &Channel) -> Option<RunId> {
    let run = named.as_str().strip_prefix(NAMESPACE)?.strip_prefix(':')?;
    run.strip_prefix(RUN)?.strip_prefix(':')?.parse().ok()
}

/// With a summary for the project's board, where the service gave something to show.
fn with_summary(route: Route, board: Option<&Board>) -> Route {
    project::with_summary(route, WORKFLOW_RUN_SUMMARY, board)
}

/// With a word to the person whose answer a step waits for, or no longer does. Only the service names one.
fn with_attention(route: Route, event_type: &'static str, whose: Option<&UserId>, id: &str) -> Route {
    user::with_attention(route, event_type, whose, (AttentionKind::Approval, id))
}

/// Who wants a run in a project, and whether they may run commands there.
fn wanting(caller: Caller, project_id: &ProjectId) -> Wanting {
    let may_execute = allowed(&caller, Action::Execute, project_id);
    Wanting { principal: caller.principal, may_execute }
}

fn allowed(caller: &Caller, action: Action, project_id: &ProjectId) -> bool {
    let project = project::channel(project_id);
    caller.visibility.allows(&caller.principal, action, &project, None, Some(project_id.as_str()))
}

/// The rows that change something.
fn acting(runs: &Arc<Runs>) -> Vec<Command> {
    let (start, cancel, rerun, approve) = (runs.clone(), runs.clone(), runs.clone(), runs.clone());
    vec![
        Command::new(
            "workflow.run.start",
            (Method::Post, "/api/workflows/runs"),
            "Starts a run of a workflow in a project. One with commands needs the right to execute, too.",
            |input: &StartRun| Need::On(Action::Command, project::channel(&input.project_id)),
            move |caller: Caller, input: StartRun| {
                let who = wanting(caller, &input.project_id);
                answer_with(start.clone().start(who, input), begun)
            },
        )
        .with_status(201),
        Command::new(
            "workflow.run.cancel",
            (Method::Post, "/api/workflows/runs/{runId}/cancel"),
            "Ends the steps of a run: TERM, and after a grace KILL. The run ends once they are gone.",
            |input: &OneRun| Need::On(Action::Command, channel(&input.run_id)),
            move |caller: Caller, input: OneRun| {
                let id = input.run_id;
                answer_with(cancel.clone().cancel(caller.principal.user, id.clone()), named(id))
            },
        )
        .with_status(202),
        Command::new(
            "workflow.run.rerun",
            (Method::Post, "/api/workflows/runs/{runId}/rerun"),
            "Starts a run that repeats an ended one: whole, or from a step, with what else completed kept.",
            |input: &Rerun| Need::On(Action::Command, channel(&input.run_id)),
            move |caller: Caller, input: Rerun| {
                let judge = move |project_id: &ProjectId| {
                    let may = allowed(&caller, Action::Command, project_id);
                    if may { Ok(wanting(caller, project_id)) } else { Err(Error::forbidden()) }
                };
                let again = rerun.clone().rerun(judge, input);
                answer_with(again, begun)
            },
        )
        .with_status(201),
        Command::new(
            "workflow.run.approve",
            (Method::Post, "/api/workflows/runs/{runId}/steps/{stepId}/approve"),
            "Answers a step that waits for a person. The first answer counts.",
            |input: &Approve| Need::On(Action::Command, channel(&input.run_id)),
            move |caller: Caller, input: Approve| {
                let id = input.run_id.clone();
                answer_with(approve.clone().approve(caller.principal.user, input), named(id))
            },
        ),
    ]
}

fn begun(id: RunId) -> Json<Begun> {
    Json(Begun { id: id.clone(), channel: channel(&id), run_id: id })
}

/// The answer that names the run only.
fn named(run_id: RunId) -> impl FnOnce(()) -> Json<OfRun> {
    move |()| Json(OfRun { run_id })
}

/// The rows that read.
fn reading(runs: &Arc<Runs>) -> Vec<Command> {
    let (validate, list, get, output) = (runs.clone(), runs.clone(), runs.clone(), runs.clone());
    vec![
        Command::new(
            "workflow.validate",
            (Method::Post, "/api/workflows/validate"),
            "Says what is wrong with a definition, with the lines, or what a run of it would be. Nothing runs.",
            |input: &ValidateWorkflow| Need::On(Action::Command, project::channel(&input.project_id)),
            move |_: Caller, input: ValidateWorkflow| answer_with(validate.clone().validate(input), Json),
        )
        .that_reads(),
        Command::new(
            "workflow.run.list",
            (Method::Get, "/api/workflows/runs"),
            "Lists the runs that the caller may see, newest first.",
            |_: &ListRuns| Need::Login,
            move |caller: Caller, input: ListRuns| {
                let visible = move |id: &RunId, owner: Option<&UserId>, project: Option<&str>| {
                    caller.visibility.allows(&caller.principal, Action::Subscribe, &channel(id), owner, project)
                };
                answer_with(list.clone().list(input, visible), listed)
            },
        ),
        Command::new(
            "workflow.run.get",
            (Method::Get, "/api/workflows/runs/{runId}"),
            "The state of a run, as its channel's snapshot has it.",
            |input: &OneRun| Need::On(Action::Subscribe, channel(&input.run_id)),
            move |_: Caller, input: OneRun| get.clone().get(input.run_id),
        ),
        Command::new(
            "workflow.run.output",
            (Method::Get, "/api/workflows/runs/{runId}/steps/{stepId}/output"),
            "What an attempt of a step printed, as plain text: the newest 8 MiB that are kept.",
            |input: &ReadStepOutput| Need::On(Action::Subscribe, channel(&input.run_id)),
            move |_: Caller, input: ReadStepOutput| output.clone().output(input),
        ),
    ]
}

fn listed(page: Page) -> Json<ListedRuns> {
    let runs = page.items.into_iter().map(|brief| ListedRun { channel: channel(&brief.id), brief });
    Json(ListedRuns { runs: runs.collect(), cursor: page.cursor })
}

#[cfg(test)]
#[path = "cases/workflow.rs"]
mod tests;
