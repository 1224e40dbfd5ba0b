//! Looks at how repositories are: one for all who ask before it begins.
//!
//! Guarantees: an answer is never older than its question; each user who asks waits for a turn of its own, and the
//! first that comes to one of them is for all, so that nobody waits behind what somebody else has waiting; a user who
//! asks twice has one place.
//! It does not look: that is `reading`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::{FutureExt, Shared};
use parking_lot::Mutex;
use tidings_core::{BoxFuture, Result, UserId};
use tokio::sync::oneshot;

use super::{
    status::Report,
    turns::{Place, Turn, Turns, too_many},
};
use crate::project::ProjectId;

/// What a look gives.
pub(super) type Seen = Result<Arc<Report>>;
/// What those who wait for a look are told; nothing where nobody looks any more.
pub(super) type Told = Shared<BoxFuture<'static, Option<Seen>>>;

/// Those who wait for one look at a project.
struct Gathering {
    number: u64,
    /// Whose turn the look may begin with. Each has a place.
    users: HashSet<UserId>,
    tell: oneshot::Sender<Seen>,
    told: Told,
}

#[derive(Default)]
struct Inner {
    gatherings: HashMap<ProjectId, Gathering>,
    last: u64,
}

/// The looks that have not begun.
#[derive(Default)]
pub(super) struct Looks(Mutex<Inner>);

/// A place with whose turn a look may begin.
pub(super) struct Ticket {
    looks: Arc<Looks>,
    project_id: ProjectId,
    user: UserId,
    number: u64,
    place: Place,
}

impl Looks {
    /// Joins those who wait for a look at a project. With a ticket, unless the user has one already or as many wait as
    /// may: then somebody else's turn is waited for.
    ///
    /// # Errors
    /// `overloaded` when as many wait as may and nobody waits for this look.
    pub(super) fn join(
        self: &Arc<Self>,
        turns: &Arc<Turns>,
        user: &UserId,
        project_id: &ProjectId,
    ) -> Result<(Told, Option<Ticket>)> {
        let mut inner = self.0.lock();
        let ticket = |number, place| Ticket {
            looks: self.clone(),
            project_id: project_id.clone(),
            user: user.clone(),
            number,
            place,
        };
        if let Some(gathering) = inner.gatherings.get_mut(project_id) {
            let place = if gathering.users.contains(user) { None } else { turns.enter(user, project_id) };
            if place.is_some() {
                gathering.users.insert(user.clone());
            }
            return Ok((gathering.told.clone(), place.map(|place| ticket(gathering.number, place))));
        }
        let place = turns.enter(user, project_id).ok_or_else(too_many)?;
        inner.last += 1;
        let number = inner.last;
        let (tell, hears) = oneshot::channel();
        let told: BoxFuture<'static, Option<Seen>> = Box::pin(hears.map(Result::ok));
        let told = told.shared();
        let users = HashSet::from([user.clone()]);
        inner.gatherings.insert(project_id.clone(), Gathering { number, users, tell, told: told.clone() });
        drop(inner);
        Ok((told, Some(ticket(number, place))))
    }
}

impl Ticket {
    /// The turn, once it comes.
    ///
    /// # Errors
    /// Never: whoever waits is woken.
    pub(super) async fn turn(&mut self) -> Result<Turn> {
        self.place.turn().await
    }

    /// Begins the look: whoever asks from now on waits for another one. Nothing where somebody has begun it.
    pub(super) fn begin(&self) -> Option<oneshot::Sender<Seen>> {
        let mut inner = self.looks.0.lock();
        inner.gatherings.get(&self.project_id).filter(|gathering| gathering.number == self.number)?;
        inner.gatherings.remove(&self.project_id).map(|gathering| gathering.tell)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.looks.0.lock();
        let Some(gathering) = inner.gatherings.get_mut(&self.project_id) else { return };
        if gathering.number != self.number {
            return;
        }
        gathering.users.remove(&self.user);
        if gathering.users.is_empty() {
            inner.gatherings.remove(&self.project_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        git::config::GitConfig,
        redaction::{Redaction, RedactionConfig},
    };

    fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
        name.parse().expect("an id")
    }

    #[tokio::test]
    async fn one_look_is_for_all_who_asked_before_it_began_and_begins_with_the_first_turn() {
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let config = GitConfig { max_reads: 1, max_waiting_reads: 4, ..GitConfig::new(redaction) };
        let (turns, looks, project) = (Turns::new(&config), Arc::<Looks>::default(), id::<ProjectId>("p1"));
        let join = |user: &str| looks.join(&turns, &id(user), &project);
        let reads = turns.next(&id("a"), &project).await.expect("free");
        let mut waits = Vec::new();
        for _ in 0..2 {
            waits.push(turns.enter(&id("a"), &project).expect("room"));
        }
        // Whoever has much waiting asks first, and again.
        let (of_a, mut ticket_of_a) = join("a").expect("room");
        assert!(join("a").expect("shares").1.is_none(), "one place a user");
        let (of_b, mut ticket_of_b) = join("b").expect("room");
        let (of_c, without) = join("c").expect("shares, though as many wait as may");
        assert!(without.is_none());
        drop(reads);
        let first_of_a = waits.remove(0).turn().await.expect("its turn");
        drop(first_of_a);
        // The next turn is the other user's, and the look begins.
        let ticket = ticket_of_b.as_mut().expect("a ticket");
        let turn = ticket.turn().await.expect("its turn");
        let tell = ticket.begin().expect("it begins");
        let (late, _ticket) = join("d").expect("another look");
        tell.send(Ok(Arc::default())).expect("somebody waits");
        for told in [of_a, of_b, of_c] {
            assert!(told.now_or_never().flatten().is_some_and(|seen| seen.is_ok()));
        }
        assert!(late.now_or_never().is_none(), "it has not begun");
        assert!(ticket_of_a.as_mut().expect("a ticket").begin().is_none(), "somebody has begun it");
        drop((turn, ticket_of_a, ticket_of_b));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_look_that_nobody_makes_any_more_is_told() {
        let redaction = Arc::new(Redaction::new(&RedactionConfig::default()).expect("compiles"));
        let (turns, looks) = (Turns::new(&GitConfig::new(redaction)), Arc::<Looks>::default());
        let project = id::<ProjectId>("p1");
        let (_, ticket) = looks.join(&turns, &id("a"), &project).expect("room");
        let (told, second) = looks.join(&turns, &id("a"), &project).expect("shares");
        assert!(second.is_none());
        drop(ticket);
        assert!(told.await.is_none());
        assert!(looks.0.lock().gatherings.is_empty());
    }
}
