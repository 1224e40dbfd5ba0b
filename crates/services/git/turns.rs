//! The turns of reads: so many at once, in all and of one project, and a bounded number that wait for theirs.
//!
//! Guarantees: what waits for its turn holds no process and no file; a project that is read much leaves others
//! their turns; a turn is given up when it is dropped, and nothing is kept of a project that nobody reads.
//! It does not run git, and operations have no turn here: they have seats of their own.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::GitConfig;
use crate::project::ProjectId;

/// When whoever finds too many waiting is asked to come back.
const LATER_MS: u64 = 1000;

/// Those that read or wait, of one project.
#[derive(Debug)]
struct Here {
    turns: Arc<Semaphore>,
    count: usize,
}

#[derive(Debug, Default)]
struct Inner {
    count: usize,
    projects: HashMap<ProjectId, Here>,
}

/// The turns.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    of_project: usize,
    most: usize,
    most_of_project: usize,
    inner: Mutex<Inner>,
}

/// A place among those that read or wait.
#[derive(Debug)]
struct Place {
    turns: Arc<Turns>,
    project_id: ProjectId,
}

/// The turn of one read.
#[derive(Debug)]
pub(super) struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _place: Place,
}

impl Turns {
    pub(super) fn new(config: &GitConfig) -> Arc<Self> {
        let (all, of_project) = (config.max_reads.max(1), config.max_reads_per_project.max(1));
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all)),
            of_project,
            most: all + config.max_waiting_reads,
            most_of_project: of_project + config.max_waiting_reads_per_project,
            inner: Mutex::default(),
        })
    }

    /// The turn of a read that somebody asks for, once it comes.
    ///
    /// # Errors
    /// `overloaded` when as many wait as may.
    pub(super) async fn next(self: &Arc<Self>, project_id: &ProjectId) -> Result<Turn> {
        self.wait(project_id, true).await
    }

    /// The turn of a read of the server's own, once it comes. Of those there are few.
    ///
    /// # Errors
    /// Never: the turns are not closed.
    pub(super) async fn own(self: &Arc<Self>, project_id: &ProjectId) -> Result<Turn> {
        self.wait(project_id, false).await
    }

    async fn wait(self: &Arc<Self>, project_id: &ProjectId, bounded: bool) -> Result<Turn> {
        let (place, own) = self.enter(project_id, bounded)?;
        // Its project's first: who waits for that keeps nobody else from reading.
        let own = own.acquire_owned().await.map_err(|_| Error::internal())?;
        let all = self.all.clone().acquire_owned().await.map_err(|_| Error::internal())?;
        Ok(Turn { _all: all, _own: own, _place: place })
    }

    fn enter(self: &Arc<Self>, project_id: &ProjectId, bounded: bool) -> Result<(Place, Arc<Semaphore>)> {
        let mut inner = self.inner.lock();
        let own = inner.projects.get(project_id).map_or(0, |here| here.count);
        if bounded && (inner.count >= self.most || own >= self.most_of_project) {
            metrics::counter!("tidings_limited_total", "limit" => "git_reads").increment(1);
            return Err(Error::overloaded("too many reads of repositories wait").with_retry_after_ms(LATER_MS));
        }
        inner.count += 1;
        let new = || Here { turns: Arc::new(Semaphore::new(self.of_project)), count: 0 };
        let here = inner.projects.entry(project_id.clone()).or_insert_with(new);
        here.count += 1;
        let turns = here.turns.clone();
        Ok((Place { turns: self.clone(), project_id: project_id.clone() }, turns))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.turns.inner.lock();
        inner.count -= 1;
        if let Some(here) = inner.projects.get_mut(&self.project_id) {
            here.count -= 1;
            if here.count == 0 {
                inner.projects.remove(&self.project_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tidings_core::Code;

    use super::*;
    use crate::redaction::{Redaction, RedactionConfig};

    fn turns(all: usize, of_project: usize, waiting: usize, waiting_of_project: usize) -> Arc<Turns> {
        let redaction = Redaction::new(&RedactionConfig { enabled: false, patterns: Vec::new() }).expect("no pattern");
        Turns::new(&GitConfig {
            max_reads: all,
            max_reads_per_project: of_project,
            max_waiting_reads: waiting,
            max_waiting_reads_per_project: waiting_of_project,
            ..GitConfig::new(Arc::new(redaction))
        })
    }

    fn project(name: &str) -> ProjectId {
        name.parse().expect("an id")
    }

    #[tokio::test]
    async fn a_project_that_is_read_much_waits_for_itself_and_leaves_others_their_turns() {
        let turns = turns(3, 2, 10, 10);
        let (one, other) = (project("p1"), project("p2"));
        let first = turns.next(&one).await.expect("free");
        let _second = turns.next(&one).await.expect("free");
        let mut third = Box::pin(turns.next(&one));
        assert!((&mut third).now_or_never().is_none(), "two of a project at once");
        let others = turns.next(&other).await.expect("free");
        let mut full = Box::pin(turns.next(&other));
        assert!((&mut full).now_or_never().is_none(), "three at once");
        drop(first);
        // It was the first to wait for all: its project had a turn free.
        drop(full.await.expect("its turn"));
        third.await.expect("its turn");
        drop(others);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_of_a_project_and_in_all_and_nothing_is_kept_of_who_went() {
        let turns = turns(1, 1, 3, 2);
        let (one, other) = (project("p1"), project("p2"));
        let reads = turns.next(&one).await.expect("free");
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(turns.next(&one))).collect();
        waiting.iter_mut().for_each(|one| assert!(one.now_or_never().is_none()));
        let refused = turns.next(&one).await.expect_err("too many of the project");
        assert_eq!((refused.code(), refused.retry_after_ms()), (Code::Overloaded, Some(LATER_MS)));
        let mut last = Box::pin(turns.next(&other));
        assert!((&mut last).now_or_never().is_none());
        assert_eq!(turns.next(&other).await.expect_err("too many in all").code(), Code::Overloaded);
        let mut own = Box::pin(turns.own(&other));
        assert!((&mut own).now_or_never().is_none(), "it waits and is not refused");
        drop((reads, waiting, last));
        drop(own.await.expect("its turn"));
        let inner = turns.inner.lock();
        assert_eq!((inner.count, inner.projects.len(), turns.all.available_permits()), (0, 0, 1));
    }
}
