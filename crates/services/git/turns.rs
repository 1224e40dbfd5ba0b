//! The turns of reads: so many at once, in all and of one project, and a bounded number that wait for theirs.
//!
//! Guarantees: what waits for its turn holds no process and no file; turns go round between the users that wait,
//! whatever each of them has waiting, and each user's own of a project go in their order; a project that is read much
//! leaves others their turns; a turn is given up when it is dropped, and nothing is kept of whoever waits no more.
//! It does not run git, and operations have no turn here: they have seats of their own.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{Error, Result, UserId};
use tokio::sync::oneshot;

use super::config::GitConfig;
use crate::project::ProjectId;

/// When whoever finds too many waiting is asked to come back.
const LATER_MS: u64 = 1000;

/// For whom a read is: a user, or the server itself.
type Whose = Option<UserId>;

/// How many read and wait, of one project.
#[derive(Debug, Default)]
struct Here {
    running: usize,
    waiting: usize,
}

/// A read that waits.
#[derive(Debug)]
struct Waiter {
    number: u64,
    project_id: ProjectId,
    wake: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    running: usize,
    waiting: usize,
    projects: HashMap<ProjectId, Here>,
    /// What waits, by whose it is.
    queues: HashMap<Whose, VecDeque<Waiter>>,
    /// Those who wait, each once: whoever had no turn for longest first.
    round: VecDeque<Whose>,
    last: u64,
}

/// The turns.
#[derive(Debug)]
pub(super) struct Turns {
    most: usize,
    most_of_project: usize,
    most_waiting: usize,
    most_waiting_of_project: usize,
    most_waiting_of_user: usize,
    inner: Mutex<Inner>,
}

/// A place among those that wait.
#[derive(Debug)]
pub(super) struct Place {
    turns: Arc<Turns>,
    whose: Whose,
    project_id: ProjectId,
    number: u64,
    woken: oneshot::Receiver<()>,
    taken: bool,
}

/// The turn of one read.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    project_id: ProjectId,
}

impl Turns {
    pub(super) fn new(config: &GitConfig) -> Arc<Self> {
        Arc::new(Self {
            most: config.max_reads.max(1),
            most_of_project: config.max_reads_per_project.max(1),
            most_waiting: config.max_waiting_reads,
            most_waiting_of_project: config.max_waiting_reads_per_project,
            most_waiting_of_user: config.max_waiting_reads_per_user,
            inner: Mutex::default(),
        })
    }

    /// The turn of a read that a user asks for, once it comes.
    ///
    /// # Errors
    /// `overloaded` when as many wait as may.
    pub(super) async fn next(self: &Arc<Self>, user: &UserId, project_id: &ProjectId) -> Result<Turn> {
        self.enter(user, project_id).ok_or_else(too_many)?.turn().await
    }

    /// The turn of a read of the server's own, once it comes. Of those there are few.
    ///
    /// # Errors
    /// Never: whoever waits is woken.
    pub(super) async fn own(self: &Arc<Self>, project_id: &ProjectId) -> Result<Turn> {
        self.wait(None, project_id).turn().await
    }

    /// A place for a read that a user asks for; none when as many wait as may.
    pub(super) fn enter(self: &Arc<Self>, user: &UserId, project_id: &ProjectId) -> Option<Place> {
        let whose = Some(user.clone());
        {
            let inner = self.inner.lock();
            let here = inner.projects.get(project_id).map_or((0, 0), |here| (here.running, here.waiting));
            let own = inner.queues.get(&whose).map_or(0, VecDeque::len);
            let is_free = inner.running < self.most && here.0 < self.most_of_project;
            let is_full = inner.waiting >= self.most_waiting
                || here.1 >= self.most_waiting_of_project
                || own >= self.most_waiting_of_user;
            if !is_free && is_full {
                return None;
            }
        }
        Some(self.wait(whose, project_id))
    }

    fn wait(self: &Arc<Self>, whose: Whose, project_id: &ProjectId) -> Place {
        let (wake, woken) = oneshot::channel();
        let mut inner = self.inner.lock();
        inner.last += 1;
        let number = inner.last;
        inner.waiting += 1;
        inner.projects.entry(project_id.clone()).or_default().waiting += 1;
        let queue = inner.queues.entry(whose.clone()).or_default();
        queue.push_back(Waiter { number, project_id: project_id.clone(), wake });
        if queue.len() == 1 {
            inner.round.push_back(whose.clone());
        }
        self.go_round(&mut inner);
        drop(inner);
        Place { turns: self.clone(), whose, project_id: project_id.clone(), number, woken, taken: false }
    }

    /// Gives the turns that are free to those that wait.
    fn go_round(&self, inner: &mut Inner) {
        while inner.running < self.most {
            let may = |waiter: &Waiter| {
                inner.projects.get(&waiter.project_id).is_none_or(|here| here.running < self.most_of_project)
            };
            let first = |(at, whose): (usize, &Whose)| Some((at, inner.queues.get(whose)?.iter().position(may)?));
            let Some((at, place)) = inner.round.iter().enumerate().find_map(first) else { return };
            let Some(waiter) = inner.leave(at, place) else { return };
            let here = inner.projects.entry(waiter.project_id.clone()).or_default();
            here.running += 1;
            inner.running += 1;
            if waiter.wake.send(()).is_err() {
                // Whoever waited is gone without having given up its place, which nobody does.
                inner.end(&waiter.project_id);
            }
        }
    }

    fn end(&self, project_id: &ProjectId) {
        let mut inner = self.inner.lock();
        inner.end(project_id);
        self.go_round(&mut inner);
    }
}

impl Inner {
    /// Takes what waits in this place of whoever stands there in the round, who has had a turn then.
    fn leave(&mut self, at: usize, place: usize) -> Option<Waiter> {
        let whose = self.round.remove(at)?;
        let queue = self.queues.get_mut(&whose)?;
        let waiter = queue.remove(place)?;
        if queue.is_empty() {
            self.queues.remove(&whose);
        } else {
            self.round.push_back(whose);
        }
        self.waits_no_more(&waiter.project_id);
        Some(waiter)
    }

    /// Takes what waits under this number, if it still does. Its user stays where it stands in the round.
    fn give_up(&mut self, whose: &Whose, number: u64) -> bool {
        let Some(queue) = self.queues.get_mut(whose) else { return false };
        let Some(place) = queue.iter().position(|waiter| waiter.number == number) else { return false };
        let waiter = queue.remove(place);
        if queue.is_empty() {
            self.queues.remove(whose);
            self.round.retain(|other| other != whose);
        }
        waiter.is_some_and(|waiter| {
            self.waits_no_more(&waiter.project_id);
            true
        })
    }

    fn waits_no_more(&mut self, project_id: &ProjectId) {
        self.waiting -= 1;
        if let Some(here) = self.projects.get_mut(project_id) {
            here.waiting -= 1;
        }
        self.forget(project_id);
    }

    fn end(&mut self, project_id: &ProjectId) {
        self.running -= 1;
        if let Some(here) = self.projects.get_mut(project_id) {
            here.running -= 1;
        }
        self.forget(project_id);
    }

    fn forget(&mut self, project_id: &ProjectId) {
        if self.projects.get(project_id).is_some_and(|here| here.running == 0 && here.waiting == 0) {
            self.projects.remove(project_id);
        }
    }
}

impl Place {
    /// The turn, once it comes.
    ///
    /// # Errors
    /// Never: whoever waits is woken.
    pub(super) async fn turn(&mut self) -> Result<Turn> {
        (&mut self.woken).await.map_err(|_| Error::internal())?;
        self.taken = true;
        Ok(Turn { turns: self.turns.clone(), project_id: self.project_id.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let waits = self.turns.inner.lock().give_up(&self.whose, self.number);
        if !waits {
            // Its turn has come, and nobody takes it.
            self.turns.end(&self.project_id);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(&self.project_id);
    }
}

/// The refusal of a read when as many wait as may.
pub(super) fn too_many() -> Error {
    metrics::counter!("tidings_limited_total", "limit" => "git_reads").increment(1);
    Error::overloaded("too many reads of repositories wait").with_retry_after_ms(LATER_MS)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tidings_core::Code;

    use super::*;
    use crate::redaction::{Redaction, RedactionConfig};

    fn turns(all: usize, of_project: usize, waiting: usize, of_one: (usize, usize)) -> Arc<Turns> {
        let redaction = Redaction::new(&RedactionConfig { enabled: false, patterns: Vec::new() }).expect("no pattern");
        Turns::new(&GitConfig {
            max_reads: all,
            max_reads_per_project: of_project,
            max_waiting_reads: waiting,
            max_waiting_reads_per_project: of_one.0,
            max_waiting_reads_per_user: of_one.1,
            ..GitConfig::new(Arc::new(redaction))
        })
    }

    fn project(name: &str) -> ProjectId {
        name.parse().expect("an id")
    }

    fn user(name: &str) -> UserId {
        name.parse().expect("an id")
    }

    /// A place that has to wait, with its name.
    fn waits(turns: &Arc<Turns>, who: &str, project_id: &ProjectId, name: &'static str) -> (&'static str, Place) {
        let mut place = turns.enter(&user(who), project_id).expect("room");
        assert!(place.turn().now_or_never().is_none(), "{name} has to wait");
        (name, place)
    }

    /// The first place whose turn has come, and the turn.
    fn woken(places: &mut Vec<(&'static str, Place)>) -> Option<(&'static str, Turn)> {
        for at in 0..places.len() {
            if let Some(turn) = places[at].1.turn().now_or_never() {
                return Some((places.remove(at).0, turn.expect("a turn")));
            }
        }
        None
    }

    fn is_empty(turns: &Turns) -> bool {
        let inner = turns.inner.lock();
        (inner.running, inner.waiting) == (0, 0)
            && inner.projects.is_empty()
            && inner.queues.is_empty()
            && inner.round.is_empty()
    }

    #[tokio::test]
    async fn turns_go_round_between_users_and_each_users_own_go_in_their_order() {
        let turns = turns(1, 1, 100, (100, 100));
        let one = project("p1");
        let mut turn = turns.next(&user("a"), &one).await.expect("free");
        let mut places = Vec::new();
        for name in ["a1", "a2", "a3", "a4"] {
            places.push(waits(&turns, "a", &one, name));
        }
        places.push(waits(&turns, "b", &one, "b1"));
        places.push(waits(&turns, "b", &one, "b2"));
        places.push(waits(&turns, "c", &one, "c1"));
        let mut order = Vec::new();
        while !places.is_empty() {
            drop(turn);
            let (name, next) = woken(&mut places).expect("somebody's turn");
            assert!(woken(&mut places).is_none(), "one at a time");
            order.push(name);
            turn = next;
            if name == "b1" {
                places.push(waits(&turns, "c", &one, "c2"));
            }
        }
        drop(turn);
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "a4"]);
        assert!(is_empty(&turns));
    }

    #[tokio::test]
    async fn a_project_that_is_read_much_waits_for_itself_and_leaves_others_their_turns() {
        let turns = turns(3, 2, 10, (10, 10));
        let (one, other, who) = (project("p1"), project("p2"), user("a"));
        let first = turns.next(&who, &one).await.expect("free");
        let _second = turns.next(&who, &one).await.expect("free");
        let mut places = vec![waits(&turns, "a", &one, "third of the project")];
        let others = turns.next(&who, &other).await.expect("free, though somebody waits");
        places.push(waits(&turns, "a", &other, "fourth of all"));
        drop(first);
        let (name, third) = woken(&mut places).expect("its turn");
        assert_eq!((name, woken(&mut places).is_none()), ("third of the project", true));
        drop((third, others));
        assert_eq!(woken(&mut places).expect("its turn").0, "fourth of all");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_of_a_user_of_a_project_and_in_all_and_nothing_is_kept_of_who_went() {
        let turns = turns(1, 1, 4, (3, 2));
        let (one, other) = (project("p1"), project("p2"));
        let reads = turns.next(&user("a"), &one).await.expect("free");
        let mut waiting = vec![waits(&turns, "a", &one, "a1"), waits(&turns, "a", &one, "a2")];
        let refused = turns.next(&user("a"), &one).await.expect_err("too many of the user");
        assert_eq!((refused.code(), refused.retry_after_ms()), (Code::Overloaded, Some(LATER_MS)));
        assert!(turns.enter(&user("a"), &other).is_none(), "of whatever project");
        waiting.push(waits(&turns, "b", &one, "b1"));
        assert!(turns.enter(&user("c"), &one).is_none(), "too many of the project");
        waiting.push(waits(&turns, "c", &other, "c1"));
        assert!(turns.enter(&user("d"), &other).is_none(), "too many in all");
        let mut own = Box::pin(turns.own(&other));
        assert!((&mut own).now_or_never().is_none(), "it waits and is not refused");
        drop((reads, waiting));
        drop(own.await.expect("its turn"));
        assert!(is_empty(&turns));
    }

    #[tokio::test]
    async fn a_turn_that_came_to_somebody_who_went_goes_to_the_next() {
        let turns = turns(1, 1, 10, (10, 10));
        let one = project("p1");
        let reads = turns.next(&user("a"), &one).await.expect("free");
        let (_, gone) = waits(&turns, "b", &one, "b1");
        let mut places = vec![waits(&turns, "c", &one, "c1")];
        drop(reads);
        assert!(woken(&mut places).is_none(), "it is another's turn");
        drop(gone);
        assert_eq!(woken(&mut places).expect("its turn").0, "c1");
        assert!(is_empty(&turns));
    }
}
