//! The runs that are open here, and who may have how many.
//!
//! Guarantees: one task a run; the limits count what is here.
//! It is not the truth about runs: that is their state.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{Code, Error, Result, UserId};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    config::Limits,
    contract::{Decision, RunId},
};
use crate::{count::Count, project::ProjectId};

/// What is asked of a run.
#[derive(Debug)]
pub(super) enum Request {
    /// To end.
    Cancel,
    /// To take the answer to what it waits for.
    Answer { step_id: String, decision: Decision },
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: UserId,
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

#[derive(Debug)]
struct Live {
    user: Option<UserId>,
    project_id: ProjectId,
    requests: mpsc::Sender<Asked>,
}

/// The runs that are open here.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    inner: Mutex<Inner>,
    count: Count,
    /// Whether the server stops.
    stopping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<RunId, Live>,
    closed: bool,
}

/// The place of a run; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: RunId,
    pub(super) requests: mpsc::Receiver<Asked>,
    registry: Arc<Registry>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        inner.live.remove(&self.id);
        self.registry.count.set(inner.live.len());
    }
}

/// Whose run it is, and where.
#[derive(Debug, Clone)]
pub(super) struct Whose {
    pub(super) user: Option<UserId>,
    pub(super) project_id: ProjectId,
}

/// How many requests to one run wait.
const REQUESTS: usize = 8;

impl Registry {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let (count, stopping) = (Count::of("run"), watch::Sender::new(false));
        Arc::new(Self { limits, inner: Mutex::default(), count, stopping })
    }

    /// Gives a run its place. `again` for one of a former life, which had its place already.
    ///
    /// # Errors
    /// `overloaded` at a limit, `draining` once closed.
    pub(super) fn enter(self: &Arc<Self>, id: RunId, whose: Whose, again: bool) -> Result<Seat> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Error::new(Code::Draining, "the server is stopping"));
        }
        if !again {
            inner.within(&self.limits, &whose)?;
        }
        let (requests, asked) = mpsc::channel(REQUESTS);
        inner.live.insert(id.clone(), Live { user: whose.user, project_id: whose.project_id, requests });
        self.count.set(inner.live.len());
        Ok(Seat { id, requests: asked, registry: self.clone() })
    }

    /// Where requests to a run that is open here go.
    pub(super) fn mouth(&self, id: &RunId) -> Option<mpsc::Sender<Asked>> {
        self.inner.lock().live.get(id).map(|live| live.requests.clone())
    }

    /// Lets nobody in any more, and tells everybody that the server stops.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.stopping.send_replace(true);
    }

    /// Whether the server stops.
    pub(super) fn is_closed(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves when the server stops.
    pub(super) async fn closed(&self) {
        // The sender lives as long as the registry, so the wait ends only with the condition.
        drop(self.stopping.subscribe().wait_for(|stopping| *stopping).await);
    }

    /// Resolves when nobody is here.
    pub(super) async fn emptied(&self) {
        self.count.none().await;
    }
}

impl Inner {
    fn within(&self, limits: &Limits, whose: &Whose) -> Result<()> {
        let count = |of: &dyn Fn(&Live) -> bool| self.live.values().filter(|live| of(live)).count();
        let table = [
            (limits.per_user, count(&|live| live.user == whose.user), "this user"),
            (limits.per_project, count(&|live| live.project_id == whose.project_id), "this project"),
            (limits.total, self.live.len(), "the server"),
        ];
        for (limit, open, whose) in table {
            if limit > 0 && open >= limit {
                let message = format!("{whose} has {open} runs open, the most allowed: wait for an end, or cancel one");
                return Err(Error::overloaded(message));
            }
        }
        Ok(())
    }
}
