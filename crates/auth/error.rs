//! What can go wrong: at the start ([`AuthError`]), and while running (`Fault`).
//!
//! Guarantees: no text of these errors holds a secret; the cause of a fault is logged once, where
//! it becomes the wire's error.
//! It is not the wire's error: that is [`tidings_core::Error`].

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use tidings_core::{Error, damage::Damage};

/// Why identity cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("users.db: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database had users and has them no more.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer version of the server wrote the database.
    #[error("users.db has schema version {found}; this server knows up to {known}")]
    NewerSchema {
        /// What the file says.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A key or secret cannot be used.
    #[error("{which}: {why}")]
    Key {
        /// Which one, by the name an operator knows.
        which: String,
        /// Why, without any of it.
        why: String,
    },
}

impl AuthError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// Whether the disk is full, so that trying again helps once there is room. `no_room` says whether the disk has
    /// none: of what SQLite keeps beside a database it says no more than that it cannot be made.
    #[must_use]
    pub fn is_full_disk(&self, no_room: bool) -> bool {
        match self {
            Self::Io { source, .. } => matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
            Self::Database(source) => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => true,
                Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => no_room,
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn key(which: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Key { which: which.into(), why: why.into() }
    }
}

/// What ends a piece of work on the database.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The answer is no; the client learns why.
    Refused(Error),
    /// The database or the key file does not work; the client learns only that.
    Broken(AuthError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        Self::Broken(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => error,
            Fault::Broken(cause) => {
                tracing::error!(%cause, "the user database does not work");
                Error::unavailable("the user database does not work now")
            }
        }
    }
}
