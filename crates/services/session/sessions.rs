//! The service: starts sessions, passes messages to them, cancels them, and ends them all at a stop.
//!
//! Guarantees: whoever is answered that a session started finds it in the log; the same idempotency
//! key starts once, also when the server died in between; after [`Sessions::recover`] no session of
//! a former life is open or running, after [`Sessions::stop`] none at all.
//! It is not the judgement of who may: that is the gate's.

use std::{path::PathBuf, sync::Arc};

use futures_util::FutureExt;
use tidings_core::{
    BoxFuture, Code, Error, Result, UserId,
    bus::EventBus,
    projection::{ListStates, States},
    runtime::{Clock, Tasks},
};
use tokio::sync::oneshot;

use super::{
    config::SessionConfig,
    contract::SessionId,
    inbox::{Inbox, Letter},
    input::{SendMessage, StartSession},
    plan::Plan,
    process::SystemUser,
    registry::{Entry, Reason, Registry, other_request},
    run::Run,
    state::SessionState,
    survivors::Survivors,
    telling::{DOMAIN, Telling},
};
use crate::project::{ProjectId, ProjectState};

/// How many states are looked through at once when the server starts.
const RECOVER_PAGE: usize = 200;

/// What the service needs of the house.
#[derive(Clone)]
pub struct SessionPorts {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where states are read back.
    pub states: Arc<dyn States>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where sessions run.
    pub tasks: Arc<dyn Tasks>,
}

impl std::fmt::Debug for SessionPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionPorts")
    }
}

/// The service of agent sessions.
pub struct Sessions {
    pub(super) ports: SessionPorts,
    pub(super) config: SessionConfig,
    pub(super) user: Option<SystemUser>,
    pub(super) survivors: Survivors,
    registry: Arc<Registry>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

/// The answer made of what a call gives, as a row of commands wants it.
pub fn answer_with<T, R>(
    call: impl Future<Output = Result<T>> + Send + 'static,
    make: impl FnOnce(T) -> R + Send + 'static,
) -> BoxFuture<'static, Result<R>> {
    Box::pin(call.map(|result| result.map(make)))
}

impl Sessions {
    /// The service. The data directory must be there; it gets a folder `run`.
    ///
    /// # Errors
    /// `invalid_data` for a system user that is not there or that the server may not become, and for
    /// an agent without a command; `unavailable` when the data directory cannot be written.
    pub fn new(ports: SessionPorts, mut config: SessionConfig) -> Result<Arc<Self>> {
        let user = config.user.as_deref().map(SystemUser::find).transpose()?;
        for (name, agent) in &config.agents {
            if agent.command.first().is_none_or(String::is_empty) {
                return Err(Error::invalid_field(format!("agents.{name}.command"), "names a program"));
            }
        }
        let unusable = |error| Error::unavailable(format!("the data directory cannot be used: {error}"));
        let survivors = Survivors::open(&config.data_dir).map_err(unusable)?;
        let data_dir = config.data_dir.canonicalize().map_err(unusable)?;
        config.env = std::mem::take(&mut config.env).without(&data_dir.to_string_lossy());
        let registry = Registry::new(config.limits);
        Ok(Arc::new(Self { ports, config, user, survivors, registry }))
    }

    /// Ends what a former life of the server left: kills surviving process groups, and tells the end
    /// of every session that is open. To be called before the first start.
    ///
    /// # Errors
    /// `unavailable` when the log or the data directory does not work.
    pub async fn recover(&self) -> Result<()> {
        let survivors = self.survivors.clone();
        let killed = tokio::task::spawn_blocking(move || survivors.kill_all()).await;
        match killed {
            Ok(Ok(0)) => {}
            Ok(Ok(killed)) => tracing::warn!(killed, "process groups of a former life of the server were killed"),
            Ok(Err(error)) => return Err(Error::unavailable(format!("the folder run cannot be read: {error}"))),
            Err(_) => return Err(Error::internal()),
        }
        let mut below = None;
        loop {
            let query = ListStates { project: None, below, limit: RECOVER_PAGE };
            let views = self.ports.states.list(DOMAIN, query).await?;
            let Some(last) = views.last() else { return Ok(()) };
            below = Some(last.id.clone());
            for event in views.iter().flat_map(|view| view.state.abandoned()) {
                // The receipt is awaited: the server is not ready before the end is durable.
                self.ports.bus.emit(event).await?.await?;
            }
        }
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
    /// `overloaded` at a limit, `conflict` for a known key with another request, `draining`,
    /// `unavailable`.
    pub async fn start(self: Arc<Self>, user: UserId, request: StartSession) -> Result<SessionId> {
        let root = self.root(&request.project_id).await?;
        let plan = Plan::new(&self.config, user, root, request)?;
        if let Some(earlier) = self.earlier(&plan).await? {
            return Ok(earlier);
        }
        let (told, begun) = oneshot::channel();
        let begun = begun.map(|told| told.unwrap_or_else(|_| Err(Error::internal()))).boxed().shared();
        let id = plan.key.as_ref().map_or_else(SessionId::random, |key| key.id(self.ports.clock.now()));
        let (inbox, lines) = Inbox::new();
        match self.registry.enter(&plan, id, inbox, begun.clone())? {
            Entry::Same(live) => live.begun.clone().await,
            Entry::New(seat) => {
                let run = Run { sessions: self.clone(), seat, plan, lines };
                self.ports.tasks.spawn("session.run", Box::pin(run.go(told)));
                begun.await
            }
        }
    }

    /// Passes a message to a program's standard input. Resolves, with the message's id, when its
    /// event is durable.
    ///
    /// # Errors
    /// `not_found`; `conflict` when the session has ended, takes no messages, or knows the key with
    /// another content; `overloaded` when too many wait for the program; `unavailable`.
    pub async fn send_message(self: Arc<Self>, user: UserId, input: SendMessage) -> Result<String> {
        let Some(live) = self.registry.get(&input.session_id) else {
            return Err(self.why_not_here(&input.session_id).await);
        };
        live.begun.clone().await?;
        let letter = Letter {
            session_id: input.session_id,
            user,
            client_message_id: input.client_message_id,
            shown: self.config.redaction.redact(&input.content).into_owned(),
            content: input.content,
        };
        let message_id = letter.message_id();
        let slot = self.ports.bus.reserve().await?;
        live.inbox.accept(letter, &message_id, slot)?.await?;
        Ok(message_id)
    }

    /// Cancels a session: TERM to its process group, KILL after the grace. Cancelling what is being
    /// ended already changes nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it has ended or its program is not run by this server.
    pub async fn cancel(self: Arc<Self>, user: UserId, id: SessionId) -> Result<()> {
        let Some(live) = self.registry.get(&id) else { return Err(self.why_not_here(&id).await) };
        if live.ask_to_end(Reason::Cancelled(user)) { Ok(()) } else { Err(ended()) }
    }

    /// An earlier session under the key of a plan.
    ///
    /// # Errors
    /// `conflict` if something else was asked for under it; `unavailable`.
    pub(super) async fn earlier(&self, plan: &Plan) -> Result<Option<SessionId>> {
        let Some(key) = &plan.key else { return Ok(None) };
        for id in key.earlier(self.ports.clock.now()) {
            let Some(state) = self.state(&id).await?.filter(|state| state.started_at.is_some()) else { continue };
            return if state.request.as_ref() == Some(&key.request) { Ok(Some(id)) } else { Err(other_request()) };
        }
        Ok(None)
    }

    /// Whether a session runs here.
    #[cfg(test)]
    pub(super) fn runs(&self, id: &SessionId) -> bool {
        self.registry.get(id).is_some()
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
        let view = self.ports.states.get("project", project.as_str()).await?;
        let state = view.as_ref().and_then(|view| view.state::<ProjectState>());
        state.filter(|state| state.is_open()).map(|state| state.root.clone().into()).ok_or_else(Error::not_found)
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

fn ended() -> Error {
    Error::new(Code::Conflict, "the session has ended")
}
