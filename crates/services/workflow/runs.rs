//! The service: starts runs, goes on with those of a former life, and lets people cancel and answer.
//!
//! Guarantees: nothing runs of a definition that is refused; whoever is answered that a run started finds
//! it in the log; after [`Runs::stop`] nothing of any run is.
//! It is not the judgement of who may: that is the gate's, which the rows ask. What a former life left open is `recover`'s.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use tidings_core::{
    Action, BoxFuture, Code, Error, Event, Principal, Result, UserId,
    bus::{EventBus, Listening},
    command::Calls,
    projection::States,
    runtime::{Clock, Tasks},
};
use tokio::sync::{Semaphore, oneshot};

use super::{
    answer::Validated,
    config::WorkflowConfig,
    contract::{Board, RunId, RunStarted, RunStatus, STARTED},
    definition::{Definition, FLAWS, Flaw, Work, read},
    file,
    input::{Approve, Posted, Rerun, StartRun, ValidateWorkflow},
    listening::Sessions,
    outputs,
    plan::Plan,
    registry::{Asked, Registry, Request, Whose},
    run::Run,
    state::{RunState, StepStatus},
    telling::DOMAIN,
};
use crate::{
    blocking::blocking,
    listing::OUTPUTS_AT_ONCE,
    programs::Programs,
    project::{ProjectId, Roots},
    telling::tell_by_id,
};

/// How often a start is tried before its caller is told that the log does not work.
const START_TRIES: u32 = 3;

/// Who a user is, for what a run does in its name when nobody is logged in.
pub trait Users: Send + Sync {
    /// The user as a principal.
    ///
    /// # Errors
    /// `not_found` for a user that is not there or may not log in; `unavailable`.
    fn principal(&self, user: &UserId) -> BoxFuture<'_, Result<Principal>>;

    /// Whether nothing was taken from somebody since the time that it was issued at: the user or its token was not
    /// revoked, disabled, deleted or given other roles.
    fn stands(&self, principal: &Principal) -> bool;

    /// Whether somebody may do this in a project.
    ///
    /// # Errors
    /// `unavailable`.
    fn may(&self, principal: &Principal, action: Action, project: &ProjectId) -> BoxFuture<'_, Result<bool>>;
}

/// What the service needs of the house.
#[derive(Clone)]
pub struct RunPorts {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where states are read back.
    pub states: Arc<dyn States>,
    /// Where projects may be.
    pub roots: Arc<Roots>,
    /// Where sessions are started and cancelled.
    pub calls: Arc<dyn Calls>,
    /// In whose name.
    pub users: Arc<dyn Users>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where runs and steps run.
    pub tasks: Arc<dyn Tasks>,
}

impl std::fmt::Debug for RunPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunPorts")
    }
}

/// The service of workflows.
pub struct Runs {
    pub(super) ports: RunPorts,
    pub(super) config: WorkflowConfig,
    pub(super) programs: Arc<Programs>,
    pub(super) registry: Arc<Registry>,
    /// For the steps of all runs.
    pub(super) room: Arc<Semaphore>,
    /// Those who have an output put together.
    pub(super) reading: Semaphore,
    pub(super) listening: Arc<Sessions>,
    _heard: Vec<Listening>,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runs")
    }
}

/// Who wants a run, and what they may.
#[derive(Debug, Clone)]
pub struct Wanting {
    /// Who.
    pub principal: Principal,
    /// Whether they may run free command lines in the project.
    pub may_execute: bool,
}

/// A run that is to start.
struct Wanted {
    plan: Plan,
    started: RunStarted,
}

impl Runs {
    /// The service. It listens to the bus from now on.
    #[must_use]
    pub fn new(ports: RunPorts, programs: Arc<Programs>, config: WorkflowConfig) -> Arc<Self> {
        let registry = Registry::new(config.limits);
        let room = match config.limits.total_steps {
            0 => Semaphore::MAX_PERMITS,
            most => most.min(Semaphore::MAX_PERMITS),
        };
        let listening = Arc::new(Sessions::default());
        let heard = listening.listen(&*ports.bus);
        let room = Arc::new(Semaphore::new(room));
        let reading = Semaphore::new(OUTPUTS_AT_ONCE);
        Arc::new(Self { ports, config, programs, registry, room, reading, listening, _heard: heard })
    }

    /// Ends every attempt of every run: TERM, after the grace KILL, and its end is told. The runs stay open
    /// for the next start. New ones are refused. Resolves when none is under way.
    pub async fn stop(&self) {
        self.registry.close();
        self.registry.emptied().await;
    }

    /// What is wrong with a definition, or the graph that it makes. Nothing runs.
    ///
    /// # Errors
    /// `invalid_data` for no or both of definition and file, `not_found` for a project that is not there,
    /// `unavailable`.
    pub async fn validate(self: Arc<Self>, input: ValidateWorkflow) -> Result<Validated> {
        let root = self.root(&input.project_id).await?;
        let text = self.text(root, input.definition, input.file).await?;
        Ok(Validated::of(self.read(text).await?.1))
    }

    /// Starts a run, for somebody who may. Resolves when the start is durable.
    ///
    /// # Errors
    /// `invalid_data` with the lines of a definition that is none, and for inputs that do not fit it;
    /// `not_found` for a project or file that is not there, `forbidden` for commands without the right to
    /// execute, `overloaded` at a limit, `draining`, `unavailable`.
    pub async fn start(self: Arc<Self>, who: Wanting, request: StartRun) -> Result<RunId> {
        let root = self.root(&request.project_id).await?;
        let text = self.text(root.clone(), request.definition, request.file.clone()).await?;
        let (text, read) = self.read(text).await?;
        let definition = read.map_err(|flaws| refusal(&flaws))?;
        let inputs = definition.inputs(request.inputs)?;
        let title = request.title.or_else(|| definition.name.clone()).or_else(|| request.file.clone());
        let title = title.unwrap_or_else(|| "workflow".to_owned());
        let plan = Plan::new(definition, self.config.limits.concurrency);
        let started = RunStarted {
            run_id: RunId::random(),
            project_id: request.project_id,
            title: self.config.redaction.redact(&title).into_owned(),
            definition: text,
            file: request.file,
            inputs,
            rerun_of: None,
            steps: plan.shapes(),
            board: None,
        };
        self.begin(who, root, Wanted { plan, started }).await
    }

    /// Starts a run that repeats one, in part or whole. `judge` says who wants it in its project, if they may.
    ///
    /// # Errors
    /// The judge's; `conflict` when it has not ended; `invalid_data` for a step that is not there; and as
    /// [`Runs::start`].
    pub async fn rerun(
        self: Arc<Self>,
        judge: impl FnOnce(&ProjectId) -> Result<Wanting> + Send + 'static,
        request: Rerun,
    ) -> Result<RunId> {
        let former = self.state(&request.run_id).await?.ok_or_else(Error::not_found)?;
        let project_id = former.project_id.clone().ok_or_else(Error::not_found)?;
        let who = judge(&project_id)?;
        if former.status.is_open() {
            return Err(Error::new(Code::Conflict, "the run has not ended: cancel it first"));
        }
        let root = self.root(&project_id).await?;
        let (text, read) = self.read(former.definition).await?;
        let definition = read.map_err(|flaws| refusal(&flaws))?;
        let inputs = definition.inputs(former.inputs)?;
        let plan = Plan::new(definition, self.config.limits.concurrency);
        let mut steps = plan.shapes();
        if let Some(from) = &request.from {
            let again = plan.following(from).ok_or_else(|| Error::invalid_field("from", "is not a step of the run"))?;
            for (place, shape) in steps.iter_mut().enumerate() {
                let kept = former.steps.get(place).filter(|step| step.step_id == shape.step_id);
                let kept = kept.filter(|step| step.status == StepStatus::Completed && !again.contains(&place));
                shape.reused = kept.map(|step| step.outputs.clone());
            }
        }
        let kept = steps.iter().filter_map(|shape| shape.reused.as_ref());
        outputs::kept(kept).map_err(|why| Error::invalid_field("from", why))?;
        let started = RunStarted {
            run_id: RunId::random(),
            project_id,
            title: former.title,
            definition: text,
            file: former.file,
            inputs,
            rerun_of: Some(request.run_id),
            steps,
            board: None,
        };
        self.begin(who, root, Wanted { plan, started }).await
    }

    /// Tells the start, and lets the run go.
    async fn begin(self: &Arc<Self>, who: Wanting, root: PathBuf, wanted: Wanted) -> Result<RunId> {
        let Wanted { plan, mut started } = wanted;
        let runs_commands = plan.definition.steps.iter().any(|step| matches!(step.work, Work::Command(_)));
        if runs_commands && !who.may_execute {
            return Err(Error::new(Code::Forbidden, "a workflow with commands needs the right to execute"));
        }
        let (user, id) = (who.principal.user.clone(), started.run_id.clone());
        let whose = Whose { user: Some(user.clone()), project_id: started.project_id.clone() };
        let seat = self.registry.enter(id.clone(), whose, false)?;
        let now = self.ports.clock.now();
        let (project_id, title) = (started.project_id.clone(), started.title.clone());
        started.board = Some(Board { project_id, status: RunStatus::Running.as_str(), title, at: now });
        let event = Event::new(STARTED, started).by(Some(user));
        let mut state = RunState::default();
        state.apply(STARTED, &event.payload, now, event.by.as_ref());
        let told = tell_by_id(&*self.ports.bus, vec![event], Some(START_TRIES)).await;
        let principal = Some(who.principal);
        let untold = Vec::new();
        let run = Run { runs: self.clone(), seat, plan, state, untold, root, principal, computing: false };
        let lost = told.is_err();
        self.ports.tasks.spawn("workflow.run", Box::pin(run.go_if(lost)));
        told.map(|()| id)
    }

    /// Ends the steps of a run, and the run with them. Resolves once that is durable, before they have ended.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it has ended; `draining`, `unavailable`.
    pub async fn cancel(self: Arc<Self>, user: UserId, id: RunId) -> Result<()> {
        self.ask(user, &id, Request::Cancel).await
    }

    /// Answers what a step waits for. The first answer counts.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it waits for none; `draining`, `unavailable`.
    pub async fn approve(self: Arc<Self>, user: UserId, input: Approve) -> Result<()> {
        let request = Request::Answer { step_id: input.step_id, decision: input.decision };
        self.ask(user, &input.run_id, request).await
    }

    async fn ask(&self, user: UserId, id: &RunId, request: Request) -> Result<()> {
        if let Some(mouth) = self.registry.mouth(id) {
            let (reply, replied) = oneshot::channel();
            if mouth.send(Asked { user, request, reply }).await.is_ok()
                && let Ok(answer) = replied.await
            {
                return answer;
            }
        }
        // It is not open here, or has just ended.
        match self.state(id).await? {
            None => Err(Error::not_found()),
            Some(state) if state.status.is_open() => Err(Error::unavailable("the run is not under way: try again")),
            Some(_) => Err(Error::new(Code::Conflict, "the run has ended")),
        }
    }

    /// Whether a run is, or was, one of this server's: only the server starts any.
    ///
    /// # Errors
    /// `unavailable` when its state cannot be read.
    pub async fn hosts(self: Arc<Self>, id: RunId) -> Result<bool> {
        let view = self.ports.states.get(DOMAIN, id.as_str()).await?;
        Ok(view.is_some_and(|view| view.state::<RunState>().is_some_and(|state| state.run_id.is_some())))
    }

    pub(super) async fn state(&self, id: &RunId) -> Result<Option<RunState>> {
        let view = self.ports.states.get(DOMAIN, id.as_str()).await?;
        Ok(view.and_then(|view| view.state::<RunState>().cloned()).filter(|state| state.run_id.is_some()))
    }

    pub(super) async fn root(&self, project: &ProjectId) -> Result<PathBuf> {
        self.ports.roots.of(&*self.ports.states, project).await
    }

    async fn text(&self, root: PathBuf, posted: Option<Posted>, path: Option<String>) -> Result<String> {
        match (posted, path) {
            (Some(Posted(text)), None) => Ok(text),
            (None, Some(path)) => file::read(root, path, self.config.limits.definition_bytes).await,
            _ => Err(Error::invalid_field("definition", "is given, or else file, not both")),
        }
    }

    /// Reads a definition, off the tasks that deliver: a large one takes a moment. The text is given back.
    async fn read(&self, text: String) -> Result<(String, Result<Definition, Vec<Flaw>>)> {
        let bounds = self.config.limits.bounds();
        let (read, text) = blocking(move || (read(&text, bounds), text)).await?;
        Ok((text, read.and_then(|definition| self.with_agents(definition))))
    }

    /// A definition of which every agent is configured.
    fn with_agents(&self, definition: Definition) -> Result<Definition, Vec<Flaw>> {
        let unknown = |step: &super::definition::Step| match &step.work {
            Work::Session { agent, .. } if !self.config.agents.contains(agent) => {
                let reason = format!("the step '{}': '{agent}' is not a configured agent", step.id);
                Some(Flaw { line: step.line, reason })
            }
            _ => None,
        };
        let flaws: Vec<Flaw> = definition.steps.iter().filter_map(unknown).take(FLAWS).collect();
        if flaws.is_empty() { Ok(definition) } else { Err(flaws) }
    }
}

/// The refusal of a definition, with the lines.
fn refusal(flaws: &[Flaw]) -> Error {
    Error::invalid_field("definition", all(flaws))
}

/// What is wrong with a definition, with the lines.
pub(super) fn all(flaws: &[Flaw]) -> String {
    flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Run {
    /// Lets it go; if its start may be lost, only once the log says that it is not.
    async fn go_if(mut self, lost: bool) {
        if lost {
            match self.found().await {
                Some(state) => self.state = state,
                None => return,
            }
        }
        self.go().await;
    }

    /// The state, once it can be read; none if there is none.
    async fn found(&self) -> Option<RunState> {
        loop {
            match self.runs.state(&self.seat.id).await {
                Ok(state) => return state,
                Err(error) => tracing::warn!(run = %self.seat.id, %error, "the state of a run cannot be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                () = self.runs.registry.closed() => return None,
            }
        }
    }
}

impl Plan {
    /// The places of a step and of everything that follows from it.
    fn following(&self, from: &str) -> Option<std::collections::BTreeSet<usize>> {
        let names: BTreeMap<String, usize> =
            self.shapes().into_iter().enumerate().map(|(place, shape)| (shape.step_id, place)).collect();
        let of_name = self.definition.steps.iter().position(|step| step.id == from);
        let first: Vec<usize> = match (names.get(from), of_name) {
            (Some(place), _) => vec![*place],
            (None, Some(step)) => self.places(step).collect(),
            (None, None) => return None,
        };
        let step = self.definition.steps.iter().position(|step| step.id == self.step(first[0]).id)?;
        let after = self.definition.steps.iter().enumerate().filter(|(_, other)| other.ancestors.contains(step));
        Some(first.into_iter().chain(after.flat_map(|(after, _)| self.places(after))).collect())
    }
}
