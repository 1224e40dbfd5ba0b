//! The service: starts sessions and ends them all at a stop. What is asked of one that runs is in `asking`.
//!
//! Guarantees: whoever is answered that a session started finds it in the log; the same idempotency
//! key starts once, also when the server died in between; after [`Sessions::recover`] no session of
//! a former life is open, after [`Sessions::stop`] none at all.
//! It is not the judgement of who may: that is the gate's.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::FutureExt;
use tidings_core::{
    Code, Error, Result, UserId,
    bus::EventBus,
    principal::{Membership, Role},
    projection::States,
    runtime::{Clock, Tasks},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    adapter::{self, Context},
    agent::Publishing,
    attend::{Asked, Ears},
    config::SessionConfig,
    contract::SessionId,
    inbox::Inbox,
    input::StartSession,
    plan::Plan,
    registry::{Ear, Entry, Live, Mouths, Registry, other_request},
    run::Run,
    state::SessionState,
    surroundings::Surroundings,
    telling::{DOMAIN, Telling},
};
use crate::{
    beneath::{Links, Root},
    blocking::blocking,
    git::input::Worktree,
    listing::OUTPUTS_AT_ONCE,
    programs::Programs,
    project::{ProjectId, Roots},
    telling::end_abandoned,
};

/// How many requests wait for an agent.
const REQUESTS: usize = 8;

/// What the service needs of the house.
#[derive(Clone)]
pub struct SessionPorts {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where states are read back.
    pub states: Arc<dyn States>,
    /// Where projects may be.
    pub roots: Arc<Roots>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where sessions run.
    pub tasks: Arc<dyn Tasks>,
    /// Terminals and working trees. Without them, what asks for one is refused.
    pub surroundings: Option<Arc<dyn Surroundings>>,
    /// What publishes events of other domains for programs. Without it, none is published.
    pub publishing: Option<Arc<dyn Publishing>>,
}

impl std::fmt::Debug for SessionPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionPorts")
    }
}

/// Who starts a session. That they may command the project is judged before.
#[derive(Debug, Clone)]
pub struct Starter {
    /// Who.
    pub user: UserId,
    /// Their roles on the server.
    pub roles: Vec<Role>,
    /// What they are in the project, if they are a member.
    pub membership: Option<Membership>,
}

/// The service of agent sessions.
pub struct Sessions {
    pub(super) ports: SessionPorts,
    pub(super) config: SessionConfig,
    pub(super) programs: Arc<Programs>,
    pub(super) registry: Arc<Registry>,
    /// Those who have an output put together.
    pub(super) reading: Semaphore,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// The service.
    ///
    /// # Errors
    /// `invalid_data` for an agent whose command line is none: see [`SessionConfig::check`].
    pub fn new(ports: SessionPorts, programs: Arc<Programs>, config: SessionConfig) -> Result<Arc<Self>> {
        config.check()?;
        let registry = Registry::new(config.limits);
        Ok(Arc::new(Self { ports, config, programs, registry, reading: Semaphore::new(OUTPUTS_AT_ONCE) }))
    }

    /// Tells the end of every session that a former life of the server left open. To be called before the
    /// first start, after [`Programs::recover`].
    ///
    /// # Errors
    /// `unavailable` when the log does not work.
    pub async fn recover(&self) -> Result<()> {
        end_abandoned(&*self.ports.bus, &*self.ports.states, DOMAIN).await
    }

    /// Ends every session: TERM, after the grace KILL, and its end is told. New ones are refused.
    /// Resolves when none is left.
    pub async fn stop(&self) {
        self.registry.close();
        self.registry.emptied().await;
    }

    /// Starts a session, for a user who may. Resolves when the start is durable.
    ///
    /// # Errors
    /// `invalid_data` for what is not valid in itself, `not_found` for a project that is not there,
    /// `forbidden` for an agent that is for other projects or roles, `overloaded` at a limit, `conflict` for a known
    /// key with another request, `draining`, `unavailable`.
    pub async fn start(self: Arc<Self>, who: Starter, mut request: StartSession) -> Result<SessionId> {
        let root = self.root(&request.project_id).await?;
        if let Some(agent) = request.agent.as_ref().and_then(|name| self.config.agents.get(name)) {
            agent.allows(&request.project_id, &who.roles, who.membership)?;
        }
        let resume = self.conversation_of(&root, &mut request).await?;
        let plan = Plan::new(&self.config, who.user, root, request, resume)?;
        if let Some(earlier) = self.earlier(&plan).await? {
            return Ok(earlier);
        }
        let (told, begun) = oneshot::channel();
        let begun = begun.map(|told| told.unwrap_or_else(|_| Err(Error::internal()))).boxed().shared();
        let id = plan.key.as_ref().map_or_else(SessionId::random, |key| key.id(self.ports.clock.now()));
        let (mouths, ears) = openings(&plan, &id);
        match self.registry.enter(&plan, id, mouths, begun.clone())? {
            Entry::Same(live) => live.begun.clone().await,
            Entry::New(seat) => {
                let run = Run { sessions: self.clone(), seat, plan, ears };
                self.ports.tasks.spawn("session.run", Box::pin(run.go(told)));
                begun.await
            }
        }
    }

    /// An earlier session under the key of a plan.
    ///
    /// # Errors
    /// `conflict` if something else was asked for under it; `unavailable`.
    pub(super) async fn earlier(&self, plan: &Plan) -> Result<Option<SessionId>> {
        let Some(key) = &plan.key else { return Ok(None) };
        for id in key.earlier(self.ports.clock.now()) {
            let Some(state) = self.state(&id).await?.filter(|state| state.started_at.is_some()) else { continue };
            // What a producer outside says of a request was not asked for here.
            let is_same = state.hosted && state.request.as_ref() == Some(&key.request);
            return if is_same { Ok(Some(id)) } else { Err(other_request()) };
        }
        Ok(None)
    }

    /// Whether a session runs here.
    #[must_use]
    pub fn runs(&self, id: &SessionId) -> bool {
        self.registry.get(id).is_some()
    }

    /// Whether a session runs here, or ran here.
    ///
    /// # Errors
    /// `unavailable` when its state cannot be read.
    pub async fn hosts(self: Arc<Self>, id: SessionId) -> Result<bool> {
        let view = self.ports.states.get(DOMAIN, id.as_str()).await?;
        Ok(view.and_then(|view| view.state::<SessionState>().map(|state| state.hosted)).unwrap_or(false))
    }

    /// What tells the events of a session.
    pub(super) fn telling(&self, id: &SessionId) -> Telling {
        Telling { bus: self.ports.bus.clone(), states: self.ports.states.clone(), id: id.clone() }
    }

    pub(super) async fn state(&self, id: &SessionId) -> Result<Option<SessionState>> {
        let view = self.ports.states.get(DOMAIN, id.as_str()).await?;
        Ok(view.and_then(|view| view.state::<SessionState>().cloned()))
    }

    async fn root(&self, project: &ProjectId) -> Result<PathBuf> {
        self.ports.roots.of(&*self.ports.states, project).await
    }

    /// The agent's own id of the conversation that a start wants to go on with, which that agent told this server. It
    /// goes on where it was.
    async fn conversation_of(&self, root: &Path, request: &mut StartSession) -> Result<Option<String>> {
        let Some(id) = &request.resume else { return Ok(None) };
        let refuse = |why: &str| Error::invalid_field("resume", why);
        let state = self.state(id).await?.ok_or_else(|| refuse("there is no such session"))?;
        if state.project_id.as_ref() != Some(&request.project_id) || state.agent != request.agent {
            return Err(refuse("is a session of the same agent in the same project"));
        }
        if !state.hosted {
            return Err(refuse("this session was not run by this server"));
        }
        if state.status.is_open() {
            return Err(refuse("this session has not ended: send it a message"));
        }
        if request.worktree.is_none() {
            request.worktree = state.worktree.and_then(Worktree::named);
            let tree = request.worktree.as_ref().map(|tree| (root.to_owned(), tree.directory()));
            let is_there = |(root, tree): (PathBuf, String)| {
                blocking(move || Root::open(&root).and_then(|root| root.directory(&tree, Links::Inside)).is_ok())
            };
            if let Some(tree) = tree
                && !is_there(tree).await?
            {
                return Err(refuse("the working tree of this session is gone: name one"));
            }
        }
        let id = state.conversation.agent_session_id;
        id.map(Some).ok_or_else(|| refuse("its agent never told an id by which it could be resumed"))
    }

    /// A session that runs here and has begun.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it has ended or its program is not run by this server.
    pub(super) async fn live(&self, id: &SessionId) -> Result<Arc<Live>> {
        let Some(live) = self.registry.get(id) else { return Err(self.why_not_here(id).await) };
        live.begun.clone().await?;
        Ok(live)
    }

    /// Why a session does not run here.
    async fn why_not_here(&self, id: &SessionId) -> Error {
        match self.state(id).await {
            Ok(None) => Error::not_found(),
            Ok(Some(state)) if state.status.is_open() => {
                Error::new(Code::Conflict, "the program of this session is not run by this server")
            }
            Ok(Some(_)) => ended(),
            Err(error) => error,
        }
    }
}

/// Where what is asked of a session goes in, and where it comes out.
fn openings(plan: &Plan, id: &SessionId) -> (Mouths, Ears) {
    let (controls, controlled) = mpsc::channel(1);
    let context =
        Context { session_id: id.clone(), root: plan.dir(), resume: plan.resume.clone(), argv: plan.argv.clone() };
    let (ear, asked) = match adapter::make(plan.adapter, context) {
        Some(adapter) => {
            let (ear, requests) = mpsc::channel(REQUESTS);
            (Ear::Agent(ear), Asked::Agent { adapter, requests })
        }
        None => {
            let (inbox, lines) = Inbox::new();
            (Ear::Lines(inbox), Asked::Lines(lines))
        }
    };
    (Mouths { ear, controls }, Ears { asked, controls: controlled })
}

/// The refusal of what only a running session can do.
pub(super) fn ended() -> Error {
    Error::new(Code::Conflict, "the session has ended")
}
