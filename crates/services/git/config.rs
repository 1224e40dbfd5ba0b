//! Limits of git, as the root hands them in.
//!
//! Guarantees: plain values, without meaning of their own until the service uses them.
//! It is not where they are documented for operators.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::redaction::Redaction;

/// What the service of git is told.
#[derive(Debug, Clone)]
pub struct GitConfig {
    /// The longest that an operation may take; 1 hour by default. Zero: without limit.
    pub operation_timeout: Duration,
    /// The longest that a command which only reads may take; 30 seconds by default.
    pub read_timeout: Duration,
    /// The most operations at once, of all projects; 16 by default.
    pub max_operations: usize,
    /// The most of them that wait for their turn; 256 by default.
    pub max_waiting_operations: usize,
    /// The same of one project; 32 by default.
    pub max_waiting_operations_per_project: usize,
    /// The same of one user; 64 by default.
    pub max_waiting_operations_per_user: usize,
    /// The most commands that only read at once, of all projects; 8 by default. Each is a few processes, one after
    /// the other.
    pub max_reads: usize,
    /// The same of one project; 4 by default.
    pub max_reads_per_project: usize,
    /// The most of them that wait for their turn; 1,024 by default.
    pub max_waiting_reads: usize,
    /// The same of one project; 256 by default.
    pub max_waiting_reads_per_project: usize,
    /// The same of one user; 128 by default.
    pub max_waiting_reads_per_user: usize,
    /// The most bytes of a patch in an answer; 128 KiB by default. What is longer is cut, and said to be.
    pub max_patch_bytes: usize,
    /// Which protocols remotes may be reached by; `https` and `ssh` by default.
    pub protocols: Vec<String>,
    /// Whether programs that a repository itself names are run: its hooks, its filters, its merge drivers.
    /// Not by default.
    pub repository_programs: bool,
    /// Programs that git may run beside its own, by name or path: what the operator's own configuration of git names,
    /// such as `git-lfs`. With any of them also `/bin/sh`, which git starts them with. None by default.
    pub programs: Vec<String>,
    /// Files and folders that git may read beside its own: what the operator's configuration of git includes.
    pub readable: Vec<PathBuf>,
    /// Whether git runs without a wall before it where the kernel has none and there is no wrapper; and, where it has,
    /// without it. Not by default.
    pub unconfined: bool,
    /// Where shadows of repositories lie; by default in a folder of the system's temporary one.
    pub shadow_dir: Option<PathBuf>,
    /// What is taken out of what git says.
    pub redaction: Arc<Redaction>,
}

impl GitConfig {
    /// The defaults.
    #[must_use]
    pub fn new(redaction: Arc<Redaction>) -> Self {
        Self {
            operation_timeout: Duration::from_secs(3600),
            read_timeout: Duration::from_secs(30),
            max_operations: 16,
            max_waiting_operations: 256,
            max_waiting_operations_per_project: 32,
            max_waiting_operations_per_user: 64,
            max_reads: 8,
            max_reads_per_project: 4,
            max_waiting_reads: 1024,
            max_waiting_reads_per_project: 256,
            max_waiting_reads_per_user: 128,
            max_patch_bytes: 128 * 1024,
            protocols: ["https", "ssh"].map(str::to_owned).to_vec(),
            repository_programs: false,
            programs: Vec::new(),
            readable: Vec::new(),
            unconfined: false,
            shadow_dir: None,
            redaction,
        }
    }
}
