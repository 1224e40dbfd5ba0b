//! How a log is kept.
//!
//! Guarantees: every setting has a default here, named at its field.
//! It is not where the settings come from: the root reads those. Nor does it say how much is kept of a namespace:
//! that comes with [`SqliteLog::keep`](super::SqliteLog::keep), once it is known.

use std::{fmt, path::PathBuf};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A killed process and the power: it waits for the disk.
    #[default]
    Power,
    /// A killed process. When the machine stops unexpectedly the newest messages may be lost, and
    /// then the epoch is new.
    Process,
}

impl Durability {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Process => "process",
        }
    }
}

/// How a log is kept.
#[derive(Clone)]
pub struct LogConfig {
    /// The data directory.
    pub dir: PathBuf,
    /// What a commit survives.
    pub durability: Durability,
    /// Beyond so many bytes of the file the oldest messages go. 20 GB; 0 means no limit.
    pub total_bytes: u64,
    /// So many bytes of the disk are kept for trimming on a full disk. 64 MiB; 0 means none. Less than
    /// 24 MiB may be too little: the write-ahead log has to fit in.
    pub reserve_bytes: u64,
    /// How many sends may wait. 8192.
    pub queue: usize,
    /// How many bytes the sends that wait may have. 64 MiB.
    pub queue_bytes: usize,
}

impl LogConfig {
    /// A log in this directory, with the defaults named at the fields.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::default(),
            total_bytes: 20_000_000_000,
            reserve_bytes: 64 * 1024 * 1024,
            queue: 8192,
            queue_bytes: 64 * 1024 * 1024,
        }
    }
}

impl fmt::Debug for LogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogConfig({}, {})", self.dir.display(), self.durability.as_str())
    }
}
