//! The operations that run here and those that wait for their turn: one runs in a project, so many run in all, and the
//! others stand in line.
//!
//! Guarantees: whoever has its turn is alone in the project; those of a project come in the order in which they were
//! asked for; between projects the next turn is for the user who has the fewest running, so that nobody keeps others
//! out by asking for much; what waits is bounded of a project, of a user and in all; whoever gives up its place, in
//! whatever way, makes room for the next; the course of an operation goes one way.
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

use super::{
    config::GitConfig,
    contract::{Kind, OperationId},
};
use crate::{count::Count, course::Course, project::ProjectId};

/// When whoever finds too many waiting is asked to come back.
const LATER_MS: u64 = 1000;
/// How many that left are known.
const LEFT: usize = 4096;

/// Why an operation is ended before git does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// This user cancelled it.
    Cancelled(UserId),
    /// The server stops.
    ServerStopped,
}

/// An operation that runs here, or waits for its turn.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: OperationId,
    /// What it does; nothing of what only holds the place.
    pub(super) kind: Option<Kind>,
    pub(super) course: Course<Reason>,
    user: UserId,
    /// Its place in the order of all.
    number: u64,
    turn: watch::Sender<bool>,
    is_over: AtomicBool,
}

impl Live {
    /// Its work is done, and its end is about to be told: whoever hears of that may begin the next one.
    pub(super) fn is_over_now(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// How many run, and how many wait.
#[derive(Debug, Clone, Copy)]
struct Limits {
    running: usize,
    waiting: usize,
    waiting_of_project: usize,
    waiting_of_user: usize,
}

/// The operations.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    inner: Mutex<Inner>,
    running: Count,
    waiting: Count,
}

/// What one user has here.
#[derive(Debug, Default)]
struct Own {
    running: usize,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Inner {
    running: HashMap<ProjectId, Arc<Live>>,
    /// Those that wait, by project, the first one first. No line is empty.
    lines: HashMap<ProjectId, VecDeque<Arc<Live>>>,
    waiting: usize,
    users: HashMap<UserId, Own>,
    last: u64,
    /// The newest that left, the oldest first.
    left: VecDeque<OperationId>,
    closed: bool,
}

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
        inner.leave(&self.project_id, &self.live);
        self.registry.go_on(&mut inner);
    }
}

impl Seat {
    /// Where the operation works.
    pub(super) fn project_id(&self) -> &ProjectId {
        &self.project_id
    }

    /// Whether it is its turn.
    pub(super) fn has_turn(&self) -> bool {
        *self.live.turn.borrow()
    }

    /// Whether the one that is before it is about to leave, and nobody is between them.
    pub(super) fn is_next_soon(&self) -> bool {
        let inner = self.registry.inner.lock();
        let is_first =
            inner.lines.get(&self.project_id).and_then(VecDeque::front).is_some_and(|it| it.id == self.live.id);
        let before = inner.running.get(&self.project_id);
        is_first && before.is_some_and(|before| before.is_over.load(Ordering::Acquire))
    }

    /// Resolves once it is its turn, with true; with false where it is to end without one.
    pub(super) async fn turn(&self) -> bool {
        let mut turn = self.live.turn.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as this place.
            came = turn.wait_for(|turn| *turn) => came.is_ok(),
            () = self.live.course.turned() => false,
        }
    }
}

/// Why an operation has no place now.
#[derive(Debug)]
pub(super) enum Refused {
    /// This one runs in the project, or waits there.
    Busy(OperationId),
    /// As many wait as may: of what.
    Full(&'static str),
    /// The server stops.
    Stopping,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy(id) => {
                let message = format!("the operation {id} runs in this repository: wait for its end, or cancel it");
                Self::new(Code::Conflict, message)
            }
            Refused::Full(of) => {
                metrics::counter!("tidings_limited_total", "limit" => "git_operations").increment(1);
                Self::overloaded(format!("too many operations {of} wait for their turn")).with_retry_after_ms(LATER_MS)
            }
            Refused::Stopping => Self::new(Code::Draining, "the server is stopping"),
        }
    }
}

impl Registry {
    pub(super) fn new(config: &GitConfig) -> Arc<Self> {
        let limits = Limits {
            running: config.max_operations.max(1),
            waiting: config.max_waiting_operations,
            waiting_of_project: config.max_waiting_operations_per_project,
            waiting_of_user: config.max_waiting_operations_per_user,
        };
        let (running, waiting) = (Count::of("operation"), Count::of("waiting_operation"));
        Arc::new(Self { limits, inner: Mutex::default(), running, waiting })
    }

    /// Gives an operation that a user asks for its place: its turn, or one in line.
    ///
    /// # Errors
    /// Where as many wait as may, and once closed.
    pub(super) fn enter(self: &Arc<Self>, project_id: &ProjectId, kind: Kind, user: &UserId) -> Result<Seat, Refused> {
        let mut inner = self.inner.lock();
        if !inner.is_free(project_id, self.limits.running) {
            inner.has_room(project_id, user, &self.limits)?;
        }
        self.join(&mut inner, project_id, Some(kind), user)
    }

    /// The same for what the server needs itself to do what a user was allowed: of those there are few, and they wait.
    ///
    /// # Errors
    /// Once closed.
    pub(super) fn enter_anyway(
        self: &Arc<Self>,
        project_id: &ProjectId,
        kind: Kind,
        user: &UserId,
    ) -> Result<Seat, Refused> {
        self.join(&mut self.inner.lock(), project_id, Some(kind), user)
    }

    /// Holds the place of a project in which nothing runs and nothing waits.
    ///
    /// # Errors
    /// Where something does, and once closed.
    pub(super) fn enter_alone(self: &Arc<Self>, project_id: &ProjectId, user: &UserId) -> Result<Seat, Refused> {
        let mut inner = self.inner.lock();
        let there = inner.running.get(project_id).or_else(|| inner.lines.get(project_id)?.front());
        if let Some(there) = there {
            return Err(Refused::Busy(there.id.clone()));
        }
        if inner.running.len() >= self.limits.running {
            return Err(Refused::Full("of all projects"));
        }
        self.join(&mut inner, project_id, None, user)
    }

    fn join(
        self: &Arc<Self>,
        inner: &mut Inner,
        project_id: &ProjectId,
        kind: Option<Kind>,
        user: &UserId,
    ) -> Result<Seat, Refused> {
        if inner.closed {
            return Err(Refused::Stopping);
        }
        inner.last += 1;
        let live = Arc::new(Live {
            id: OperationId::random(),
            kind,
            course: Course::default(),
            user: user.clone(),
            number: inner.last,
            turn: watch::Sender::new(false),
            is_over: AtomicBool::new(false),
        });
        inner.lines.entry(project_id.clone()).or_default().push_back(live.clone());
        inner.waiting += 1;
        inner.users.entry(user.clone()).or_default().waiting += 1;
        self.go_on(inner);
        Ok(Seat { live, project_id: project_id.clone(), registry: self.clone() })
    }

    /// Gives the turns that are free to those that wait.
    fn go_on(&self, inner: &mut Inner) {
        while !inner.closed && inner.running.len() < self.limits.running {
            let Some(project_id) = inner.next() else { break };
            let Some(live) = inner.take_first(&project_id) else { break };
            inner.users.entry(live.user.clone()).or_default().running += 1;
            live.turn.send_replace(true);
            inner.running.insert(project_id, live);
        }
        self.waiting.set(inner.waiting);
        self.running.set(inner.running.len());
    }

    /// The operation that runs in a project.
    pub(super) fn get(&self, project_id: &ProjectId) -> Option<Arc<Live>> {
        self.inner.lock().running.get(project_id).cloned()
    }

    /// The operation of this id in a project, whether it runs or waits.
    pub(super) fn find(&self, project_id: &ProjectId, id: &OperationId) -> Option<Arc<Live>> {
        let inner = self.inner.lock();
        let mut all =
            inner.running.get(project_id).into_iter().chain(inner.lines.get(project_id).into_iter().flatten());
        all.find(|live| live.id == *id).cloned()
    }

    /// Whether an operation runs or waits here in a project, or is one of the newest that did in any.
    pub(super) fn had(&self, project_id: &ProjectId, id: &OperationId) -> bool {
        self.find(project_id, id).is_some() || self.inner.lock().left.contains(id)
    }

    /// Hears whenever an operation began or left.
    pub(super) fn left(&self) -> watch::Receiver<usize> {
        self.running.subscribe()
    }

    /// Lets nobody in any more, and tells everybody to end.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        for live in inner.running.values().chain(inner.lines.values().flatten()) {
            live.course.ask_to_end(Reason::ServerStopped);
        }
    }

    /// Resolves when nobody is here. Once closed, nobody comes.
    pub(super) async fn emptied(&self) {
        self.waiting.none().await;
        self.running.none().await;
    }
}

impl Inner {
    /// Whether whoever comes now has its turn at once.
    fn is_free(&self, project_id: &ProjectId, most: usize) -> bool {
        self.running.len() < most && !self.running.contains_key(project_id) && !self.lines.contains_key(project_id)
    }

    fn has_room(&self, project_id: &ProjectId, user: &UserId, limits: &Limits) -> Result<(), Refused> {
        let of_user = self.users.get(user).map_or(0, |own| own.waiting);
        let of_project = self.lines.get(project_id).map_or(0, VecDeque::len);
        if of_user >= limits.waiting_of_user {
            return Err(Refused::Full("of yours"));
        }
        if of_project >= limits.waiting_of_project {
            return Err(Refused::Full("of this project"));
        }
        if self.waiting >= limits.waiting {
            return Err(Refused::Full("of all projects"));
        }
        Ok(())
    }

    /// The project whose first in line is next: of the user with the fewest running, and of those the first.
    fn next(&self) -> Option<ProjectId> {
        let free = self.lines.iter().filter(|(project_id, _)| !self.running.contains_key(*project_id));
        let firsts = free.filter_map(|(project_id, line)| {
            let first = line.front()?;
            let running = self.users.get(&first.user).map_or(0, |own| own.running);
            Some(((running, first.number), project_id))
        });
        firsts.min_by_key(|(order, _)| *order).map(|(_, project_id)| project_id.clone())
    }

    fn take_first(&mut self, project_id: &ProjectId) -> Option<Arc<Live>> {
        let first = self.lines.get(project_id)?.front()?.clone();
        self.wait_no_more(project_id, &first);
        Some(first)
    }

    /// Takes one out of its line.
    fn wait_no_more(&mut self, project_id: &ProjectId, live: &Live) {
        let Some(line) = self.lines.get_mut(project_id) else { return };
        let before = line.len();
        line.retain(|other| other.number != live.number);
        if line.len() == before {
            return;
        }
        if line.is_empty() {
            self.lines.remove(project_id);
        }
        self.waiting -= 1;
        if let Some(own) = self.users.get_mut(&live.user) {
            own.waiting -= 1;
        }
    }

    fn leave(&mut self, project_id: &ProjectId, live: &Live) {
        if self.running.get(project_id).is_some_and(|running| running.number == live.number) {
            self.running.remove(project_id);
            if let Some(own) = self.users.get_mut(&live.user) {
                own.running -= 1;
            }
        } else {
            self.wait_no_more(project_id, live);
        }
        if self.users.get(&live.user).is_some_and(|own| own.running == 0 && own.waiting == 0) {
            self.users.remove(&live.user);
        }
        if self.left.len() == LEFT {
            self.left.pop_front();
        }
        self.left.push_back(live.id.clone());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::redaction::{Redaction, RedactionConfig};

    fn registry(running: usize, waiting: usize, of_project: usize, of_user: usize) -> Arc<Registry> {
        let redaction = Redaction::new(&RedactionConfig { enabled: false, patterns: Vec::new() }).expect("no pattern");
        Registry::new(&GitConfig {
            max_operations: running,
            max_waiting_operations: waiting,
            max_waiting_operations_per_project: of_project,
            max_waiting_operations_per_user: of_user,
            ..GitConfig::new(Arc::new(redaction))
        })
    }

    fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
        name.parse().expect("an id")
    }

    fn enter(registry: &Arc<Registry>, project: &str, user: &str) -> Result<Seat, Refused> {
        registry.enter(&id(project), Kind::Add, &id(user))
    }

    fn is_empty(registry: &Registry) -> bool {
        let inner = registry.inner.lock();
        inner.running.is_empty() && inner.lines.is_empty() && inner.users.is_empty() && inner.waiting == 0
    }

    #[test]
    fn those_of_a_project_come_one_after_the_other_in_their_order_and_whoever_goes_makes_room() {
        let registry = registry(8, 100, 100, 100);
        let mut line: VecDeque<Seat> = (0..5).map(|_| enter(&registry, "p1", "a").expect("room")).collect();
        let other = enter(&registry, "p2", "a").expect("room");
        assert!(other.has_turn(), "projects do not wait for each other");
        // One in the middle gives up.
        let gone = line.remove(2).expect("there");
        assert!(!gone.has_turn());
        drop(gone);
        while let Some(first) = line.pop_front() {
            assert!(first.has_turn() && line.iter().all(|seat| !seat.has_turn()));
        }
        drop(other);
        assert!(is_empty(&registry));
    }

    #[test]
    fn the_next_turn_is_for_who_has_the_fewest_running() {
        let registry = registry(2, 100, 100, 100);
        let running: Vec<Seat> = ["p1", "p2"].map(|project| enter(&registry, project, "a").expect("room")).into();
        let much: Vec<Seat> =
            (3..9).map(|number| enter(&registry, &format!("p{number}"), "a").expect("room")).collect();
        let of_another = enter(&registry, "p9", "b").expect("room");
        drop(running);
        assert!(of_another.has_turn(), "it came last, and has none running");
        assert_eq!(much.iter().map(Seat::has_turn).filter(|turn| *turn).count(), 1);
        assert!(much[0].has_turn());
    }

    #[test]
    fn what_waits_is_bounded_of_a_user_of_a_project_and_in_all_and_is_told_so() {
        let registry = registry(1, 4, 3, 2);
        let mut held = vec![enter(&registry, "p1", "a").expect("free")];
        held.extend((0..2).map(|_| enter(&registry, "p1", "a").expect("room")));
        for project in ["p1", "p2"] {
            let refused = Error::from(enter(&registry, project, "a").expect_err("too many of the user"));
            assert_eq!((refused.code(), refused.retry_after_ms()), (Code::Overloaded, Some(LATER_MS)), "{refused}");
        }
        held.push(enter(&registry, "p1", "b").expect("room"));
        assert!(matches!(enter(&registry, "p1", "c"), Err(Refused::Full("of this project"))));
        held.push(enter(&registry, "p2", "c").expect("room"));
        assert!(matches!(enter(&registry, "p3", "d"), Err(Refused::Full("of all projects"))));
        held.push(registry.enter_anyway(&id("p1"), Kind::WorktreeAdd, &id("a")).expect("the server's own waits"));
        drop(held);
        assert!(is_empty(&registry));
        enter(&registry, "p1", "a").expect("free");
    }

    #[tokio::test]
    async fn one_that_waits_hears_of_its_turn_or_of_its_end_and_nobody_has_a_turn_after_the_close() {
        let registry = registry(1, 10, 10, 10);
        let first = enter(&registry, "p1", "a").expect("free");
        let (second, third) = (enter(&registry, "p1", "a").expect("room"), enter(&registry, "p1", "a").expect("room"));
        assert!(second.turn().now_or_never().is_none());
        let found = registry.find(&id("p1"), &second.live.id).expect("it waits there");
        found.course.ask_to_end(Reason::Cancelled(id("b")));
        assert!(!second.turn().await, "it ends without one");
        first.live.is_over_now();
        assert!(second.is_next_soon() && !third.is_next_soon());
        drop(second);
        assert!(third.is_next_soon());
        assert!(matches!(registry.enter_alone(&id("p1"), &id("a")), Err(Refused::Busy(_))));
        registry.close();
        drop(first);
        assert!(!third.turn().await && !third.has_turn());
        assert!(matches!(enter(&registry, "p2", "a"), Err(Refused::Stopping)));
        assert!(registry.emptied().now_or_never().is_none());
        drop(third);
        registry.emptied().await;
    }
}
