//! The service: begins operations, cancels them, and ends them all at a stop.
//!
//! Guarantees: whoever is answered that an operation started, or has its place behind others, finds that in the log; after
//! [`Repositories::recover`] no operation of a former life is open, after [`Repositories::stop`] none at all.
//! It is not the judgement of who may: that is the gate's.

use std::{
    collections::HashMap,
    ffi::CStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::fs::Dir;
use tidings_core::{
    Code, Error, Result, UserId,
    bus::EventBus,
    command::Json,
    projection::States,
    runtime::{Clock, Tasks},
};
use tokio::sync::oneshot;

use super::{
    config::GitConfig,
    contract::{Begun, Kind, OperationEnd, OperationId},
    execute::{Git, gone},
    input::Cancel,
    job::Job,
    looks::Looks,
    operation::Operation,
    place::{Place, Purpose},
    refresh::Refreshing,
    registry::{Reason, Registry, Seat},
    turns::Turns,
};
use crate::{
    beneath::{Links, Root},
    blocking::blocking,
    programs::Programs,
    project::{ProjectId, ProjectState, Roots},
    telling::end_abandoned,
};

/// The domain whose states hold what git tells.
pub(super) const PROJECT: &str = "project";
/// How long the place of an operation is waited for whose end is being told.
const ENDING: Duration = Duration::from_secs(2);

/// What the service needs of the house.
#[derive(Clone)]
pub struct GitPorts {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where states are read back.
    pub states: Arc<dyn States>,
    /// Where projects may be.
    pub roots: Arc<Roots>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where operations run.
    pub tasks: Arc<dyn Tasks>,
}

impl std::fmt::Debug for GitPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GitPorts")
    }
}

/// The service of git.
pub struct Repositories {
    pub(super) ports: GitPorts,
    pub(super) git: Git,
    pub(super) refreshing: Mutex<HashMap<ProjectId, Arc<Refreshing>>>,
    pub(super) registry: Arc<Registry>,
    pub(super) turns: Arc<Turns>,
    /// Looks that wait for their turn: whoever asks meanwhile gets the same answer.
    pub(super) looks: Arc<Looks>,
}

impl std::fmt::Debug for Repositories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repositories")
    }
}

impl Repositories {
    /// The service.
    #[must_use]
    pub fn new(ports: GitPorts, programs: Arc<Programs>, config: GitConfig) -> Arc<Self> {
        let (registry, turns) = (Registry::new(&config), Turns::new(&config));
        let git = Git::new(programs, config);
        Arc::new(Self { ports, git, refreshing: Mutex::default(), registry, turns, looks: Arc::default() })
    }

    /// Tells the end of every operation that a former life of the server left open, and takes away the shadows
    /// and the locks that its git left. To be called before the first operation, after [`Programs::recover`].
    ///
    /// # Errors
    /// `unavailable` when the log does not work.
    pub async fn recover(&self) -> Result<()> {
        let shadows = self.git.shadows.clone();
        blocking(move || shadows.recover()).await?;
        self.git.clear_abandoned().await;
        end_abandoned(&*self.ports.bus, &*self.ports.states, PROJECT).await
    }

    /// Ends every operation, and tells so. New ones are refused. Resolves when none is left.
    pub async fn stop(&self) {
        self.registry.close();
        self.registry.emptied().await;
    }

    /// Begins an operation, for a user who may, or gives it its place behind others. Resolves when that is durable;
    /// with `wait`, at its end, if that comes within so long a time.
    ///
    /// # Errors
    /// `not_found` for a project or a directory that is not there; `conflict` where there is no repository, or
    /// for a clone something else; `invalid_data` for a protocol that is not allowed; `overloaded` where as many wait
    /// as may; `draining`, `unavailable`. What waits for its turn and cannot begin then has its end as `refused`.
    pub async fn begin(self: Arc<Self>, user: UserId, job: Result<Job>, wait: Option<Duration>) -> Result<Json<Begun>> {
        let job = job?;
        // A project that is not there is told before what runs in it.
        self.root(&job.project_id).await?;
        self.allow(&job)?;
        let seat = self.registry.enter(&job.project_id, job.kind, &user)?;
        // Whoever heard of the end of the one before does not find it there. Its end is told until the log takes it:
        // that is not waited for.
        if seat.is_next_soon() {
            drop(tokio::time::timeout(ENDING, seat.turn()).await);
        }
        let (over, ended) = oneshot::channel();
        let begun = self.start(seat, user, job, Some(over)).await?;
        let end = match wait {
            // It may be over without an end that somebody told.
            Some(wait) => tokio::time::timeout(wait, ended).await.ok().and_then(std::result::Result::ok),
            None => None,
        };
        Ok(Json(Begun { end, ..begun }))
    }

    /// Starts an operation in its place, or lets it wait there for its turn; `over` hears of its end.
    pub(super) async fn start(
        self: Arc<Self>,
        seat: Seat,
        user: UserId,
        job: Job,
        over: Option<oneshot::Sender<OperationEnd>>,
    ) -> Result<Begun> {
        let place = if seat.has_turn() { Some(self.ready(&job).await?) } else { None };
        let answer = Begun::of(seat.live.id.clone(), place.is_none());
        let (told, begun) = oneshot::channel();
        let operation = Operation { repositories: self.clone(), seat, job, place, user, over };
        self.ports.tasks.spawn("git.operation", Box::pin(operation.go(told)));
        begun.await.unwrap_or_else(|_| Err(Error::internal()))?;
        Ok(answer)
    }

    /// Where an operation may work, now that it is its turn.
    pub(super) async fn ready(&self, job: &Job) -> Result<Place> {
        let root = self.root(&job.project_id).await?;
        self.place(job, root).await
    }

    fn allow(&self, job: &Job) -> Result<()> {
        let Some(protocol) = job.protocol.as_ref().filter(|protocol| !self.git.config.protocols.contains(protocol))
        else {
            return Ok(());
        };
        let allowed = self.git.config.protocols.join(", ");
        Err(Error::invalid_field("url", format!("{protocol} is not allowed by git.protocols: {allowed} are")))
    }

    /// Where an operation may work.
    async fn place(&self, job: &Job, root: PathBuf) -> Result<Place> {
        if job.kind != Kind::Clone {
            return self.git.repository(&root, Purpose::Change).await;
        }
        let given = root.clone();
        if !blocking(move || is_empty(&given)).await?? {
            return Err(Error::new(Code::Conflict, "the project's directory is not empty: nothing is cloned into it"));
        }
        Ok(Place::of_clone(root))
    }

    /// Asks an operation to end, whether it runs or waits for its turn. It has ended once its end is told.
    ///
    /// # Errors
    /// `conflict` when it does not run or wait, or not here.
    pub async fn cancel(self: Arc<Self>, user: UserId, input: Cancel) -> Result<Json<Begun>> {
        let live = self.registry.find(&input.project_id, &input.operation_id);
        let live = live.ok_or_else(|| Error::new(Code::Conflict, "the operation does not run here, or has ended"))?;
        live.course.ask_to_end(Reason::Cancelled(user));
        Ok(Json(Begun::of(input.operation_id, false)))
    }

    /// Whether an operation runs or waits here, or is one of the newest that did since the start.
    ///
    /// # Errors
    /// `unavailable` when the state of the project cannot be read.
    pub async fn hosts(self: Arc<Self>, project: ProjectId, id: OperationId) -> Result<bool> {
        if self.registry.had(&project, &id) {
            return Ok(true);
        }
        let view = self.ports.states.get(PROJECT, project.as_str()).await?;
        let state = view.as_ref().and_then(|view| view.state::<ProjectState>());
        Ok(state.and_then(|state| state.git.operations.get(&id)).is_some_and(|operation| operation.hosted))
    }

    /// The directory of an open project.
    pub(super) async fn root(&self, project: &ProjectId) -> Result<PathBuf> {
        self.ports.roots.of(&*self.ports.states, project).await
    }

    /// The state of a project.
    pub(super) async fn project(&self, project: &ProjectId) -> Result<Option<ProjectState>> {
        let view = self.ports.states.get(PROJECT, project.as_str()).await?;
        Ok(view.and_then(|view| view.state::<ProjectState>().cloned()))
    }
}

fn is_empty(root: &Path) -> Result<bool> {
    let entries = Root::open(root).and_then(|root| root.directory("", Links::Never)).map_err(|_| gone())?;
    let mut entries = Dir::read_from(&entries).map_err(|_| gone())?;
    let is_own = |name: &CStr| matches!(name.to_bytes(), b"." | b"..");
    Ok(entries.all(|entry| entry.is_ok_and(|entry| is_own(entry.file_name()))))
}
