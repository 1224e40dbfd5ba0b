//! The terminals that are open here, and who may have how many.
//!
//! Guarantees: the limits count what is here; the course of a terminal goes one way, so that a close
//! and an exit that race give one end; what is typed is taken in its writer's order, once.
//! It is not the truth about terminals that ended: that is their state.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{Code, Error, Result, UserId};
use tokio::sync::{mpsc, oneshot};

use super::{config::ShellConfig, contract::TerminalId, plan::Plan};
use crate::{count::Count, course::Course, project::ProjectId};

/// How many inputs wait for the program to read them.
pub(super) const INPUTS: usize = 16;
/// How many writers of a terminal are counted. The one that typed longest ago is forgotten first.
const WRITERS: usize = 256;

/// Why the server ends a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// This user closed it.
    Closed(UserId),
    /// Nobody watches it.
    Idle,
    /// It is a session's, which ends.
    SessionEnded,
    /// The server stops.
    ServerStopped,
    /// The log takes its output no more.
    OutputLost,
}

/// A wish for another size.
pub(super) struct Resize {
    pub(super) user: UserId,
    pub(super) cols: u16,
    pub(super) rows: u16,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

/// A terminal that is open here.
pub(super) struct Live {
    pub(super) id: TerminalId,
    user: UserId,
    project_id: ProjectId,
    /// Whether it is a session's: those are counted as sessions.
    of_session: bool,
    pub(super) course: Course<Reason>,
    pub(super) sizes: mpsc::Sender<Resize>,
    keyboard: Mutex<Keyboard>,
}

/// Where what is asked of a terminal comes out.
pub(super) struct Ears {
    pub(super) typed: mpsc::Receiver<Vec<u8>>,
    pub(super) sizes: mpsc::Receiver<Resize>,
}

/// What is typed, and by whom how much was.
struct Keyboard {
    out: mpsc::Sender<Vec<u8>>,
    counts: HashMap<Writer, u64>,
    recent: VecDeque<Writer>,
    used: bool,
}

/// Who counts inputs: a user, at one of the places where they type.
type Writer = (UserId, Option<String>);

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It goes to the program.
    New,
    /// It went before.
    Repeated,
}

impl Live {
    /// Takes an input, if it is the next of its writer.
    ///
    /// # Errors
    /// `conflict` for a hole, or once the terminal has ended; `overloaded` while too much waits. The
    /// same input may then be sent again.
    pub(super) fn take(&self, user: UserId, writer: Option<String>, seq: Option<u64>, bytes: Vec<u8>) -> Result<Taken> {
        let mut keyboard = self.keyboard.lock();
        let writer = (user, writer);
        if let Some(seq) = seq {
            let next = keyboard.counts.get(&writer).map_or(1, |last| last + 1);
            if seq < next {
                return Ok(Taken::Repeated);
            }
            if seq > next {
                let why = format!("{next} is the next one of this writer");
                return Err(Error::new(Code::Conflict, format!("inputSeq: {why}")).with_field("inputSeq", why));
            }
        }
        keyboard.out.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::overloaded("the program does not read what is typed"),
            mpsc::error::TrySendError::Closed(_) => ended(),
        })?;
        keyboard.used = true;
        if let Some(seq) = seq {
            keyboard.count(writer, seq);
        }
        Ok(Taken::New)
    }

    /// Types, waiting while the program does not read.
    ///
    /// # Errors
    /// `conflict` once the terminal has ended.
    pub(super) async fn type_in(&self, bytes: Vec<u8>) -> Result<()> {
        let out = self.keyboard.lock().out.clone();
        out.send(bytes).await.map_err(|_| ended())
    }

    /// Whether anything was typed since this was asked last.
    pub(super) fn was_used(&self) -> bool {
        std::mem::take(&mut self.keyboard.lock().used)
    }
}

impl Keyboard {
    fn count(&mut self, writer: Writer, seq: u64) {
        self.recent.retain(|known| *known != writer);
        self.recent.push_back(writer.clone());
        self.counts.insert(writer, seq);
        if self.recent.len() > WRITERS
            && let Some(oldest) = self.recent.pop_front()
        {
            self.counts.remove(&oldest);
        }
    }
}

/// The terminals that are open here.
pub(super) struct Registry {
    limits: [usize; 3],
    inner: Mutex<Inner>,
    count: Count,
}

#[derive(Default)]
struct Inner {
    live: HashMap<TerminalId, Arc<Live>>,
    closed: bool,
}

/// The place of a terminal; dropping it gives it up.
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
    pub(super) fn new(config: &ShellConfig) -> Arc<Self> {
        let limits = [config.per_user, config.per_project, config.total];
        Arc::new(Self { limits, inner: Mutex::default(), count: Count::of("terminal") })
    }

    /// Gives a terminal its place.
    ///
    /// # Errors
    /// `overloaded` at a limit, `draining` once closed.
    pub(super) fn enter(self: &Arc<Self>, plan: &Plan) -> Result<(Seat, Ears)> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Error::new(Code::Draining, "the server is stopping"));
        }
        inner.within(&self.limits, plan)?;
        let ((out, typed), (sizes, wishes)) = (mpsc::channel(INPUTS), mpsc::channel(1));
        let keyboard = Keyboard { out, counts: HashMap::new(), recent: VecDeque::new(), used: false };
        let live = Arc::new(Live {
            id: TerminalId::random(),
            user: plan.user.clone(),
            project_id: plan.project_id.clone(),
            of_session: plan.session.is_some(),
            course: Course::default(),
            sizes,
            keyboard: Mutex::new(keyboard),
        });
        inner.live.insert(live.id.clone(), live.clone());
        self.count.set(inner.live.len());
        Ok((Seat { live, registry: self.clone() }, Ears { typed, sizes: wishes }))
    }

    /// A terminal that is open here.
    pub(super) fn get(&self, id: &TerminalId) -> Option<Arc<Live>> {
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
    fn within(&self, limits: &[usize; 3], plan: &Plan) -> Result<()> {
        if plan.session.is_some() {
            return Ok(());
        }
        let own = || self.live.values().filter(|live| !live.of_session);
        let count = |of: &dyn Fn(&Live) -> bool| own().filter(|live| of(live)).count();
        let table = [
            (count(&|live| live.user == plan.user), "this user"),
            (count(&|live| live.project_id == plan.project_id), "this project"),
            (own().count(), "the server"),
        ];
        for (limit, (open, whose)) in limits.iter().zip(table) {
            if *limit > 0 && open >= *limit {
                let message = format!("{whose} has {open} terminals open, the most allowed: close one");
                return Err(Error::overloaded(message));
            }
        }
        Ok(())
    }
}

/// The refusal of what only an open terminal can do.
pub(super) fn ended() -> Error {
    Error::new(Code::Conflict, "the terminal has ended")
}
