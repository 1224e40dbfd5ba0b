//! The sections about what runs in projects: agents, programs, files, git, terminals, workflows.
//!
//! Guarantees: every key has its default here, and nowhere else.
//! It is not the check of values: that is the schema's.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use tidings_core::{Pattern, identity::Secret};
use tidings_services::{programs::Level, project::ProjectId, session::AgentRole};

use super::quantity::{Size, Span};

/// Writes that secrets are set, and nothing of them.
fn hidden_map<S: Serializer>(secrets: &BTreeMap<String, Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(secrets.keys().map(|name| (name, "(hidden)")))
}

/// `[agents.NAME]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    /// Whether it is there at all.
    #[serde(default = "Agent::enabled", skip_serializing_if = "Clone::clone")]
    pub enabled: bool,
    /// How to speak with it.
    #[serde(default = "Agent::lines")]
    pub adapter: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What becomes of its standard input after the prompt.
    #[serde(default = "Agent::open")]
    pub stdin: String,
    /// The program and its arguments when an earlier conversation is to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Vec<String>>,
    /// The program and its arguments in a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Vec<String>>,
    /// The projects that it may be started in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<ProjectId>>,
    /// Who may start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<AgentRole>>,
    /// What its program is kept from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Level>,
    /// What it may read in its sandbox, beside what all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_read: Option<Vec<PathBuf>>,
    /// What it may change in its sandbox, beside what all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_write: Option<Vec<PathBuf>>,
    /// The types of events of other domains that its program may publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Vec<Pattern>>,
}

impl Agent {
    fn enabled() -> bool {
        true
    }

    fn lines() -> String {
        "lines".to_owned()
    }

    fn open() -> String {
        "open".to_owned()
    }
}

/// `[project]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Project {
    /// The directories that roots lie beneath; none for anywhere.
    pub roots: Vec<PathBuf>,
}

/// `[run]`. Zero means without limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Run {
    /// The system user that programs run as.
    pub user: Option<String>,
    /// Put before every command.
    pub wrapper: Vec<String>,
    /// What programs are kept from.
    pub sandbox: Level,
    /// What they may read in their sandboxes.
    pub sandbox_read: Vec<PathBuf>,
    /// What they may change in their sandboxes.
    pub sandbox_write: Vec<PathBuf>,
    /// Names that are passed on of the server's environment.
    pub env: Vec<String>,
    /// Further variables and their values, which may be secrets.
    #[serde(serialize_with = "hidden_map")]
    pub set: BTreeMap<String, Secret>,
    /// How far programs step back behind the server.
    pub nice: u8,
    /// From TERM to KILL.
    pub grace_ms: u64,
    /// Between heartbeats.
    pub heartbeat_ms: u64,
    /// Sessions of one user at once.
    pub max_per_user: usize,
    /// Sessions of one project at once.
    pub max_per_project: usize,
    /// Sessions at once.
    pub max_total: usize,
    /// How long a session may run.
    pub max_time: Span,
    /// How much a session may print.
    pub max_output_bytes: Size,
    /// How long a busy session may print nothing.
    pub max_silence: Span,
    /// How long an agent whose input is closed may stay after its answer.
    pub linger_ms: u64,
}

impl Default for Run {
    fn default() -> Self {
        let env = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR"];
        Self {
            user: None,
            wrapper: Vec::new(),
            sandbox: Level::Off,
            sandbox_read: Vec::new(),
            sandbox_write: Vec::new(),
            env: env.map(str::to_owned).to_vec(),
            set: BTreeMap::new(),
            nice: 15,
            grace_ms: 5000,
            heartbeat_ms: 5000,
            max_per_user: 8,
            max_per_project: 16,
            max_total: 64,
            max_time: Span::seconds(6 * 3600),
            max_output_bytes: Size(1 << 30),
            max_silence: Span::seconds(0),
            linger_ms: 10_000,
        }
    }
}

/// `[fs]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fs {
    /// The most of a file in an answer.
    pub max_read_bytes: Size,
    /// The most entries of a folder in an answer.
    pub max_entries: usize,
    /// Projects that are watched at once.
    pub max_watched: usize,
    /// Directories of a project that are watched.
    pub max_directories: usize,
    /// How long a project is watched that nobody follows any more.
    pub linger: Span,
}

impl Default for Fs {
    fn default() -> Self {
        Self {
            max_read_bytes: Size(128 << 10),
            max_entries: 1000,
            max_watched: 32,
            max_directories: 10_000,
            linger: Span::seconds(30),
        }
    }
}

/// `[git]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Git {
    /// How long an operation may take.
    pub operation_timeout: Span,
    /// How long a command that only reads may take.
    pub read_timeout: Span,
    /// Operations at once.
    pub max_operations: usize,
    /// Operations that wait for their turn.
    pub max_waiting_operations: usize,
    /// Operations of one project that wait for their turn.
    pub max_waiting_operations_per_project: usize,
    /// Operations of one user that wait for their turn.
    pub max_waiting_operations_per_user: usize,
    /// Reads at once.
    pub max_reads: usize,
    /// Reads of one project at once.
    pub max_reads_per_project: usize,
    /// Reads that wait for their turn.
    pub max_waiting_reads: usize,
    /// Reads of one project that wait for their turn.
    pub max_waiting_reads_per_project: usize,
    /// Reads of one user that wait for their turn.
    pub max_waiting_reads_per_user: usize,
    /// The longest patch of an answer.
    pub max_patch_bytes: Size,
    /// How remotes may be reached.
    pub protocols: Vec<String>,
    /// Whether a repository's own programs are run.
    pub repository_programs: bool,
    /// Programs that git may run beside its own.
    pub programs: Vec<String>,
    /// What git may read beside its own.
    pub readable: Vec<PathBuf>,
    /// Whether git runs without a wall.
    pub unconfined: bool,
    /// Where shadows lie.
    pub shadow_dir: Option<PathBuf>,
}

impl Default for Git {
    fn default() -> Self {
        Self {
            operation_timeout: Span::seconds(3600),
            read_timeout: Span::seconds(30),
            max_operations: 16,
            max_waiting_operations: 256,
            max_waiting_operations_per_project: 32,
            max_waiting_operations_per_user: 64,
            max_reads: 8,
            max_reads_per_project: 4,
            max_waiting_reads: 1024,
            max_waiting_reads_per_project: 256,
            max_waiting_reads_per_user: 128,
            max_patch_bytes: Size(128 << 10),
            protocols: ["https", "ssh"].map(str::to_owned).to_vec(),
            repository_programs: false,
            programs: Vec::new(),
            readable: Vec::new(),
            unconfined: false,
            shadow_dir: None,
        }
    }
}

/// `[shell]`. Zero means without limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shell {
    /// What runs in a terminal that names no program.
    pub command: Vec<String>,
    /// How long a terminal may be without viewers and input.
    pub idle: Span,
    /// Terminals of one user at once.
    pub max_per_user: usize,
    /// Terminals of one project at once.
    pub max_per_project: usize,
    /// Terminals at once.
    pub max_total: usize,
}

impl Default for Shell {
    fn default() -> Self {
        Self { command: Vec::new(), idle: Span::seconds(30 * 60), max_per_user: 8, max_per_project: 16, max_total: 64 }
    }
}

/// `[workflow]`. Zero means without limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Workflow {
    /// Runs of one user that are open at once.
    pub max_per_user: usize,
    /// Runs of one project that are open at once.
    pub max_per_project: usize,
    /// Runs that are open at once.
    pub max_total: usize,
    /// Steps of one run that work at once.
    pub max_concurrency: usize,
    /// Steps of all runs that work at once.
    pub max_working_steps: usize,
    /// Steps of a run.
    pub max_steps: usize,
    /// The length of a definition.
    pub max_definition_bytes: Size,
    /// How much an attempt of a step may print.
    pub max_output_bytes: Size,
    /// How long an attempt may take whose step does not say.
    pub max_step_time: Span,
}

impl Default for Workflow {
    fn default() -> Self {
        Self {
            max_per_user: 50,
            max_per_project: 100,
            max_total: 500,
            max_concurrency: 16,
            max_working_steps: 64,
            max_steps: 1_000,
            max_definition_bytes: Size(1 << 20),
            max_output_bytes: Size(256 << 20),
            max_step_time: Span::seconds(6 * 3600),
        }
    }
}
