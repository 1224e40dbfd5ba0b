//! Limits of reading and watching files, as the root hands them in.
//!
//! Guarantees: every value has the default that it documents.
//! It is not where they are documented for operators.

use std::time::Duration;

/// What the service of files is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsConfig {
    /// The most bytes of a file in an answer; 128 KiB by default.
    pub max_read_bytes: usize,
    /// The most entries of a folder in an answer; 1,000 by default.
    pub max_entries: usize,
    /// The most projects that are watched at once; 32 by default. Each takes one of the system's inotify
    /// instances.
    pub max_watched: usize,
    /// The most directories that are watched in a project; 10,000 by default.
    pub max_directories: usize,
    /// How long a project is watched after the last subscriber of its channel has gone; 30 seconds by default.
    pub linger: Duration,
}

impl Default for FsConfig {
    fn default() -> Self {
        Self {
            max_read_bytes: 128 * 1024,
            max_entries: 1000,
            max_watched: 32,
            max_directories: 10_000,
            linger: Duration::from_secs(30),
        }
    }
}
