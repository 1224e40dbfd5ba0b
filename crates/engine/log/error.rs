//! Why a data directory or its log cannot be opened, for the operator.
//!
//! Guarantees: each text names the path and what to do or look at; none holds a secret.
//! It is not an error of the wire: those are `tidings_core::Error`.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use tidings_core::damage::Damage;

use super::reserve::has_no_room;

/// Why a data directory or its log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory.
    #[error("the data directory {} is in use by {}", path.display(), holder_text(*pid, address.as_deref()))]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process that has it, where that is known.
        pid: Option<u32>,
        /// Where that process listens, where that is known.
        address: Option<String>,
    },
    /// A file or directory cannot be made, opened or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and empty, or gone and was there.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The log was written by a newer program.
    #[error(
        "the log {} has schema version {found}, and this program knows versions up to {known}: \
         start the newer program that wrote it",
        path.display()
    )]
    Newer {
        /// The log's file.
        path: PathBuf,
        /// The version in it.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file is not the log that was open before.
    #[error("the log {} was replaced while it was open: restart the server", path.display())]
    Replaced {
        /// The log's file.
        path: PathBuf,
    },
    /// SQLite refuses.
    #[error("the log {}: {source}", path.display())]
    Sqlite {
        /// The log's file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Whether the disk is full, so that trying again helps once there is room.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        match self {
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Sqlite { path, source } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => true,
                // What SQLite keeps beside a file cannot be made then, of which it says no more than this.
                Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => {
                    path.parent().is_some_and(|dir: &Path| has_no_room(dir))
                }
                _ => false,
            },
            _ => false,
        }
    }
}

fn holder_text(pid: Option<u32>, address: Option<&str>) -> String {
    let process = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    match address {
        Some(address) => format!("{process}, which listens on {address}"),
        None => process,
    }
}
