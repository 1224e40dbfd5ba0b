//! The configuration of workflows: limits.
//!
//! Guarantees: every value has the default that it documents.
//! It is not where files and variables are read: that is the root's.

use std::{collections::BTreeSet, sync::Arc};

use super::definition::{Bounds, EXPANDED_BYTES};
use crate::redaction::Redaction;

/// Limits. Zero means without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs of one user that are open at once; 50 by default.
    pub per_user: usize,
    /// Runs of one project that are open at once; 100 by default.
    pub per_project: usize,
    /// Runs that are open at once; 500 by default.
    pub total: usize,
    /// Steps of one run that work at once; 16 by default. A definition may say fewer.
    pub concurrency: usize,
    /// Steps of all runs that work at once; 64 by default. More wait for their turn.
    pub total_steps: usize,
    /// Steps of a run, with each of a matrix; 1,000 by default.
    pub steps: usize,
    /// Bytes of a definition; 1 MiB by default.
    pub definition_bytes: usize,
    /// How much one attempt of a step may print and report, in bytes; 256 MiB by default.
    pub output_bytes: u64,
    /// How long an attempt may take whose step does not say, in milliseconds; 6 hours by default. Approvals
    /// wait for as long as it takes.
    pub step_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_user: 50,
            per_project: 100,
            total: 500,
            concurrency: 16,
            total_steps: 64,
            steps: 1_000,
            definition_bytes: 1 << 20,
            output_bytes: 256 << 20,
            step_ms: 6 * 3_600_000,
        }
    }
}

impl Limits {
    /// What a definition may be.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { bytes: self.definition_bytes, steps: self.steps, expanded: EXPANDED_BYTES }
    }
}

/// The configuration of the service.
#[derive(Debug, Clone)]
pub struct WorkflowConfig {
    /// The limits.
    pub limits: Limits,
    /// The names of the configured agents.
    pub agents: BTreeSet<String>,
    /// What is taken out of output before anybody sees it.
    pub redaction: Arc<Redaction>,
}
