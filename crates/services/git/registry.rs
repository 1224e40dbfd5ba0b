//! The operations that run here: one a repository, so many in all.
//!
//! Guarantees: whoever has a seat is alone in the project; the course of an operation goes one way.
//! It is not the truth about operations that ended: that is the project's state.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tidings_core::{Code, Error, UserId};
use tokio::sync::watch;

use super::contract::{Kind, OperationId};
use crate::{count::Count, course::Course, project::ProjectId};

/// Why an operation is ended before git does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// This user cancelled it.
    Cancelled(UserId),
    /// The server stops.
    ServerStopped,
}

/// An operation that runs here.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: OperationId,
    pub(super) kind: Kind,
    pub(super) course: Course<Reason>,
    is_over: AtomicBool,
}

impl Live {
    /// Its work is done, and its end is about to be told: whoever hears of that may begin the next one.
    pub(super) fn is_over_now(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// The operations.
#[derive(Debug)]
pub(super) struct Registry {
    most: usize,
    inner: Mutex<Inner>,
    count: Count,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<ProjectId, Arc<Live>>,
    /// The newest that left, the oldest first.
    left: VecDeque<OperationId>,
    closed: bool,
}

/// How many that left are known.
const LEFT: usize = 4096;

/// The place of an operation; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) live: Arc<Live>,
    project_id: ProjectId,
    registry: Arc<Registry>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        inner.live.remove(&self.project_id);
        if inner.left.len() == LEFT {
            inner.left.pop_front();
        }
        inner.left.push_back(self.live.id.clone());
        self.registry.count.set(inner.live.len());
    }
}

impl Seat {
    /// Where the operation works.
    pub(super) fn project_id(&self) -> &ProjectId {
        &self.project_id
    }
}

/// Why an operation has no place now.
#[derive(Debug)]
pub(super) enum Refused {
    /// This one runs in the project.
    Busy(OperationId),
    /// This one has ended in the project, and its place is about to be free.
    Ending(OperationId),
    /// So many run, the most allowed.
    Full(usize),
    /// The server stops.
    Stopping,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy(id) | Refused::Ending(id) => {
                let message = format!("the operation {id} runs in this repository: wait for its end, or cancel it");
                Self::new(Code::Conflict, message)
            }
            Refused::Full(most) => {
                Self::overloaded(format!("{most} operations run, the most allowed: wait for an end"))
            }
            Refused::Stopping => Self::new(Code::Draining, "the server is stopping"),
        }
    }
}

impl Registry {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, inner: Mutex::default(), count: Count::of("operation") })
    }

    /// Gives a new operation its place.
    ///
    /// # Errors
    /// While another one runs in the project, at the limit, and once closed.
    pub(super) fn enter(self: &Arc<Self>, project_id: &ProjectId, kind: Kind) -> Result<Seat, Refused> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refused::Stopping);
        }
        if let Some(live) = inner.live.get(project_id) {
            let is_over = live.is_over.load(Ordering::Acquire);
            return Err(if is_over { Refused::Ending(live.id.clone()) } else { Refused::Busy(live.id.clone()) });
        }
        if inner.live.len() >= self.most {
            return Err(Refused::Full(self.most));
        }
        let live = Arc::new(Live {
            id: OperationId::random(),
            kind,
            course: Course::default(),
            is_over: AtomicBool::new(false),
        });
        inner.live.insert(project_id.clone(), live.clone());
        self.count.set(inner.live.len());
        Ok(Seat { live, project_id: project_id.clone(), registry: self.clone() })
    }

    /// The operation that runs in a project.
    pub(super) fn get(&self, project_id: &ProjectId) -> Option<Arc<Live>> {
        self.inner.lock().live.get(project_id).cloned()
    }

    /// Whether an operation runs here in a project, or is one of the newest that did in any.
    pub(super) fn had(&self, project_id: &ProjectId, id: &OperationId) -> bool {
        let inner = self.inner.lock();
        inner.live.get(project_id).is_some_and(|live| live.id == *id) || inner.left.contains(id)
    }

    /// Hears whenever an operation came or went.
    pub(super) fn left(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Lets nobody in any more, and tells everybody to end.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        for live in inner.live.values() {
            live.course.ask_to_end(Reason::ServerStopped);
        }
    }

    /// Resolves when nobody is here.
    pub(super) async fn emptied(&self) {
        self.count.none().await;
    }
}
