//! Working trees for what runs in a project: made where they are not there yet.
//!
//! Guarantees: a tree is made by an operation like any other, which is told; whoever wants one waits until the
//! repository is free, and two who want the same one get it.
//! It is not the removal: what was done in a tree is somebody's work.

use std::{path::PathBuf, sync::Arc};

use tidings_core::{Code, Error, Result, UserId};
use tokio::sync::oneshot;

use super::{
    input::{Worktree, WorktreeAdd},
    job::Job,
    repositories::Repositories,
};
use crate::project::{Place, ProjectId};

impl Repositories {
    /// The directory of a working tree, for a user who may change the project. It is made unless it is there.
    ///
    /// # Errors
    /// `conflict` with what git said, or where there is no repository; `not_found` for a project that is not
    /// there; `invalid_data` for a tree that leads out of it; `overloaded`, `draining`, `unavailable`.
    pub async fn worktree(self: Arc<Self>, user: UserId, project_id: ProjectId, tree: Worktree) -> Result<PathBuf> {
        let root = self.root(&project_id).await?;
        loop {
            if root.join(tree.directory()).symlink_metadata().is_ok() {
                let cwd = tree.directory();
                let find = tokio::task::spawn_blocking(move || Place::find(&root, Some(&cwd)));
                return Ok(find.await.map_err(|_| Error::internal())??.dir);
            }
            let Worktree { name, branch, create, from } = tree.clone();
            let job = Job::from(WorktreeAdd { project_id: project_id.clone(), name, branch, create, from });
            let (over, outcome) = oneshot::channel();
            match self.clone().start(user.clone(), job, Some(over)).await {
                Ok(_) => outcome.await.unwrap_or_else(|_| Err(Error::internal()))?,
                // Another operation runs: its end is waited for.
                Err(error) if error.code() == Code::Conflict && self.registry.get(&project_id).is_some() => {
                    self.registry.freed(&project_id).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
