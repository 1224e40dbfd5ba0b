//! The configuration of terminals.
//!
//! Guarantees: every value has the default that it documents.
//! It is not where files and variables are read: that is the root's. How programs are run is in
//! [`crate::programs`].

use std::sync::Arc;

use crate::redaction::Redaction;

/// The configuration of the service.
#[derive(Debug, Clone)]
pub struct ShellConfig {
    /// The program and arguments of a terminal that names none. Empty, the default: `SHELL` of the
    /// programs' environment, else `/bin/sh`.
    pub command: Vec<String>,
    /// Terminals of one user at once; 8 by default. Zero: without limit.
    pub per_user: usize,
    /// Terminals of one project at once; 16 by default. Zero: without limit.
    pub per_project: usize,
    /// Terminals at once; 64 by default. Zero: without limit.
    pub total: usize,
    /// How long a terminal may be without a viewer and without input, in milliseconds; 30 minutes by
    /// default. Zero: for ever.
    pub idle_ms: u64,
    /// What is taken out of the command line before anybody sees it. Output is not redacted.
    pub redaction: Arc<Redaction>,
}

impl ShellConfig {
    /// The defaults.
    #[must_use]
    pub fn new(redaction: Arc<Redaction>) -> Self {
        Self { command: Vec::new(), per_user: 8, per_project: 16, total: 64, idle_ms: 30 * 60_000, redaction }
    }
}
