//! The sessions that run here, and who may have how many.
//!
//! Guarantees: one session an id and one an idempotency key at a time; the limits count what is
//! here; the course of a session goes one way, so that a cancel and an exit that race give one end.
//! It is not the truth about sessions that ended: that is their state.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::Shared;
use parking_lot::Mutex;
use tidings_core::{BoxFuture, Code, Error, Result, UserId};
use tokio::sync::{mpsc, oneshot};

use super::{
    agent::Request,
    config::Limits,
    contract::SessionId,
    inbox::Inbox,
    plan::{Key, Plan},
    pulse::Pulse,
};
use crate::{count::Count, course::Course, project::ProjectId};

/// Resolves once the start of a session is durable: to its id, which is an earlier one's if its key was used.
pub(super) type Begun = Shared<BoxFuture<'static, Result<SessionId>>>;

/// Why the server ends a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// This user cancelled it.
    Cancelled(UserId),
    /// The server stops.
    ServerStopped,
    /// It ran too long.
    Timeout,
    /// It printed too much.
    OutputLimit,
    /// It worked and printed nothing for too long.
    Silent,
    /// It has answered and does not end.
    Lingering,
    /// It does not read what it is told.
    InputStuck,
    /// The log takes its output no more.
    OutputLost,
}

/// A session that runs here.
pub(super) struct Live {
    pub(super) id: SessionId,
    pub(super) user: UserId,
    pub(super) project_id: ProjectId,
    pub(super) key: Option<Key>,
    pub(super) course: Course<Reason>,
    /// What it does.
    pub(super) pulse: Pulse,
    /// Where requests to pause and to go on arrive.
    pub(super) controls: mpsc::Sender<Control>,
    /// How it takes what people say.
    pub(super) ear: Ear,
    pub(super) begun: Begun,
}

/// How a session takes what people say to it.
pub(super) enum Ear {
    /// As lines for its standard input.
    Lines(Inbox),
    /// As an agent that speaks a format of its own.
    Agent(mpsc::Sender<Request>),
}

/// To stop all processes of a program, or to let them go on.
pub(super) struct Control {
    pub(super) user: UserId,
    pub(super) pause: bool,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

impl Live {
    /// Takes no messages any more.
    pub(super) fn close(&self) {
        if let Ear::Lines(inbox) = &self.ear {
            inbox.close();
        }
    }
}

/// Where what is asked of a session goes in.
pub(super) struct Mouths {
    pub(super) ear: Ear,
    pub(super) controls: mpsc::Sender<Control>,
}

/// What came of entering a session.
pub(super) enum Entry {
    /// It has its place, until the seat is dropped.
    New(Seat),
    /// One with the same key is here already.
    Same(Arc<Live>),
}

/// The sessions that run here.
pub(super) struct Registry {
    limits: Limits,
    inner: Mutex<Inner>,
    count: Count,
}

#[derive(Default)]
struct Inner {
    live: HashMap<SessionId, Arc<Live>>,
    closed: bool,
}

/// The place of a session; dropping it gives it up.
pub(super) struct Seat {
    pub(super) live: Arc<Live>,
    registry: Arc<Registry>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        inner.live.remove(&self.live.id);
        self.registry.count.set(inner.live.len());
    }
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inner: Mutex::default(), count: Count::of("session") })
    }

    /// Gives a session its place.
    ///
    /// # Errors
    /// `overloaded` at a limit, `draining` once closed, `conflict` for a key under which something
    /// else is starting.
    pub(super) fn enter(self: &Arc<Self>, plan: &Plan, id: SessionId, mouths: Mouths, begun: Begun) -> Result<Entry> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Error::new(Code::Draining, "the server is stopping"));
        }
        if let Some(key) = &plan.key {
            let same = |live: &&Arc<Live>| live.key.as_ref().is_some_and(|other| other.name == key.name);
            if let Some(live) = inner.live.values().find(same) {
                return if live.key.as_ref() == Some(key) {
                    Ok(Entry::Same(live.clone()))
                } else {
                    Err(other_request())
                };
            }
        }
        inner.within(&self.limits, plan)?;
        let live = Arc::new(Live {
            id: id.clone(),
            user: plan.user.clone(),
            project_id: plan.project_id.clone(),
            key: plan.key.clone(),
            course: Course::default(),
            pulse: Pulse::default(),
            controls: mouths.controls,
            ear: mouths.ear,
            begun,
        });
        inner.live.insert(id, live.clone());
        self.count.set(inner.live.len());
        Ok(Entry::New(Seat { live, registry: self.clone() }))
    }

    /// A session that runs here.
    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Live>> {
        self.inner.lock().live.get(id).cloned()
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

impl Inner {
    fn within(&self, limits: &Limits, plan: &Plan) -> Result<()> {
        let count = |of: &dyn Fn(&Live) -> bool| self.live.values().filter(|live| of(live)).count();
        let table = [
            (limits.per_user, count(&|live| live.user == plan.user), "this user"),
            (limits.per_project, count(&|live| live.project_id == plan.project_id), "this project"),
            (limits.total, self.live.len(), "the server"),
        ];
        for (limit, running, whose) in table {
            if limit > 0 && running >= limit {
                let message =
                    format!("{whose} has {running} sessions running, the most allowed: wait for an end, or cancel one");
                return Err(Error::overloaded(message));
            }
        }
        Ok(())
    }
}

/// The refusal of a key that is known with another request.
pub(super) fn other_request() -> Error {
    Error::new(Code::Conflict, "another request was made under this idempotencyKey")
}
