//! The service: opens terminals, takes what is asked of them, and ends them all at a stop.
//!
//! Guarantees: whoever is answered that a terminal opened finds it in the log; after [`Shells::recover`] no
//! terminal of a former life is open, after [`Shells::stop`] none at all.
//! It is not the judgement of who may: that is the gate's.

use std::{path::PathBuf, sync::Arc};

use tidings_core::{
    Code, Error, Result, UserId,
    bus::EventBus,
    projection::States,
    runtime::{Audience, Clock, Tasks},
};
use tokio::sync::oneshot;

use super::{
    answer::Typed,
    config::ShellConfig,
    contract::TerminalId,
    input::{OpenShell, ResizeShell, TypeInput},
    plan::Plan,
    registry::{Live, Reason, Registry, Resize, Taken, ended},
    run::Run,
    state::ShellState,
};
use crate::{
    programs::Programs,
    project::{Place, ProjectId, Roots},
    session::surroundings::Ended,
    telling::{Telling, Told, end_abandoned},
};

/// What runs where nothing says which shell.
const SHELL: &str = "/bin/sh";

/// What the service needs of the house.
#[derive(Clone)]
pub struct ShellPorts {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where states are read back.
    pub states: Arc<dyn States>,
    /// Where projects may be.
    pub roots: Arc<Roots>,
    /// Who watches.
    pub audience: Arc<dyn Audience>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where terminals run.
    pub tasks: Arc<dyn Tasks>,
}

impl std::fmt::Debug for ShellPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShellPorts")
    }
}

/// The service of terminals.
pub struct Shells {
    pub(super) ports: ShellPorts,
    pub(super) config: ShellConfig,
    pub(super) programs: Arc<Programs>,
    registry: Arc<Registry>,
}

impl std::fmt::Debug for Shells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shells")
    }
}

impl Shells {
    /// The service.
    #[must_use]
    pub fn new(ports: ShellPorts, programs: Arc<Programs>, config: ShellConfig) -> Arc<Self> {
        let registry = Registry::new(&config);
        Arc::new(Self { ports, config, programs, registry })
    }

    /// Tells the end of every terminal that a former life of the server left open. To be called before the
    /// first opening, after [`Programs::recover`].
    ///
    /// # Errors
    /// `unavailable` when the log does not work.
    pub async fn recover(&self) -> Result<()> {
        end_abandoned(&*self.ports.bus, &*self.ports.states, ShellState::DOMAIN).await
    }

    /// Ends every terminal, as [`Shells::close`] does, and its end is told. New ones are refused.
    /// Resolves when none is left.
    pub async fn stop(&self) {
        self.registry.close();
        self.registry.emptied().await;
    }

    /// Opens a terminal, for a user who may. Resolves when the start is durable.
    ///
    /// # Errors
    /// `invalid_data` for a directory that is not inside the project, `conflict` when the project's is gone,
    /// `not_found` for a project that is not there, `overloaded` at a limit, `draining`, `unavailable`.
    pub async fn open(self: Arc<Self>, user: UserId, request: OpenShell) -> Result<TerminalId> {
        let root = self.root(&request.project_id).await?;
        let place = Place::look(root, request.cwd.clone()).await?;
        let shell = self.programs.shell().unwrap_or(SHELL);
        let plan = Plan::new(&self.config, user, place, request, shell);
        self.begin(plan, None)?.1.await
    }

    /// Gives a terminal its place and lets it run; `over` hears of its end. What is returned besides resolves when
    /// the start is durable.
    ///
    /// # Errors
    /// `overloaded` at a limit, `draining`.
    pub(super) fn begin(
        self: Arc<Self>,
        plan: Plan,
        over: Option<oneshot::Sender<Ended>>,
    ) -> Result<(Arc<Live>, impl Future<Output = Result<TerminalId>>)> {
        let (seat, ears) = self.registry.enter(&plan)?;
        let live = seat.live.clone();
        let (told, begun) = oneshot::channel();
        let run = Run { shells: self.clone(), seat, plan, ears, over };
        self.ports.tasks.spawn("shell.run", Box::pin(run.go(told)));
        Ok((live, async { begun.await.unwrap_or_else(|_| Err(Error::internal())) }))
    }

    /// Types. What was taken goes to the program, in its order; resolves when it was taken.
    ///
    /// # Errors
    /// `invalid_data` for what is no base64, or too long; `conflict` for a hole in `inputSeq`, or when the
    /// terminal has ended; `overloaded` while the program does not read; `not_found`.
    pub async fn input(self: Arc<Self>, user: UserId, input: TypeInput) -> Result<Typed> {
        let bytes = input.bytes()?;
        let live = self.live(&input.terminal_id).await?;
        let taken = live.take(user, input.writer, input.input_seq, bytes)?;
        let TypeInput { terminal_id, input_seq, .. } = input;
        Ok(Typed { terminal_id, input_seq, repeated: taken == Taken::Repeated })
    }

    /// Makes a terminal another size. The last one wins. Resolves when its event is durable; the same size
    /// again changes nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` when the terminal has ended.
    pub async fn resize(self: Arc<Self>, user: UserId, input: ResizeShell) -> Result<()> {
        let live = self.live(&input.terminal_id).await?;
        let ResizeShell { cols, rows, .. } = input;
        let (reply, answer) = oneshot::channel();
        live.sizes.send(Resize { user, cols, rows, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Closes a terminal: its program is told that it hangs up, and killed after the grace. Closing what
    /// is being ended already changes nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it has ended.
    pub async fn close(self: Arc<Self>, user: UserId, id: TerminalId) -> Result<()> {
        let live = self.live(&id).await?;
        if live.course.ask_to_end(Reason::Closed(user)) { Ok(()) } else { Err(ended()) }
    }

    /// What tells the events of a terminal.
    pub(super) fn telling(&self, id: &TerminalId) -> Telling<ShellState> {
        Telling { bus: self.ports.bus.clone(), states: self.ports.states.clone(), id: id.clone() }
    }

    /// Whether a terminal is open here.
    #[must_use]
    pub fn runs(&self, id: &TerminalId) -> bool {
        self.registry.get(id).is_some()
    }

    /// Whether a terminal is open here, or was.
    ///
    /// # Errors
    /// `unavailable` when its state cannot be read.
    pub async fn hosts(self: Arc<Self>, id: TerminalId) -> Result<bool> {
        let view = self.ports.states.get(ShellState::DOMAIN, id.as_str()).await?;
        Ok(view.and_then(|view| view.state::<ShellState>().map(|state| state.hosted)).unwrap_or(false))
    }

    async fn live(&self, id: &TerminalId) -> Result<Arc<Live>> {
        if let Some(live) = self.registry.get(id) {
            return Ok(live);
        }
        let view = self.ports.states.get(ShellState::DOMAIN, id.as_str()).await?;
        let state = view.as_ref().and_then(|view| view.state::<ShellState>());
        Err(match state.filter(|state| state.opened_at.is_some()) {
            None => Error::not_found(),
            Some(state) if state.status.is_open() => {
                Error::new(Code::Conflict, "the program of this terminal is not run by this server")
            }
            Some(_) => ended(),
        })
    }

    async fn root(&self, project: &ProjectId) -> Result<PathBuf> {
        self.ports.roots.of(&*self.ports.states, project).await
    }
}
