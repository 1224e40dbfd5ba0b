//! Telling what changed: the repository is read, compared with what was told last, and the difference is told.
//!
//! Guarantees: of one project one refresh runs at a time, so that what is told is never older than what was
//! told before; many sights of changes become one refresh, and none is left out.
//! It does not watch: whoever watches says that something was seen.

use std::{path::Path, sync::Arc, time::Duration};

use tidings_core::{Event, Result, fault, panics};

use super::{
    contract::{HEAD_CHANGED, HeadChanged, STATUS_CHANGED, STATUS_FILES, Status, StatusChanged},
    place::Purpose,
    repositories::Repositories,
    status::Report,
};
use crate::{beneath::Root, blocking::blocking, fs::contract::Witness, project::ProjectId};

/// From the first sight of a change until the repository is read, and between two reads.
const PAUSE: Duration = Duration::from_millis(250);

/// A project that is being refreshed, or about to be.
#[derive(Debug, Default)]
pub(super) struct Refreshing {
    turn: tokio::sync::Mutex<()>,
    /// Whether a task is there that will read the repository, and whether something was seen since it did.
    seen: parking_lot::Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    attended: bool,
    again: bool,
}

/// Somebody who refreshes a project, or looks at who does. The last one to go takes what is kept of it along.
struct Here {
    repositories: Arc<Repositories>,
    project_id: ProjectId,
    refreshing: Arc<Refreshing>,
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut all = self.repositories.refreshing.lock();
        // The map's own and this one: nobody else is here, and nobody can come while the map is held.
        if Arc::strong_count(&self.refreshing) == 2 && !self.refreshing.seen.lock().attended {
            all.remove(&self.project_id);
        }
    }
}

/// The task that will read the repository. However it ends, the next sight begins another one.
struct Attending {
    here: Here,
    is_over: bool,
}

impl Attending {
    /// Is over, unless something was seen meanwhile.
    fn rest(&mut self) {
        let mut seen = self.here.refreshing.seen.lock();
        if !seen.again {
            seen.attended = false;
            self.is_over = true;
        }
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        if !self.is_over {
            self.here.refreshing.seen.lock().attended = false;
        }
    }
}

/// Whether a directory holds no repository.
async fn is_gone(root: &Path) -> Result<bool> {
    let root = root.to_owned();
    blocking(move || !Root::open(&root).and_then(|root| root.holds(".git")).is_ok_and(|there| there)).await
}

/// The repositories, as whoever watches files tells them of changes.
#[derive(Debug)]
pub struct Sight(pub Arc<Repositories>);

impl Witness for Sight {
    fn saw(&self, project_id: &ProjectId, root: &Path) {
        self.0.saw(project_id, root);
    }
}

impl Repositories {
    /// Notes that something in a repository may have changed. Returns at once; it is looked at soon.
    fn saw(self: &Arc<Self>, project_id: &ProjectId, root: &Path) {
        let here = self.enter(project_id);
        {
            let mut seen = here.refreshing.seen.lock();
            if seen.attended {
                seen.again = true;
                return;
            }
            *seen = Seen { attended: true, again: false };
        }
        let mut attending = Attending { here, is_over: false };
        let root = root.to_owned();
        let task = async move {
            let own = attending.here.repositories.clone();
            let mut stopping = own.ports.tasks.stopping();
            while !attending.is_over {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = &mut stopping => return,
                }
                attending.here.refreshing.seen.lock().again = false;
                let project_id = &attending.here.project_id;
                // One that panics is over, as one that fails is: what is seen next is looked at.
                let refreshed = panics::caught_in("git.refresh", async {
                    fault::here("git.refresh");
                    own.refresh(project_id, &root).await
                });
                if let Err(error) = refreshed.await.flatten() {
                    tracing::debug!(project = %project_id, %error, "a repository cannot be read");
                }
                attending.rest();
            }
        };
        self.ports.tasks.spawn("git.refresh", Box::pin(task));
    }

    fn enter(self: &Arc<Self>, project_id: &ProjectId) -> Here {
        let refreshing = self.refreshing.lock().entry(project_id.clone()).or_default().clone();
        Here { repositories: self.clone(), project_id: project_id.clone(), refreshing }
    }

    /// Reads the repository and tells what is different from what was told last: how it is.
    pub(super) async fn refresh(self: &Arc<Self>, project_id: &ProjectId, root: &Path) -> Result<Option<Status>> {
        let here = self.enter(project_id);
        let _turn = here.refreshing.turn.lock().await;
        self.refresh_alone(project_id, root).await
    }

    async fn refresh_alone(&self, project_id: &ProjectId, root: &Path) -> Result<Option<Status>> {
        let Some(state) = self.project(project_id).await?.filter(|state| state.is_open()) else { return Ok(None) };
        let known = state.git.status;
        let turn = self.turns.own(project_id).await?;
        let report = match self.git.repository(root, Purpose::Read).await {
            Ok(place) => self.git.status(&place, STATUS_FILES).await?,
            // There was one, and now there is none.
            Err(error) if known.is_some() && is_gone(root).await? => {
                tracing::debug!(%error, "a repository is gone");
                Report::default()
            }
            Err(error) => return Err(error),
        };
        drop(turn);
        let Report { status, files, more } = report;
        let before = known.clone().unwrap_or_default();
        let mut events = Vec::new();
        if (&before.head, &before.branch) != (&status.head, &status.branch) {
            let (head, branch) = (status.head.clone(), status.branch.clone());
            let data = HeadChanged { project_id: project_id.clone(), head, branch, previous: before.head };
            events.push(Event::new(HEAD_CHANGED, data));
        }
        if known.as_ref() != Some(&status) {
            let data = StatusChanged { project_id: project_id.clone(), status: status.clone(), files, more };
            events.push(Event::new(STATUS_CHANGED, data));
        }
        if !events.is_empty() {
            self.ports.bus.reserve().await?.send_all(events).await?;
        }
        Ok(Some(status))
    }
}
