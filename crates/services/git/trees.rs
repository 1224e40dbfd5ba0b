//! Working trees for what runs in a project: made where they are not there yet.
//!
//! Guarantees: a tree is made by an operation like any other, which is told; nobody gets one that is still being
//! made or removed, or that a killed server left half made; whoever wants one waits until the repository is
//! free, and two who want the same one get it.
//! It is not the removal: what was done in a tree is somebody's work.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_core::{Code, Error, Result, UserId};
use tokio::sync::oneshot;

use super::{
    contract::Kind,
    execute::Purpose,
    input::{Worktree, WorktreeAdd},
    job::Job,
    operation::outcome,
    registry::Seat,
    repositories::Repositories,
};
use crate::{
    blocking::blocking,
    project::{Place, ProjectId},
};

/// What git writes into the lock of a tree that it is making.
const BEING_MADE: &str = "initializing";
/// The most bytes of a file in which git notes something of a tree.
const NOTE_BYTES: u64 = 16 * 1024;

/// What is in the place of a tree.
enum Found {
    Nothing,
    /// Its directory.
    Tree(PathBuf),
    /// What is left where git was killed while it made it.
    Half,
}

impl Repositories {
    /// The directory of a working tree, for a user who may change the project. It is made unless it is there.
    ///
    /// # Errors
    /// `conflict` with what git said, where something else is in its place, or where there is no repository;
    /// `not_found` for a project that is not there; `draining`, `unavailable`.
    pub async fn worktree(self: Arc<Self>, user: UserId, project_id: ProjectId, tree: Worktree) -> Result<PathBuf> {
        let root = self.root(&project_id).await?;
        let mut place: Option<Seat> = None;
        loop {
            let mut left = self.registry.left();
            let changes_trees = |kind: Option<Kind>| kind.is_some_and(Kind::changes_trees);
            let settled = self.registry.get(&project_id).is_none_or(|live| !changes_trees(live.kind));
            let holds_turn = place.as_ref().is_some_and(Seat::has_turn);
            if (settled || holds_turn)
                && let Found::Tree(dir) = look(&root, &tree).await?
            {
                return Ok(dir);
            }
            // In line with what others asked for, and without an operation that is told: the tree may come meanwhile.
            let seat = match place.take() {
                Some(seat) => seat,
                None => self.registry.enter_anyway(&project_id, Kind::WorktreeAdd, &user)?,
            };
            tokio::select! {
                came = seat.turn() => {
                    if !came {
                        return Err(Error::new(Code::Draining, "the server is stopping"));
                    }
                    self.clone().make(seat, &user, &root, &tree).await?;
                }
                // The sender lives as long as the registry.
                heard = left.changed() => {
                    drop(heard);
                    place = Some(seat);
                }
            }
        }
    }

    /// Makes it, alone in the project, unless somebody did meanwhile.
    async fn make(self: Arc<Self>, seat: Seat, user: &UserId, root: &Path, tree: &Worktree) -> Result<()> {
        let project_id = seat.project_id().clone();
        let job = match look(root, tree).await? {
            Found::Tree(_) => return Ok(()),
            Found::Half => Job::clear_half(project_id, &tree.name),
            Found::Nothing => {
                let Worktree { name, mut branch, create, from } = tree.clone();
                // An earlier tree of this name is gone, and its branch is there.
                if branch.is_none() && from.is_none() && self.has_branch(root, &name).await? {
                    branch = Some(name.clone());
                }
                Job::from(WorktreeAdd { project_id, name, branch, create, from, wait_ms: None })
            }
        };
        let (over, ended) = oneshot::channel();
        self.start(seat, user.clone(), job, Some(over)).await?;
        outcome(ended.await.map_err(|_| Error::internal())?)
    }

    async fn has_branch(&self, root: &Path, name: &str) -> Result<bool> {
        let place = self.git.repository(root, Purpose::Read).await?;
        let reference = format!("refs/heads/{name}");
        let finished = self.git.read(&place, &["show-ref", "--verify", "--quiet", "--", &reference], 0).await?;
        Ok(finished.status.success())
    }
}

async fn look(root: &Path, tree: &Worktree) -> Result<Found> {
    let (root, cwd) = (root.to_owned(), tree.directory());
    blocking(move || find(&root, &cwd)).await?
}

/// What is in the place of a tree. Blocks on small reads.
fn find(root: &Path, cwd: &str) -> Result<Found> {
    if root.join(cwd).symlink_metadata().is_err() {
        return Ok(Found::Nothing);
    }
    let other = || Error::new(Code::Conflict, format!("{cwd} is something else than a working tree: remove it"));
    let dir = Place::find(root, Some(cwd)).map_err(|_| other())?.dir;
    let note = note(&dir.join(".git")).ok_or_else(other)?;
    let data = note.strip_prefix("gitdir:").map(str::trim).ok_or_else(other)?;
    let half = self::note(&dir.join(data).join("locked")).is_some_and(|why| why.trim() == BEING_MADE);
    Ok(if half { Found::Half } else { Found::Tree(dir) })
}

/// A small file as text.
pub(super) fn note(path: &Path) -> Option<String> {
    let meta = path.symlink_metadata().ok()?;
    (meta.is_file() && meta.len() <= NOTE_BYTES).then(|| fs::read_to_string(path).ok())?
}
