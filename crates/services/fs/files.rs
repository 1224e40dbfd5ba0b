//! The service: reads and lists files, and watches projects.
//!
//! Guarantees: one watch a project, and no more than configured in all; one that is answered is there, and whatever
//! happens afterwards is told; after [`Files::stop`] there is none.
//! It is not the judgement of who may: that is the gate's.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::{
    Error, Result,
    bus::EventBus,
    command::Json,
    projection::States,
    runtime::{Audience, Clock, Tasks},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use super::{
    config::FsConfig,
    contract::Witness,
    input::{ListFolder, ReadFile, Watch},
    reading::{self, FilePart, Folder},
    tree::Tree,
    watch::Watching,
};
use crate::{
    beneath,
    blocking::blocking,
    count::Count,
    project::{ProjectId, Roots},
};

/// What the service needs of the house.
#[derive(Clone)]
pub struct FsPorts {
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Where projects are read back.
    pub states: Arc<dyn States>,
    /// Where they may be.
    pub roots: Arc<Roots>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where watches run.
    pub tasks: Arc<dyn Tasks>,
    /// Whether anybody follows a project: nothing is watched for nobody.
    pub audience: Arc<dyn Audience>,
}

impl std::fmt::Debug for FsPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FsPorts")
    }
}

/// The service of files.
pub struct Files {
    pub(super) ports: FsPorts,
    pub(super) config: FsConfig,
    pub(super) witness: Arc<dyn Witness>,
    /// One watch is opened at a time.
    opening: tokio::sync::Mutex<()>,
    watched: Mutex<HashMap<ProjectId, Watched>>,
    numbers: AtomicU64,
    running: Count,
    closed: watch::Sender<bool>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

/// A project that is watched.
#[derive(Debug, Clone, Copy)]
struct Watched {
    /// Which watch it is: another one of the same project has another number.
    number: u64,
    /// When somebody asked for it last, or was there.
    wanted: Duration,
    directories: usize,
    complete: bool,
}

/// The place of a watch; dropping it gives it up.
pub(super) struct Seat {
    number: u64,
    pub(super) project_id: ProjectId,
    pub(super) root: PathBuf,
    files: Arc<Files>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut watched = self.files.watched.lock();
        if watched.get(&self.project_id).is_some_and(|known| known.number == self.number) {
            watched.remove(&self.project_id);
        }
        drop(watched);
        self.files.running.change(|running| *running -= 1);
    }
}

/// Answer of `fs.watch`.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchAnswer {
    /// How many directories were watched when the watch began.
    pub directories: usize,
    /// Whether those were all that are not ignored.
    pub complete: bool,
    /// How long the watch stays after the last subscriber of the project has gone, in milliseconds.
    pub linger_ms: u64,
}

impl Files {
    /// The service. `witness` hears of every change.
    #[must_use]
    pub fn new(ports: FsPorts, config: FsConfig, witness: Arc<dyn Witness>) -> Arc<Self> {
        Arc::new(Self {
            ports,
            config,
            witness,
            opening: tokio::sync::Mutex::default(),
            watched: Mutex::default(),
            numbers: AtomicU64::new(0),
            running: Count::of("watch"),
            closed: watch::Sender::new(false),
        })
    }

    /// Ends every watch. New ones are refused. Resolves when none is left.
    pub async fn stop(&self) {
        self.closed.send_replace(true);
        self.running.none().await;
    }

    /// `fs.read`.
    ///
    /// # Errors
    /// `not_found`; `invalid_data` for a path that leads out, or to what is no file; `unavailable`.
    pub async fn read(self: Arc<Self>, input: ReadFile) -> Result<Json<FilePart>> {
        let root = self.root(&input.project_id).await?;
        let most = self.config.max_read_bytes;
        let length = input.length.map_or(most, |length| most.min(length as usize));
        answer(move || reading::file(&root, input.path, input.offset, length)).await
    }

    /// `fs.list`.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub async fn list(self: Arc<Self>, input: ListFolder) -> Result<Json<Folder>> {
        let root = self.root(&input.project_id).await?;
        let most = self.config.max_entries;
        let path = input.path.unwrap_or_else(|| ".".to_owned());
        answer(move || reading::folder(&root, path, input.after.as_deref(), most)).await
    }

    /// `fs.watch`: watches a project for as long as anybody subscribes to it, and a little longer.
    ///
    /// # Errors
    /// `not_found`; `overloaded` at the limit, and where the system gives no more; `draining`; `unavailable`.
    pub async fn watch(self: Arc<Self>, input: Watch) -> Result<Json<WatchAnswer>> {
        let root = self.root(&input.project_id).await?;
        let _turn = self.opening.lock().await;
        if *self.closed.borrow() {
            return Err(Error::new(tidings_core::Code::Draining, "the server is stopping"));
        }
        if let Some(known) = self.want(&input.project_id) {
            return Ok(self.answer(known));
        }
        if self.running.now() >= self.config.max_watched {
            let message =
                format!("{} projects are watched, the most allowed by fs.max_watched", self.config.max_watched);
            return Err(Error::overloaded(message));
        }
        let (path, most) = (root.clone(), self.config.max_directories);
        let tree = blocking(move || Tree::open(&path, most)).await?;
        let tree = tree.map_err(|error| unwatchable(&error))?;
        let ready = readable(tree.inotify()).map_err(|error| unwatchable(&error))?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let begun = Watched {
            number,
            wanted: self.ports.clock.monotonic(),
            directories: tree.len(),
            complete: !tree.is_incomplete(),
        };
        let seat = self.clone().seat(&input.project_id, root.clone(), begun);
        let watching = Watching { files: self.clone(), seat, tree, closed: self.closed.subscribe() };
        self.ports.tasks.spawn("fs.watch", Box::pin(watching.go(ready)));
        self.witness.saw(&input.project_id, &root);
        Ok(self.answer(begun))
    }

    fn seat(self: Arc<Self>, project_id: &ProjectId, root: PathBuf, begun: Watched) -> Seat {
        self.watched.lock().insert(project_id.clone(), begun);
        self.running.change(|running| *running += 1);
        Seat { number: begun.number, project_id: project_id.clone(), root, files: self }
    }

    fn answer(&self, watched: Watched) -> Json<WatchAnswer> {
        let Watched { directories, complete, .. } = watched;
        let linger_ms = u64::try_from(self.config.linger.as_millis()).unwrap_or(u64::MAX);
        Json(WatchAnswer { directories, complete, linger_ms })
    }

    /// Notes that a watch is wanted now, if it is there.
    fn want(&self, project_id: &ProjectId) -> Option<Watched> {
        let mut watched = self.watched.lock();
        let known = watched.get_mut(project_id)?;
        known.wanted = self.ports.clock.monotonic();
        Some(*known)
    }

    /// Whether nobody has looked for so long that a watch ends. Then it is given up at once, so that whoever wants
    /// it now begins another.
    pub(super) fn is_over(&self, seat: &Seat) -> bool {
        let now = self.ports.clock.monotonic();
        let is_there = self.ports.audience.watching("project", seat.project_id.as_str()) > 0;
        let mut watched = self.watched.lock();
        let Some(known) = watched.get_mut(&seat.project_id) else { return true };
        if is_there {
            known.wanted = now;
        }
        let is_over = now.saturating_sub(known.wanted) > self.config.linger;
        if is_over {
            watched.remove(&seat.project_id);
        }
        is_over
    }

    async fn root(&self, project: &ProjectId) -> Result<PathBuf> {
        self.ports.roots.of(&*self.ports.states, project).await
    }
}

/// The answer of what blocks.
async fn answer<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Json<T>> {
    Ok(Json(blocking(work).await??))
}

/// The descriptor, as the runtime waits for it.
#[expect(
    deprecated,
    reason = "the other way is unsafe code; an owned descriptor keeps what that would have to promise"
)]
fn readable(inotify: Arc<OwnedFd>) -> std::io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

fn unwatchable(error: &std::io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => {
            Error::overloaded("the system gives no more watches: see fs.inotify.max_user_instances of sysctl")
        }
        Some(Errno::NOSPC) => {
            Error::overloaded("the system gives no more watches: see fs.inotify.max_user_watches of sysctl")
        }
        _ => beneath::refusal(error),
    }
}
