//! Where git is run, on which repository, and what for.
//!
//! Guarantees: plain values; who has one of a repository has what stands for its configuration, for as long as that is.
//! It is not the look at a repository: that is `guard`.

use std::{path::PathBuf, sync::Arc};

use super::{settings::Settings, shadow::Shadow};

/// Where git is run.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The project's directory.
    pub(super) root: PathBuf,
    pub(super) repository: Repository,
}

/// Which repository git uses.
#[derive(Debug, Clone)]
pub(super) enum Repository {
    /// One that git makes.
    ToCome,
    /// None.
    Without,
    /// That of the project.
    Here(Here),
}

/// The repository of a project.
#[derive(Debug, Clone)]
pub(super) struct Here {
    /// The working tree: the project's directory, or one that lies in it.
    pub(super) tree: PathBuf,
    pub(super) git_dir: PathBuf,
    /// Where it keeps what its working trees share.
    pub(super) common: PathBuf,
    /// What git takes for that; none where the repository's own configuration is used.
    pub(super) shadow: Option<Arc<Shadow>>,
    /// What is used of its configuration.
    pub(super) settings: Arc<Settings>,
}

impl Place {
    /// A directory without a repository that git should look at.
    pub(super) fn without(root: PathBuf) -> Self {
        Self { root, repository: Repository::Without }
    }

    /// One that git makes a repository in.
    pub(super) fn of_clone(root: PathBuf) -> Self {
        Self { root, repository: Repository::ToCome }
    }

    pub(super) fn here(&self) -> Option<&Here> {
        match &self.repository {
            Repository::Here(here) => Some(here),
            Repository::ToCome | Repository::Without => None,
        }
    }

    pub(super) fn shadow(&self) -> Option<&Shadow> {
        self.here()?.shadow.as_deref()
    }

    /// Whether objects are missing that git fetches when it needs them.
    pub(super) fn is_partial(&self) -> bool {
        self.here().is_some_and(|here| here.settings.is_partial())
    }
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reads: writes nothing, and reaches for nobody.
    Read,
    /// Changes something, and starts no other program for that.
    Alone,
    /// Goes on with what files of the repository say, whoever wrote them: starts no other program, also where objects
    /// are missing.
    Resume,
    /// Changes something.
    Change,
    /// Changes something, and may reach for a remote.
    Reach,
}

/// What paths among the words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paths {
    /// Paths.
    Literal,
    /// Patterns of the server's own making.
    Patterns,
}
